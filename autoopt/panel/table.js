// The table of all trials that pass the filter: sortable, searchable, only what is in sight is drawn.

const ROW = 30; // px, as in table.css
const [FIRST, SECOND] = [58, 150]; // px of number and strategy, the latter at least
const SPARE = 6; // rows drawn beyond the edges

function createTable(store, identity) {
  const root = html("div", "ao-table", null, { role: "group", "aria-label": "Table" });
  const search = html("input", "ao-input ao-search", null, { type: "search", placeholder: "search", "aria-label": "Search strategies", autocomplete: "off" });
  const only = html("label", "ao-check");
  const box = html("input", "", null, { type: "checkbox" });
  only.append(box, " front only");
  const count = html("span", "ao-aside");
  const grid = html("div", "ao-grid-table", null, {
    role: "grid", tabindex: "0", "aria-label": "Strategies. Arrow keys move, Enter selects, Escape lets go.",
  });
  const head = html("div", "ao-row ao-head", null, { role: "row", "aria-rowindex": "1" });
  const headGroup = html("div", "ao-head-group", null, { role: "rowgroup" });
  headGroup.append(head);
  const body = html("div", "ao-body-rows", null, { role: "rowgroup" });
  grid.append(headGroup, body);
  root.append(heading("Strategies", count, only, search), grid);
  let columns = [];
  let headed = "";
  let order = [];
  let ordered = null; // what `order` is of
  let cursor = -1; // place that the keyboard is at
  // What the browser would lay everything out for when asked in the middle of a change.
  let [top, height] = [0, 0];
  const rows = []; // in use by turns

  search.addEventListener("input", () => store.setFilter({ text: search.value }));
  box.addEventListener("change", () => store.setFilter({ front: box.checked }));
  grid.addEventListener("scroll", () => {
    top = grid.scrollTop;
    drawRows();
  }, { passive: true });
  const observer = new ResizeObserver(([entry]) => {
    height = entry.contentRect.height;
    drawRows();
  });
  observer.observe(grid);
  grid.addEventListener("keydown", onKey);
  grid.addEventListener("blur", () => {
    cursor = -1;
    store.point(-1);
  });

  function columnsOf() {
    const { trials } = store;
    return [
      { name: " number", title: "#", numeric: true, value: (place) => trials.number[place], text: (place) => String(trials.number[place]) },
      { name: " summary", title: "strategy", value: (place) => trials.summary[place], text: (place) => trials.summary[place] },
      ...store.objectives().map((objective) => ({
        name: objective.name, numeric: true, title: objective.unit ? `${objective.label}, ${objective.unit}` : objective.label,
        value: (place) => trials.value(objective.name, place),
        text: (place) => formatNumber(trials.value(objective.name, place), objective.unit),
        falls: objective.direction === "maximize",
      })),
      { name: " speedup", title: "speed-up", numeric: true, falls: true, value: (place) => trials.speedup[place],
        text: (place) => (Number.isFinite(trials.speedup[place]) ? `${trials.speedup[place].toFixed(1)}×` : "–") },
    ];
  }

  function sorting() {
    const sort = store.looks().sort;
    const column = columns.find(({ name }) => name === sort?.name);
    if (column) return { column, falling: Boolean(sort.falling) };
    const speed = columns.find(({ name }) => name === speedOf(store.objectives())?.name) ?? columns[0];
    return { column: speed, falling: Boolean(speed.falls) };
  }

  function draw() {
    columns = columnsOf();
    if (document.activeElement !== search) search.value = store.filter().text;
    box.checked = store.filter().front;
    drawHead();
    sortPlaces();
    setText(count, `${order.length} of ${store.trials.size}`);
    grid.setAttribute("aria-rowcount", String(order.length + 1));
    grid.setAttribute("aria-colcount", String(columns.length));
    const widths = columnWidths();
    setAttribute(grid, "style", `--ao-columns:${FIRST}px minmax(${SECOND}px, 1fr) ${widths.map((ch) => `${ch}ch`).join(" ")};`
      + `--ao-least:calc(${FIRST + SECOND + 12 * columns.length + 4}px + ${widths.reduce((a, b) => a + b, 0)}ch)`);
    setAttribute(body, "style", `height:${Math.max(order.length, 1) * ROW}px`);
    drawRows();
  }

  // Every row is a grid of its own, so widths may not depend on what stands in it.
  function columnWidths() {
    return columns.slice(2).map(({ title }) => Math.min(Math.max(title.length + 2, 8), 20));
  }

  function drawHead() {
    const { column, falling } = sorting();
    const words = JSON.stringify([columns.map(({ title }) => title), column.name, falling]);
    if (words === headed) return;
    headed = words;
    const focused = head.contains(document.activeElement) ? document.activeElement.dataset.name : null;
    head.replaceChildren(...columns.map((one, index) => {
      const isSorted = one.name === column.name;
      const cell = html("div", one.numeric ? "ao-n" : "", null, {
        role: "columnheader", "aria-colindex": index + 1,
        "aria-sort": isSorted ? (falling ? "descending" : "ascending") : "none",
      });
      const sort = button("ao-sort", null, () => sortBy(one), { "data-name": one.name, title: one.title });
      const arrow = html("span", "ao-arrow", isSorted ? (falling ? "▾" : "▴") : "", { "aria-hidden": "true" });
      sort.append(...(one.numeric ? [arrow, one.title] : [one.title, arrow]));
      cell.append(sort);
      return cell;
    }));
    if (focused) head.querySelector(`[data-name="${CSS.escape(focused)}"]`)?.focus();
  }

  function sortBy(one) {
    const { column, falling } = sorting();
    store.setLooks({ sort: { name: one.name, falling: one.name === column.name ? !falling : Boolean(one.falls) } });
  }

  function sortPlaces() {
    const { column, falling } = sorting();
    const { trials, found } = store;
    const all = trials.once(`sorted ${column.name} ${falling}`, (before) => sortedPlaces(trials, column, falling, before));
    if (ordered?.all === all && ordered.found === found) return;
    ordered = { all, found };
    order = all.filter((place) => found.visible[place]);
  }

  function drawRows() {
    const seen = height || 8 * ROW;
    // After a filter the browser may not have scrolled back to what is left yet.
    const from = Math.min(top, Math.max((order.length + 1) * ROW - seen, 0));
    const start = Math.max(Math.floor(from / ROW) - SPARE, 0);
    const end = Math.min(start + Math.ceil(seen / ROW) + 2 * SPARE, order.length);
    const colours = colouring(store);
    const wanted = [];
    // Each row is drawn by the same element as long as it stays in sight.
    const most = Math.max(rows.length, end - start);
    while (rows.length < most) rows.push(createRow());
    for (let index = start; index < end; index += 1) {
      const row = rows[index % most];
      row.draw(index, order[index], colours);
      wanted[index - start] = row.node;
    }
    if (!order.length) wanted.push(emptyRow());
    // In the document as in sight, which is the way a screen reader goes.
    if (wanted.length !== body.children.length || wanted.some((node, at) => body.children[at] !== node)) body.replaceChildren(...wanted);
    mark();
  }

  function emptyRow() {
    const row = html("div", "ao-row", null, { role: "row" });
    const { trials } = store;
    const isMeasured = trials.failures.size < trials.size;
    row.append(html("div", "ao-nothing", isMeasured ? "Nothing passes the filter." : "Nothing was measured yet.", { role: "gridcell", "aria-colspan": columns.length }));
    return row;
  }

  function createRow() {
    const node = html("div", "", null, { role: "row" });
    const say = teller(node);
    const icon = shapeIcon("search");
    const outline = icon.firstChild;
    let place = -1;
    let cells = [];
    let built = "";
    node.addEventListener("click", () => {
      cursor = place;
      store.select(place);
    });
    node.addEventListener("pointerenter", () => store.point(place));
    node.addEventListener("pointerleave", () => store.point(-1));

    function build() {
      const names = columns.map(({ name }) => name).join();
      if (names === built) return;
      built = names;
      cells = columns.map((column, at) => {
        const cell = html("div", column.numeric ? "ao-n" : "ao-text", null, { role: "gridcell", "aria-colindex": at + 1 });
        const text = document.createTextNode("");
        cell.append(...(at ? [text] : [icon, text]));
        return { cell, text };
      });
      node.replaceChildren(...cells.map(({ cell }) => cell));
    }

    function draw(index, shown, colours) {
      const { trials, found } = store;
      place = shown;
      build();
      say("id", `${identity}-row-${trials.number[place]}`);
      say("class", `ao-row${found.onFront[place] ? " ao-on-front" : ""}`);
      say("aria-rowindex", String(index + 2));
      say("style", `transform:translateY(${index * ROW}px)`);
      node.dataset.place = place;
      const kind = kindAt(store, place, -1);
      icon.style.display = found.onFront[place] || kind === "original" ? "" : "none";
      setAttribute(icon, "class", `ao-icon ${colours.classOf(place)}`);
      setAttribute(outline, "class", `ao-shape ao-${kind}`);
      setAttribute(outline, "d", SHAPES[kind]);
      columns.forEach((column, at) => {
        const words = column.text(place);
        if (cells[at].text.data !== words) cells[at].text.data = words;
        if (column.name === " summary") setAttribute(cells[at].cell, "title", words);
      });
    }

    // Its class changes with what is pointed at, too, which `say` must know of.
    function mark() {
      say("aria-selected", String(place === store.selected()));
      say("class", `ao-row${store.found.onFront[place] ? " ao-on-front" : ""}${place === store.hover ? " ao-hovered" : ""}`);
    }

    return { node, draw, mark };
  }

  function mark() {
    for (const row of rows) if (row.node.parentNode === body) row.mark();
    if (cursor >= 0) grid.setAttribute("aria-activedescendant", `${identity}-row-${store.trials.number[cursor]}`);
    else grid.removeAttribute("aria-activedescendant");
  }

  function onKey(event) {
    if (event.target !== grid || event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(Math.floor(height / ROW) - 2, 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.key in steps && order.length) {
      const index = order.indexOf(cursor >= 0 ? cursor : store.selected());
      const next = Math.min(Math.max((index < 0 ? -1 : index) + steps[event.key], 0), order.length - 1);
      cursor = order[next];
      reveal(next);
      store.point(cursor);
    } else if ((event.key === "Enter" || event.key === " ") && cursor >= 0) {
      store.select(cursor);
    } else if (event.key === "Escape") {
      store.select(-1);
    } else {
      return;
    }
    event.preventDefault();
  }

  function reveal(index) {
    const [above, seen] = [index * ROW, height - 2 * ROW];
    if (above < top) grid.scrollTop = above;
    else if (above > top + seen) grid.scrollTop = above - seen;
    top = grid.scrollTop;
    drawRows();
  }

  return { node: root, draw, mark, destroy: () => observer.disconnect() };
}

// All trials in the order of a column; a new one finds the others in order, which a sort uses.
function sortedPlaces(trials, column, falling, before = []) {
  const order = before.slice();
  for (let place = order.length; place < trials.size; place += 1) order.push(place);
  const sign = falling ? -1 : 1;
  const keys = trials.number.map((_, place) => column.value(place));
  const known = (value) => typeof value === "string" || Number.isFinite(value);
  return order.sort((a, b) => {
    const [first, second] = [keys[a], keys[b]];
    if (first < second) return -sign;
    if (first > second) return sign;
    // What is unknown goes to the end either way.
    if (first !== second && known(first) !== known(second)) return known(first) ? -1 : 1;
    return trials.number[a] - trials.number[b];
  });
}
