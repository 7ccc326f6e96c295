// What colour a trial has: none of its own, that of an option, or a step of an objective.

const MOST_COLOURS = 8;
const STEPS = 5;

function colourOptions(store) {
  const varied = orderedChoices(store.trials).filter((name) => store.trials.choices[name].levels.length > 1);
  return [
    ["", "kind only"],
    ...varied.map((name) => [`choice:${name}`, choiceWords(name)]),
    ...store.objectives().map(({ name, label }) => [`value:${name}`, label]),
  ];
}

function colourName(store) {
  const options = colourOptions(store).map(([name]) => name);
  const wanted = store.looks().colour ?? "choice:runtime";
  return options.includes(wanted) ? wanted : "";
}

// { names, at(place), classOf(place), legend: [[class, words], ...] }: `at` gives a place in `names`, the
// classes, which set `color`.
function colouring(store) {
  const [kind, name] = colourName(store).split(/:(.*)/);
  return store.trials.once(`colours ${kind} ${name}`, () => {
    const found = kind === "choice" ? byLevel(store.trials.choices[name])
      : kind === "value" ? byValue(store.trials, store.objective(name))
        : { names: ["ao-plain"], at: () => 0, legend: [] };
    return { ...found, classOf: (place) => found.names[found.at(place)] };
  });
}

function byLevel(column) {
  const levels = orderedLevels(column);
  const ranks = new Map(levels.map((level, rank) => [column.known.get(level), Math.min(rank, MOST_COLOURS - 1)]));
  const names = Array.from({ length: MOST_COLOURS }, (_, rank) => `ao-c${rank}`);
  const legend = levels.slice(0, MOST_COLOURS).map((level, rank) => [names[rank], levelWords(level)]);
  if (levels.length > MOST_COLOURS) legend[MOST_COLOURS - 1][1] = "others";
  return {
    names: [...names, "ao-none"],
    at: (place) => (column.codes[place] < 0 ? MOST_COLOURS : ranks.get(column.codes[place])),
    legend,
  };
}

function byValue(trials, objective) {
  const values = trials.values[objective.name]?.[0] ?? [];
  const finite = Float64Array.from(values.filter(Number.isFinite)).sort();
  const ends = Array.from({ length: STEPS - 1 }, (_, k) => finite[Math.floor(((k + 1) * finite.length) / STEPS)]);
  const names = [...Array.from({ length: STEPS }, (_, step) => `ao-r${step}`), "ao-none"];
  const legend = finite.length
    ? [[names[0], formatValue(finite[0], objective.unit)], [names[STEPS - 1], formatValue(finite.at(-1), objective.unit)]]
    : [];
  return {
    names,
    at: (place) => (Number.isFinite(values[place]) ? ends.filter((end) => values[place] >= end).length : STEPS),
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
  let revision = 0;
  const observer = new MutationObserver(() => {
    // A theme first sets its attribute and then loads its style.
    clearTimeout(later);
    later = setTimeout(() => {
      known.clear();
      revision += 1;
      onChange();
    }, 300);
  });
  observer.observe(document.body, { attributes: true, attributeFilter: ["class", "data-jp-theme-light", "data-jp-theme-name"] });
  function read(name) {
    if (!known.has(name)) {
      probe.setAttribute("class", name);
      known.set(name, getComputedStyle(probe).color);
    }
    return known.get(name);
  }

  return {
    read,
    revision: () => revision, // how often the colours have changed
    surface: () => read("ao-surface"),
    destroy() {
      clearTimeout(later);
      observer.disconnect();
    },
  };
}
