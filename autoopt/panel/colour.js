// What colour a trial has: none of its own, that of an option, or a step of an objective.

const MOST_COLOURS = 8;
const STEPS = 5;

function colourOptions(store) {
  const options = [["", "kind only"]];
  for (const name of orderedChoices(store.trials)) {
    if (store.trials.choices[name].levels.length > 1) options.push([`choice:${name}`, choiceWords(name)]);
  }
  for (const objective of store.objectives()) options.push([`value:${objective.name}`, objective.label]);
  return options;
}

function colourName(store) {
  const options = colourOptions(store).map(([name]) => name);
  const wanted = store.looks().colour ?? "choice:runtime";
  return options.includes(wanted) ? wanted : "";
}

// { classOf(place), legend: [[class, words], ...] }; the classes set `color`.
function colouring(store) {
  const [kind, name] = colourName(store).split(/:(.*)/);
  if (kind === "choice") return byLevel(store.trials.choices[name]);
  if (kind === "value") return byValue(store, store.objective(name));
  return { classOf: () => "ao-plain", legend: [] };
}

function byLevel(column) {
  const levels = orderedLevels(column);
  const ranks = new Map(levels.map((level, rank) => [column.known.get(level), rank]));
  const classAt = (rank) => `ao-c${Math.min(rank, MOST_COLOURS - 1)}`;
  const legend = levels.slice(0, MOST_COLOURS).map((level, rank) => [classAt(rank), levelWords(level)]);
  if (levels.length > MOST_COLOURS) legend[MOST_COLOURS - 1][1] = "others";
  return {
    classOf: (place) => (column.codes[place] < 0 ? "ao-none" : classAt(ranks.get(column.codes[place]))),
    legend,
  };
}

function byValue(store, objective) {
  const values = store.trials.values[objective.name]?.[0] ?? [];
  const finite = values.filter(Number.isFinite).sort((a, b) => a - b);
  const ends = Array.from({ length: STEPS - 1 }, (_, k) => finite[Math.floor(((k + 1) * finite.length) / STEPS)]);
  const stepOf = (value) => ends.filter((end) => value >= end).length;
  const legend = finite.length
    ? [["ao-r0", formatValue(finite[0], objective.unit)], [`ao-r${STEPS - 1}`, formatValue(finite.at(-1), objective.unit)]]
    : [];
  return {
    classOf: (place) => (Number.isFinite(values[place]) ? `ao-r${stepOf(values[place])}` : "ao-none"),
    legend,
  };
}

// Canvas knows no classes: ask an element that bears them for its colour. Asking makes the browser
// settle all styles, so the answer is kept until the page's theme changes.
function colourReader(root, onChange) {
  const probe = svg("path");
  const frame = svg("svg", "ao-probe", { "aria-hidden": "true" });
  frame.append(probe);
  root.append(frame);
  const known = new Map();
  let later = 0;
  const observer = new MutationObserver(() => {
    // A theme first sets its attribute and then loads its style.
    clearTimeout(later);
    later = setTimeout(() => {
      known.clear();
      onChange();
    }, 300);
  });
  observer.observe(document.body, { attributes: true, attributeFilter: ["class", "data-jp-theme-light", "data-jp-theme-name"] });
  return {
    read(name) {
      if (!known.has(name)) {
        probe.setAttribute("class", name);
        known.set(name, getComputedStyle(probe).color);
      }
      return known.get(name);
    },
    destroy() {
      clearTimeout(later);
      observer.disconnect();
    },
  };
}
