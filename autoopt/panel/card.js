// The card of one strategy: values with intervals against the original, recipe, Choose.

function createCard(store) {
  const card = html("section", "ao-card", null, { "aria-label": "Strategy" });
  const content = html("div", "ao-card-body");
  const choose = html("button", "ao-button ao-primary", "Choose", { type: "button" });
  const answer = html("div", "ao-answer", null, { role: "status" });
  const foot = html("div", "ao-card-foot");
  foot.append(choose, answer);
  card.append(content, foot);
  let shown = null;
  let drawn = "";

  choose.addEventListener("click", () => {
    if (shown && shown.state === "ok") store.choose(shown.number);
  });

  function current() {
    const selected = store.rows.get(store.selected());
    return selected ?? [...store.rows.values()].find((row) => row.recommended) ?? null;
  }

  function draw() {
    shown = current();
    foot.hidden = !shown;
    const original = [...store.rows.values()].find((row) => row.role === "original" && row.state === "ok");
    // The card is rebuilt only when it says something else, so that its text can be selected.
    const words = JSON.stringify([shown, store.rows.size > 0, original, store.objectives(), store.selected(), store.chosen()]);
    if (words !== drawn) {
      drawn = words;
      content.replaceChildren(...(shown ? cardOf(shown, original) : [hint()]));
    }
    if (shown) drawFoot();
  }

  function drawFoot() {
    const isChosen = store.chosen() === shown.number;
    const waits = store.waitingFor === shown.number && !isChosen;
    choose.disabled = shown.state !== "ok" || waits || isChosen;
    setText(choose, isChosen ? "Chosen ✓" : waits ? "Choosing…" : `Choose #${shown.number}`);
    setText(answer, waits ? "Python answers when its cell is done" : shown.state === "ok" ? "" : "A failed candidate cannot be chosen");
  }

  function hint() {
    return html("p", "ao-card-hint", store.rows.size
      ? "Select a point to see its recipe." : "What a strategy does and gains stands here.");
  }

  function cardOf(row, original) {
    const nodes = [heading(row), html("h3", "ao-summary", row.summary)];
    if (row.state === "failed") return [...nodes, ...failureOf(row), recipeOf(row)];
    if (Number.isFinite(row.speedup) && row.role !== "original") nodes.push(speedOf(row));
    return [...nodes, valuesOf(row, original), recipeOf(row)];
  }

  function heading(row) {
    const head = html("div", "ao-card-head");
    head.append(html("span", "ao-number", `#${row.number}`));
    const badges = row.state === "failed" ? [["failed", "ao-bad"]] : [
      row.recommended && ["★ recommended", "ao-star"],
      row.role !== "search" && [kindWords({ ...row, recommended: false }), ""],
      row.front ? ["on the front", "ao-good"] : ["dominated", ""],
      !row.feasible && ["outside the constraints", "ao-bad"],
    ];
    for (const [text, tone] of badges.filter(Boolean)) head.append(html("span", `ao-badge ${tone}`, text));
    return head;
  }

  function speedOf(row) {
    const line = html("p", "ao-speed");
    line.append(html("b", "", `${row.speedup.toFixed(1)}×`), html("span", "", " as fast as the original"));
    return line;
  }

  function valuesOf(row, original) {
    const table = html("table", "ao-values");
    const head = html("tr");
    const compares = original && original.number !== row.number;
    for (const [text, name] of [["", ""], ["value", "ao-n"], ...(compares ? [["vs original", "ao-n"]] : [])]) {
      head.append(text ? html("th", name, text, { scope: "col" }) : html("td"));
    }
    table.append(head);
    for (const objective of store.objectives()) {
      const stat = row.values[objective.name];
      const line = html("tr");
      const value = html("td", "ao-n", formatValue(stat?.[0], objective.unit));
      const interval = formatInterval(stat, objective.unit);
      if (interval) value.append(html("small", "", interval));
      line.append(html("th", "", objective.label, { scope: "row" }), value);
      if (compares) line.append(differenceOf(objective, stat?.[0], original.values[objective.name]?.[0]));
      table.append(line);
    }
    return table;
  }

  // Costs are compared by factors, scores without a unit by differences.
  function differenceOf(objective, value, reference) {
    if (![value, reference].every(Number.isFinite)) return html("td", "ao-n", "–");
    const better = objective.direction === "minimize" ? value < reference : value > reference;
    const tone = value === reference ? "" : better ? "ao-better" : "ao-worse";
    if (!objective.unit) {
      const sign = value < reference ? "−" : value > reference ? "+" : "±";
      return html("td", `ao-n ${tone}`, sign + Math.abs(value - reference).toFixed(4));
    }
    if (!(value > 0 && reference > 0)) return html("td", "ao-n", "–");
    const factor = value / reference;
    return html("td", `ao-n ${tone}`, `${factor.toFixed(factor < 0.1 ? 3 : 2)}×`);
  }

  function recipeOf(row) {
    const part = html("div", "ao-recipe");
    part.append(html("div", "ao-label", "Recipe"),
      html("pre", "", row.recipe.trim(), { tabindex: "0", "aria-label": "Recipe as YAML" }));
    return part;
  }

  function failureOf(row) {
    const failure = row.failure ?? { stage: "unknown stage", kind: "failed", message: "" };
    const where = html("p", "ao-failure", `${failure.kind.replaceAll("_", " ")} in ${failure.stage}`);
    return [where, html("pre", "ao-message", failure.message, { tabindex: "0", "aria-label": "Message" })];
  }

  return { node: card, draw };
}
