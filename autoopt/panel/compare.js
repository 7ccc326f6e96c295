// Two pinned strategies side by side: their figures, and only the choices in which they differ.

function createCompare(store) {
  const root = html("div", "ao-compare", null, { role: "group", "aria-label": "Compare" });
  const body = html("div", "ao-compare-body", null, { tabindex: "0", role: "group", "aria-label": "Comparison" });
  root.append(heading("Compare A and B", html("span", "ao-aside", "what differs")), body);
  let drawn = "";

  function draw() {
    const pair = pinnedPlaces(store);
    const words = JSON.stringify([pair, store.objectives(), pair.map((place) => (place < 0 ? null : store.objectives().map((o) => store.trials.stat(o.name, place))))]);
    if (words === drawn) return;
    drawn = words;
    body.replaceChildren(pair.some((place) => place < 0) ? hint(pair) : table(pair));
  }

  function hint([a, b]) {
    const missing = a < 0 && b < 0 ? "one strategy as A and another as B" : a < 0 ? "another one as A" : "another one as B";
    return html("p", "ao-card-hint", `Pin ${missing} in the card above.`);
  }

  function table([a, b]) {
    const { trials } = store;
    const node = html("table", "ao-values");
    const head = html("tr");
    head.append(html("td"), ...[a, b].map((place, index) => {
      const cell = html("th", "ao-n", null, { scope: "col" });
      cell.append(button("ao-quiet", `${"AB"[index]} · #${trials.number[place]}`, () => store.select(place)));
      return cell;
    }), html("th", "ao-n", "B vs A", { scope: "col" }));
    node.append(head);
    for (const objective of store.objectives()) node.append(figureLine(objective, a, b));
    const differing = orderedChoices(trials).filter((name) => trials.level(name, a) !== trials.level(name, b));
    for (const name of differing) {
      const line = html("tr", "ao-differs");
      line.append(headCell("", choiceWords(name), "row"),
        ...[a, b].map((place) => html("td", "ao-n", shortened(levelWords(trials.level(name, place)), 120))), html("td"));
      node.append(line);
    }
    if (!differing.length) {
      const line = html("tr");
      line.append(html("td", "", "Their recipes are the same.", { colspan: "4" }));
      node.append(line);
    }
    return node;
  }

  function figureLine(objective, a, b) {
    const [first, second] = [a, b].map((place) => store.trials.stat(objective.name, place));
    const line = html("tr");
    const tie = first[1] <= second[2] && second[1] <= first[2] && (first[1] < first[2] || second[1] < second[2]);
    const difference = differenceOf(objective, second[0], first[0]);
    if (tie) {
      difference.className = "ao-n";
      difference.append(html("small", "", "within noise"));
    }
    line.append(headCell("", objective.label, "row"),
      ...[first, second].map((stat) => html("td", "ao-n", formatNumber(stat[0] ?? NaN, objective.unit))), difference);
    return line;
  }

  return { node: root, draw };
}
