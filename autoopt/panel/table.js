// The table of all trials that pass the filter: sortable, searchable, only what is in sight is drawn.

const ROW = 30; // px, as in table.css
const [FIRST, SECOND] = [64, 150]; // px of number and strategy, the latter at least
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
  let ordered = "";
  let cursor = -1; // place that the keyboard is at

  search.addEventListener("input", () => store.setFilter({ text: search.value }));
  box.addEventListener("change", () => store.setFilter({ front: box.checked }));
  grid.addEventListener("scroll", () => drawRows(), { passive: true });
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
    grid.style.setProperty("--ao-columns", `${FIRST}px minmax(${SECOND}px, 1fr) ${widths.map((ch) => `${ch}ch`).join(" ")}`);
    grid.style.setProperty("--ao-least", `calc(${FIRST + SECOND + 12 * columns.length + 4}px + ${widths.reduce((a, b) => a + b, 0)}ch)`);
    body.style.height = `${Math.max(order.length, 1) * ROW}px`;
    drawRows();
  }

  // Every row is a grid of its own, so widths may not depend on what stands in it.
  function columnWidths() {
    return columns.slice(2).map(({ title }) => Math.min(Math.max(title.length + 3, 9), 20));
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
      const sort = button("ao-sort", null, () => sortBy(one), { "data-name": one.name });
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
    const words = `${store.revision}`;
    if (words === ordered) return;
    ordered = words;
    order = [];
    for (let place = 0; place < store.trials.size; place += 1) if (store.found.visible[place]) order.push(place);
    const sign = falling ? -1 : 1;
    const keys = store.trials.number.map((_, place) => (store.found.visible[place] ? column.value(place) : null));
    const known = (value) => typeof value === "string" || Number.isFinite(value);
    order.sort((a, b) => {
      const [first, second] = [keys[a], keys[b]];
      if (first < second) return -sign;
      if (first > second) return sign;
      // What is unknown goes to the end either way.
      if (first !== second && known(first) !== known(second)) return known(first) ? -1 : 1;
      return store.trials.number[a] - store.trials.number[b];
    });
  }

  function drawRows() {
    const height = grid.clientHeight || 8 * ROW;
    const start = Math.max(Math.floor(grid.scrollTop / ROW) - SPARE, 0);
    const end = Math.min(start + Math.ceil(height / ROW) + 2 * SPARE, order.length);
    const nodes = [];
    const colours = colouring(store);
    for (let index = start; index < end; index += 1) nodes.push(rowAt(index, colours));
    if (!order.length) nodes.push(emptyRow());
    body.replaceChildren(...nodes);
    mark();
  }

  function emptyRow() {
    const row = html("div", "ao-row", null, { role: "row" });
    row.append(html("div", "ao-nothing", store.trials.size ? "Nothing passes the filter." : "Nothing was measured yet.", { role: "gridcell", "aria-colspan": columns.length }));
    return row;
  }

  function rowAt(index, colours) {
    const place = order[index];
    const row = html("div", `ao-row ${store.found.onFront[place] ? "ao-on-front" : ""}`, null, {
      role: "row", id: `${identity}-row-${store.trials.number[place]}`, "aria-rowindex": index + 2, "data-place": place,
    });
    row.style.transform = `translateY(${index * ROW}px)`;
    row.append(...columns.map((column, at) => {
      const cell = html("div", column.numeric ? "ao-n" : "ao-text", null, { role: "gridcell", "aria-colindex": at + 1 });
      if (!at) {
        const kind = kindAt(store, place, -1);
        cell.append(store.found.onFront[place] || kind === "original" ? shapeIcon(kind, colours.classOf(place)) : "");
      }
      cell.append(column.text(place));
      if (column.name === " summary") cell.title = column.text(place);
      return cell;
    }));
    row.addEventListener("click", () => {
      cursor = place;
      store.select(place);
    });
    row.addEventListener("pointerenter", () => store.point(place));
    row.addEventListener("pointerleave", () => store.point(-1));
    return row;
  }

  function mark() {
    for (const row of body.children) {
      const place = Number(row.dataset.place ?? -1);
      row.setAttribute("aria-selected", String(place >= 0 && place === store.selected()));
      row.classList.toggle("ao-hovered", place === store.hover);
    }
    if (cursor >= 0) grid.setAttribute("aria-activedescendant", `${identity}-row-${store.trials.number[cursor]}`);
    else grid.removeAttribute("aria-activedescendant");
  }

  function onKey(event) {
    if (event.target !== grid || event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(Math.floor(grid.clientHeight / ROW) - 2, 1);
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
    const top = index * ROW;
    const seen = grid.clientHeight - 2 * ROW;
    if (top < grid.scrollTop) grid.scrollTop = top;
    else if (top > grid.scrollTop + seen) grid.scrollTop = top - seen;
    drawRows();
  }

  return { node: root, draw, mark };
}
