// The card of one strategy: figures as bars against the original, pins, Choose.

function createCard(store) {
  const card = html("div", "ao-card", null, { role: "group", "aria-label": "Strategy" });
  const content = html("div", "ao-card-body", null, { tabindex: "0", role: "group", "aria-label": "Strategy in detail" });
  const foot = html("div", "ao-card-foot");
  const pins = ["A", "B"].map((letter, index) => button("ao-button ao-pin", `Pin ${letter}`, () => pin(index), { "aria-pressed": "false" }));
  const choose = button("ao-button ao-primary", "Choose", () => store.command("choose", { number: store.trials.number[shown] }));
  const answer = html("div", "ao-answer");
  foot.append(...pins, choose, answer);
  card.append(content, foot);
  let shown = -1;
  let drawn = "";

  function pin(index) {
    const both = [...(store.looks().pins ?? [null, null])];
    const number = store.trials.number[shown];
    both[index] = both[index] === number ? null : number;
    store.setLooks({ pins: both });
  }

  function draw() {
    shown = store.current();
    foot.hidden = shown < 0;
    // The card is rebuilt only when it says something else, so that its text can be selected.
    const words = shown < 0 ? `${isMeasured()}` : JSON.stringify([
      shown, store.trials.summary[shown], store.objectives().map((o) => [store.trials.stat(o.name, shown), store.trials.value(o.name, store.found.original)]),
      store.objectives(), store.found.onFront[shown], store.found.pass[shown], shown === store.found.recommended, store.chosen() === shown,
    ]);
    if (words !== drawn) {
      drawn = words;
      content.replaceChildren(...(shown < 0 ? [hint()] : contents()));
    }
    if (shown >= 0) drawFoot();
  }

  function drawFoot() {
    const number = store.trials.number[shown];
    const isChosen = store.chosen() === shown;
    const waits = store.pending.get("choose") === number;
    const said = store.answers.get("choose");
    const failed = store.trials.failed(shown);
    choose.disabled = failed || waits || isChosen || store.gone;
    setText(choose, isChosen && !waits ? "Chosen ✓" : waits ? "Choosing…" : `Choose #${number}`);
    setText(answer, waits ? store.waitWords("choose")
      : failed ? "A failed candidate cannot be chosen" : said && !said.ok && said.of === number ? said.text : "");
    pins.forEach((node, index) => {
      node.disabled = failed;
      node.setAttribute("aria-pressed", String((store.looks().pins ?? [])[index] === number));
    });
  }

  const isMeasured = () => store.trials.failures.size < store.trials.size;

  function hint() {
    return html("p", "ao-card-hint", isMeasured()
      ? "Select a point to see its recipe." : "What a strategy does and gains stands here.");
  }

  function contents() {
    const { trials, found } = store;
    const nodes = [title(), html("p", "ao-summary", trials.summary[shown])];
    if (trials.failed(shown)) return [...nodes, ...failureOf(trials.failures.get(shown))];
    const speed = trials.speedup[shown];
    if (Number.isFinite(speed) && shown !== found.original) {
      const line = html("p", "ao-speed");
      line.append(html("b", "", `${speed.toFixed(1)}×`), " as fast as the original");
      nodes.push(line);
    }
    nodes.push(figures());
    return nodes;
  }

  function title() {
    const { trials, found } = store;
    const line = html("div", "ao-card-head");
    line.append(html("h3", "ao-number", `#${trials.number[shown]}`));
    const kind = kindAt(store, shown, -1);
    const badges = trials.failed(shown) ? [["failed", "ao-bad"]] : [
      [kindWords(kind), kind === "recommended" ? "ao-star" : ""],
      [found.onFront[shown] ? "front" : found.pass[shown] ? "dominated" : "outside the needs", found.onFront[shown] ? "ao-good" : ""],
    ];
    if (store.chosen() === shown) badges.push(["chosen", "ao-good"]);
    line.append(...badges.map(([text, name]) => html("span", `ao-badge ${name}`, text)));
    return line;
  }

  function figures() {
    const table = html("table", "ao-values");
    const compares = store.found.original >= 0 && store.found.original !== shown;
    const head = html("tr");
    head.append(html("td"), html("th", "ao-n", "value", { scope: "col" }), compares ? html("th", "ao-n", "vs original", { scope: "col" }) : "");
    table.append(head);
    for (const objective of store.objectives()) {
      const stat = store.trials.stat(objective.name, shown);
      const reference = store.trials.value(objective.name, store.found.original);
      const line = html("tr");
      const value = html("td", "ao-n", formatValue(stat[0] ?? NaN, objective.unit));
      const interval = formatInterval(stat, objective.unit);
      if (interval) value.append(html("small", "", interval));
      line.append(headCell("", objective.label, "row"), value);
      if (compares) line.append(differenceOf(objective, stat[0], reference));
      table.append(line);
      if (compares) table.append(barsOf(stat, reference, objective));
    }
    return table;
  }

  // Two bars from zero, the original's behind; the whisker is the interval.
  function barsOf([value, low, high], reference, objective) {
    const line = html("tr", "ao-bars-row", null, { "aria-hidden": "true" });
    const cell = html("td", "", null, { colspan: "3" });
    line.append(cell);
    if (![value, reference].every((one) => one >= 0)) return line;
    const most = Math.max(high, value, reference) || 1;
    const picture = svg("svg", "ao-compare-bars", { viewBox: "0 0 100 10", preserveAspectRatio: "none" });
    const share = (one) => (100 * Math.min(one, most)) / most;
    picture.append(
      svg("rect", "ao-bar-original", { x: 0, y: 0, width: share(reference), height: 10 }),
      svg("rect", better(objective, reference, value) ? "ao-bar-worse" : "ao-bar-own", { x: 0, y: 2.5, width: share(value), height: 5 }),
      svg("path", "ao-whisker", { d: `M${share(low)} 5H${share(high)}` }),
    );
    cell.append(picture);
    return line;
  }

  return { node: card, draw, mark: draw };
}

// Costs are compared by factors, scores without a unit by differences.
function differenceOf(objective, value, reference) {
  if (![value, reference].every(Number.isFinite)) return html("td", "ao-n", "–");
  const tone = value === reference ? "" : better(objective, value, reference) ? "ao-better" : "ao-worse";
  if (!objective.unit) {
    const sign = value < reference ? "−" : value > reference ? "+" : "±";
    const size = Math.abs(value - reference);
    return html("td", `ao-n ${tone}`, sign + (objective.points ? `${(100 * size).toFixed(2)} pt` : size.toFixed(4)));
  }
  if (!(value > 0 && reference > 0)) return html("td", "ao-n", "–");
  const factor = value / reference;
  return html("td", `ao-n ${tone}`, `${factor.toFixed(factor < 0.1 ? 3 : 2)}×`);
}

function failureOf({ stage, kind, message, log }) {
  const nodes = [
    html("p", "ao-failure", `${kind.replaceAll("_", " ")} in ${stage || "an unknown stage"}`),
    html("pre", "ao-message", message, { tabindex: "0", role: "group", "aria-label": "Message" }),
  ];
  if (log && log.trim() !== message.trim()) nodes.push(copyable("Log", log));
  return nodes;
}
