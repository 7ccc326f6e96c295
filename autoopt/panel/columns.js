// The trials as columns: one array a property. A trial is known by its place in all of them.

function createTrials() {
  const places = new Map(); // number → place
  const derived = new Map(); // name → { revision, value }, see once
  const trials = {
    number: [], role: [], summary: [], speedup: [], lower: [],
    values: {}, // objective → [value, low, high], each an array; NaN where unknown
    choices: {}, // slot or slot.setting → { levels, codes }; -1 where absent
    failures: new Map(), // place → note
    size: 0,
    failureChanges: 0, // how often `failures` has changed
    revision: 0, // how often anything has changed
    once,
    place: (number) => places.get(number) ?? -1,
    value: (objective, place) => trials.values[objective]?.[0][place] ?? NaN,
    stat: (objective, place) => (trials.values[objective] ?? []).map((column) => column[place]),
    level(name, place) {
      const column = trials.choices[name];
      const code = column?.codes[place] ?? -1;
      return code < 0 ? null : column.levels[code];
    },
    failed: (place) => trials.failures.has(place),
    take,
  };

  // What follows from the trials alone is worked out once for each state of them, whatever the filter;
  // `make` is given what held before.
  function once(name, make) {
    const known = derived.get(name);
    if (known?.revision === trials.revision) return known.value;
    const value = make(known?.value);
    derived.set(name, { revision: trials.revision, value });
    return value;
  }

  // Insert or replace by number: the same trial may come twice, by a message and with the state.
  function take(columns) {
    const numbers = columns?.number ?? [];
    const at = numbers.map((number) => {
      if (!places.has(number)) {
        places.set(number, trials.size);
        trials.size += 1;
      }
      return places.get(number);
    });
    at.forEach((place, index) => {
      trials.number[place] = numbers[index];
      trials.role[place] = columns.role.levels[columns.role.codes[index]];
      trials.summary[place] = columns.summary[index];
      trials.lower[place] = `#${numbers[index]} ${columns.summary[index]}`.toLowerCase();
      trials.speedup[place] = columns.speedup[index] ?? NaN;
      const note = columns.failures[numbers[index]];
      if (note) trials.failures.set(place, note);
      if (note || trials.failures.delete(place)) trials.failureChanges += 1;
    });
    takeValues(at, columns.values ?? {});
    takeChoices(at, columns.choices ?? {});
    if (at.length) trials.revision += 1;
  }

  function takeValues(at, values) {
    for (const name of Object.keys(values)) trials.values[name] ??= [[], [], []];
    for (const [name, own] of Object.entries(trials.values)) {
      const [value, low, high] = values[name] ?? [];
      at.forEach((place, index) => {
        const middle = value?.[index] ?? NaN;
        own[0][place] = Math.abs(middle) < 1e100 ? middle : NaN;
        own[1][place] = low?.[index] ?? middle;
        own[2][place] = high?.[index] ?? middle;
      });
      for (const column of own) pad(column, NaN);
    }
  }

  function takeChoices(at, choices) {
    for (const name of Object.keys(choices)) {
      trials.choices[name] ??= { levels: [], known: new Map(), codes: [] };
    }
    for (const [name, own] of Object.entries(trials.choices)) {
      const given = choices[name];
      const codes = (given?.levels ?? []).map((level) => codeOf(own, level));
      at.forEach((place, index) => {
        const code = given?.codes[index] ?? -1;
        own.codes[place] = code < 0 ? -1 : codes[code];
      });
      pad(own.codes, -1);
    }
  }

  function codeOf(own, level) {
    if (!own.known.has(level)) own.known.set(level, own.levels.push(level) - 1);
    return own.known.get(level);
  }

  // A column that is new, or lacks a trial, must not have holes.
  function pad(column, filler) {
    for (let place = 0; place < trials.size; place += 1) column[place] ??= filler;
  }

  return trials;
}

// "pruning.keep_ratio" is a setting, "pruning" its slot.
function choiceWords(name) {
  return name.replaceAll("_", " ").replace(".", " · ");
}

function levelWords(level) {
  if (level === null) return "absent";
  return typeof level === "string" ? level.replaceAll("_", " ") : String(level);
}

// Each slot, and after it its settings.
function orderedChoices(trials) {
  return trials.once("choices", () => {
    const names = Object.keys(trials.choices);
    return names.filter((name) => !name.includes("."))
      .flatMap((slot) => [slot, ...names.filter((name) => name.startsWith(`${slot}.`))]);
  });
}

// Numbers ascending, then words in the order in which they became known.
function orderedLevels(column) {
  const numbers = column.levels.filter((level) => typeof level === "number").sort((a, b) => a - b);
  return [...numbers, ...column.levels.filter((level) => typeof level !== "number")];
}
