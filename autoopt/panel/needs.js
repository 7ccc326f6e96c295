// The second line: what is needed of each objective, how many strategies keep it, and the advice.

function createNeeds(store, identity) {
  const root = html("div", "ao-needs", null, { role: "group", "aria-label": "Needs" });
  const line = html("div", "ao-needs-line");
  const fields = html("div", "ao-needs-fields");
  const count = html("span", "ao-count");
  const reset = button("ao-quiet", "Back to the search's needs", () => change({ bounds: { ...store.needs() } }));
  const clear = button("ao-quiet", "Clear filter", () => change({ ...NO_FILTER }));
  line.append(html("b", "", "Need"), fields, count, reset, clear);
  const refusal = html("p", "ao-refusal ao-bad", null, { id: `${identity}-refusal`, hidden: "" });
  const advice = html("p", "ao-advice");
  const star = shapeIcon("recommended");
  const reason = html("span");
  const more = html("span", "ao-more");
  advice.append(star, reason, " ", more);
  root.append(line, refusal, advice);
  let listed = "";
  let inputs = [];
  let refused = new Map(); // input → why its text is no need
  let bounds = null; // with which the fields were filled last, or which they set themselves

  function build(objectives) {
    inputs = objectives.map((objective) => {
      const sense = objective.direction === "minimize" ? "≤" : "≥";
      const end = objective.direction === "minimize" ? 1 : 0;
      const field = html("label", "ao-need");
      const input = html("input", "ao-input", null, { type: "text", inputmode: "decimal", placeholder: "any", autocomplete: "off" });
      const name = html("span", "ao-need-name", objective.label, { title: objective.label });
      field.append(name, html("span", "", ` ${sense} `), input, html("span", "ao-unit", objective.unit, { title: objective.unit }));
      input.addEventListener("change", () => take(objective, end, input));
      input.addEventListener("keydown", (event) => {
        if (event.key === "Enter") take(objective, end, input);
      });
      input.addEventListener("blur", drawFields);
      return { objective, end, input, field };
    });
    fields.replaceChildren(...inputs.map(({ field }) => field));
  }

  function change(filter) {
    refused.clear();
    store.setFilter(filter);
  }

  function take(objective, end, input) {
    const bound = boundOf(objective, end);
    // Written shorter than it is: leaving it as it stands changes nothing.
    if (!refused.has(input) && input.value.trim() === needText(bound)) return;
    const { value, refusal: why } = readNeed(input.value, objective);
    if (why) {
      refused.set(input, why);
      drawRefusals();
      return;
    }
    refused.delete(input);
    drawRefusals();
    const pair = [...(store.filter().bounds[objective.name] ?? [null, null])];
    pair[end] = value;
    store.bound(objective.name, pair);
    bounds = store.filter().bounds;
  }

  const boundOf = (objective, end) => store.filter().bounds[objective.name]?.[end] ?? null;

  function drawRefusals() {
    for (const { input } of inputs) {
      setAttribute(input, "aria-invalid", String(refused.has(input)));
      if (refused.has(input)) setAttribute(input, "aria-describedby", refusal.id);
      else input.removeAttribute("aria-describedby");
    }
    setText(refusal, [...refused.values()].join(" "));
    refusal.hidden = !refused.size;
  }

  function drawFields() {
    const bounded = [...store.objectives(), ...store.bounded()];
    const words = JSON.stringify(bounded);
    // What others have set since, Python or a brush, holds; what was refused is forgotten.
    if (words !== listed || store.filter().bounds !== bounds) refused = new Map();
    bounds = store.filter().bounds;
    if (words !== listed) {
      listed = words;
      build(bounded);
    }
    for (const { objective, end, input } of inputs) {
      if (document.activeElement !== input && !refused.has(input)) input.value = needText(boundOf(objective, end));
    }
    drawRefusals();
  }

  function draw() {
    drawFields();
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

const needText = (bound) => (bound === null ? "" : shortNumber(bound));

function shortNumber(value) {
  return String(Number(value.toPrecision(5)));
}

const THOUSANDS = /^[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?$/;
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
const WITH_COMMA = /^[+-]?\d*,\d+$/;

// What a person may write: 8, 0.98, 1,000 as the panel itself does, 0,98; alone or in the objective's
// unit, and of a score without one also in percent. Gives `value`, null for none, or a `refusal`.
function readNeed(text, objective) {
  const { unit } = objective;
  let written = text.trim().replace("−", "-");
  if (!written) return { value: null };
  const isPercent = !unit && written.endsWith("%");
  const ending = isPercent ? "%" : unit;
  if (ending && written.toLowerCase().endsWith(ending.toLowerCase())) written = written.slice(0, -ending.length).trim();
  const plain = THOUSANDS.test(written) ? written.replaceAll(",", "") : WITH_COMMA.test(written) ? written.replace(",", ".") : written;
  const number = NUMBER.test(plain) ? Number(plain) : NaN;
  const value = isPercent ? Number((number / 100).toPrecision(15)) : number;
  return Number.isFinite(value) ? { value } : { refusal: refusalWords(text.trim(), objective) };
}

function refusalWords(text, { label, unit }) {
  const like = unit ? `8, 0.5 or 1,000, with or without ${unit}` : "0.98 or 98 %";
  return `${shortened(label, 40)}: “${shortened(text, 40)}” is no number${unit && ` in ${unit}`}; write it like ${like}.`;
}
