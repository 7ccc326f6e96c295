// Why it is so: which choices matter, how the front grew, what failed and what cannot run here.

function createWhy(store) {
  const root = html("details", "ao-why");
  const summary = html("summary", "", "Why");
  const counts = html("span", "ao-aside");
  summary.append(" ", counts);
  const parts = html("div", "ao-why-parts");
  root.append(summary, parts);
  const importance = section("What matters", "explained share, ε², of all measured");
  const growth = section("Hypervolume", "");
  const failures = section("Failures", "");
  parts.append(importance.node, growth.node, failures.node);
  let listed = "";
  root.addEventListener("toggle", () => draw());

  function draw() {
    const failed = store.trials.failures.size;
    setText(counts, [`importance, hypervolume, ${failed} failed`, store.notes().length ? `${store.notes().length} notes` : ""].filter(Boolean).join(", "));
    if (!root.open) return;
    drawImportance();
    drawGrowth();
    drawFailures();
  }

  function drawImportance() {
    const objectives = store.objectives();
    const slots = Object.keys(store.trials.choices).filter((name) => !name.includes("."));
    const shares = slots.map((slot) => [slot, objectives.map((o) => explainedShare(store.trials, slot, o))])
      .filter(([, values]) => values.some((value) => value > 0))
      .sort((a, b) => Math.max(...b[1]) - Math.max(...a[1]));
    if (!shares.length) {
      importance.body.replaceChildren(html("p", "ao-card-hint", "Known once several options were measured."));
      return;
    }
    const table = html("table", "ao-values ao-shares");
    const head = html("tr");
    head.append(html("td"), ...objectives.map(({ label }) => headCell("ao-n", label, "col")));
    table.append(head);
    for (const [slot, values] of shares) {
      const line = html("tr");
      line.append(headCell("", choiceWords(slot), "row"), ...values.map((value) => {
        const cell = html("td", "ao-n ao-share", Number.isFinite(value) ? `${Math.round(100 * value)} %` : "–");
        cell.style.setProperty("--ao-share", Number.isFinite(value) ? value : 0);
        return cell;
      }));
      table.append(line);
    }
    importance.body.replaceChildren(table);
  }

  function drawGrowth() {
    const [x, y] = planeObjectives(store);
    const steps = hypervolumeSteps(store, x, y);
    setText(growth.aside, x.direction && y.direction ? `of ${shortened(x.label, LONGEST_NAME)} and ${shortened(y.label, LONGEST_NAME)}, by trial, under the filter` : "");
    if (steps.length < 2) {
      growth.body.replaceChildren(html("p", "ao-card-hint", "Known once two trials were measured in both objectives of the chart."));
      return;
    }
    const last = steps.at(-1);
    const picture = svg("svg", "ao-growth", {
      viewBox: "0 0 300 130", role: "img",
      "aria-label": `Hypervolume over trials: ${(100 * last.share).toFixed(1)} percent at trial ${last.number}`,
    });
    const toX = (number) => 34 + (256 * number) / Math.max(last.number, 1);
    const toY = (share) => 108 - 96 * share;
    for (const share of [0, 0.5, 1]) {
      picture.append(svg("path", "ao-grid", { d: `M34 ${toY(share)}H290` }), svg("text", "ao-tick", { x: 29, y: toY(share) + 4, "text-anchor": "end" }, `${share * 100}%`));
    }
    picture.append(
      svg("path", "ao-front", { d: steps.map(({ number, share }, index) => (index ? `H${toX(number)}V${toY(share)}` : `M${toX(number)} ${toY(share)}`)).join("") }),
      svg("text", "ao-tick", { x: 290, y: 124, "text-anchor": "end" }, `trial ${last.number}`),
    );
    growth.body.replaceChildren(picture);
  }

  function drawFailures() {
    const { trials } = store;
    const words = JSON.stringify([trials.failureChanges, store.selected(), store.notes()]);
    if (words === listed) return;
    listed = words;
    setText(failures.aside, trials.failures.size ? "select one for its log" : "");
    // Rebuilding the list would take the focus away from the entry that was just pressed.
    const focused = failures.body.contains(document.activeElement) ? document.activeElement.dataset.number : null;
    const items = [...trials.failures].sort(([a], [b]) => trials.number[b] - trials.number[a]).map(failureItem);
    const list = html("ul", "ao-failures", null, { "aria-label": "Failed candidates" });
    list.append(...items, ...store.notes().map((note) => html("li", "ao-note-item", note)));
    failures.body.replaceChildren(items.length || store.notes().length ? list : html("p", "ao-card-hint", "Nothing failed."));
    if (focused) failures.body.querySelector(`[data-number="${Number(focused)}"]`)?.focus();
  }

  function failureItem([place, { stage, kind, message }]) {
    const number = store.trials.number[place];
    const item = html("li");
    const row = button("ao-failed-row", null, () => store.select(place), { "data-number": number, "aria-pressed": String(store.selected() === place) });
    row.append(
      html("span", "ao-failed-number", `#${number}`),
      html("span", "ao-failed-kind", `${kind.replaceAll("_", " ")} in ${stage}`),
      html("span", "ao-failed-message", message),
    );
    item.append(row);
    return item;
  }

  return { node: root, draw, mark: () => root.open && drawFailures() };
}

function section(title, aside) {
  const node = html("div", "ao-why-part");
  const beside = html("span", "ao-aside", aside);
  const body = html("div", "ao-why-body", null, { tabindex: "0", role: "group", "aria-label": title });
  node.append(heading(title, beside), body);
  return { node, body, aside: beside };
}

// How much of the differences in an objective the choice in one slot explains: ε² of a one-way
// analysis of variance (Kelley 1935), 1 − (within / (n − k)) / (total / (n − 1)), not below 0. Unlike
// η² it does not grow with the number of levels. Objectives with a unit are seen as logarithms. The
// search does not try choices at random, so read it as a hint.
function explainedShare(trials, slot, objective) {
  const values = trials.values[objective.name]?.[0] ?? [];
  const settings = Object.keys(trials.choices).filter((name) => name === slot || name.startsWith(`${slot}.`));
  const groups = new Map();
  let [count, sum, squares] = [0, 0, 0];
  for (let place = 0; place < trials.size; place += 1) {
    const value = objective.unit ? Math.log(values[place]) : values[place];
    if (!Number.isFinite(value) || trials.failed(place)) continue;
    const level = settings.map((name) => trials.choices[name].codes[place]).join();
    const group = groups.get(level) ?? [0, 0];
    groups.set(level, [group[0] + 1, group[1] + value]);
    count += 1;
    sum += value;
    squares += value * value;
  }
  if (groups.size < 2) return 0;
  const total = squares - (sum * sum) / count;
  const free = count - groups.size;
  if (free < 1 || !(total > 1e-12 * squares)) return NaN;
  let within = squares;
  for (const [size, part] of groups.values()) within -= (part * part) / size;
  return Math.min(Math.max(1 - (Math.max(within, 0) / free) / (total / (count - 1)), 0), 1);
}

// The area that the front dominates on the two axes of the chart, as a share of the rectangle
// between the best and the worst of what was measured, after each trial that passes the filter.
function hypervolumeSteps(store, x, y) {
  if (!x.direction || !y.direction) return [];
  const { trials, found } = store;
  const known = (place) => [x, y].every((o) => !o.unit || trials.value(o.name, place) > 0);
  const places = measuredPlaces(store, [x, y]).filter((place) => found.pass[place] && known(place))
    .sort((a, b) => trials.number[a] - trials.number[b]);
  const scaled = [x, y].map((objective) => scaledCosts(trials, objective, places));
  const steps = [];
  let corners = []; // [cost in x, cost in y], x ascending and y descending
  let area = 0;
  places.forEach((place, index) => {
    const [across, up] = [scaled[0][index], scaled[1][index]];
    if (!corners.some(([a, b]) => a <= across && b <= up)) {
      corners = corners.filter(([a, b]) => !(across <= a && up <= b));
      corners.push([across, up]);
      corners.sort((a, b) => a[0] - b[0]);
      area = corners.reduce((sum, [a, b], at) => sum + (1 - b) * ((corners[at + 1]?.[0] ?? 1) - a), 0);
      steps.push({ number: trials.number[place], share: area });
    }
  });
  const last = places.at(-1);
  if (steps.length && trials.number[last] > steps.at(-1).number) steps.push({ number: trials.number[last], share: area });
  return steps;
}

// Each value as a cost between 0, the best measured, and 1, the worst.
function scaledCosts(trials, objective, places) {
  const costs = places.map((place) => {
    const value = trials.value(objective.name, place);
    const seen = objective.unit ? Math.log(value) : value;
    return objective.direction === "minimize" ? seen : -seen;
  });
  const [low, high] = endsOf(costs);
  return costs.map((cost) => (high > low ? (cost - low) / (high - low) : 0));
}
