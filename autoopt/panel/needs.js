// The second line: what is needed of each objective, how many strategies keep it, and the advice.

function createNeeds(store) {
  const root = html("div", "ao-needs", null, { role: "group", "aria-label": "Needs" });
  const line = html("div", "ao-needs-line");
  const fields = html("div", "ao-needs-fields");
  const count = html("output", "ao-count");
  const reset = button("ao-quiet", "Back to the search's needs", () => store.setFilter({ bounds: { ...store.needs() } }));
  const clear = button("ao-quiet", "Clear filter", () => store.setFilter({ ...NO_FILTER }));
  line.append(html("b", "", "Need"), fields, count, reset, clear);
  const advice = html("p", "ao-advice");
  const star = shapeIcon("recommended");
  const reason = html("span");
  const more = html("span", "ao-more");
  advice.append(star, reason, " ", more);
  root.append(line, advice);
  let listed = "";
  let inputs = [];

  function build(objectives) {
    inputs = objectives.map((objective) => {
      const sense = objective.direction === "minimize" ? "≤" : "≥";
      const end = objective.direction === "minimize" ? 1 : 0;
      const field = html("label", "ao-need");
      const input = html("input", "ao-input", null, { type: "text", inputmode: "decimal", placeholder: "any", autocomplete: "off" });
      field.append(html("span", "", `${objective.label} ${sense} `), input, html("span", "ao-unit", objective.unit));
      input.addEventListener("change", () => take(objective, end, input));
      input.addEventListener("keydown", (event) => {
        if (event.key === "Enter") take(objective, end, input);
      });
      return { objective, end, input, field };
    });
    fields.replaceChildren(...inputs.map(({ field }) => field));
  }

  function take(objective, end, input) {
    const text = input.value.trim().replace(",", ".");
    const value = text === "" ? null : Number(text);
    const wrong = value !== null && !Number.isFinite(value);
    input.setAttribute("aria-invalid", String(wrong));
    if (wrong) return;
    const pair = [...(store.filter().bounds[objective.name] ?? [null, null])];
    pair[end] = value;
    store.bound(objective.name, pair);
  }

  function draw() {
    const bounded = [...store.objectives(), ...store.bounded()];
    const words = JSON.stringify(bounded);
    if (words !== listed) {
      listed = words;
      build(bounded);
    }
    for (const { objective, end, input } of inputs) {
      const bound = store.filter().bounds[objective.name]?.[end] ?? null;
      if (document.activeElement !== input && input.getAttribute("aria-invalid") !== "true") {
        input.value = bound === null ? "" : shortNumber(bound);
      }
    }
    const { shown } = store.found;
    setText(count, store.trials.size ? `→ ${shown} ${shown === 1 ? "strategy" : "strategies"}` : "");
    const same = JSON.stringify(store.filter().bounds) === JSON.stringify(store.needs());
    reset.hidden = same || !Object.keys(store.needs()).length;
    clear.hidden = JSON.stringify({ ...NO_FILTER, ...store.filter() }) === JSON.stringify(NO_FILTER);
    setText(reason, reasonOf(store));
    setText(more, oneMorePoint(store));
    star.style.display = store.found.recommended < 0 ? "none" : "";
  }

  return { node: root, draw };
}

function shortNumber(value) {
  return String(Number(value.toPrecision(5)));
}
