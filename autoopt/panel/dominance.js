// Which trials no other one dominates.

// An objective's values as costs: less is better.
function costsOf(trials, { name, direction }) {
  return trials.once(`costs ${name} ${direction}`, () => {
    const values = trials.values[name]?.[0] ?? [];
    const costs = new Float64Array(trials.size).fill(NaN);
    for (let place = 0; place < values.length; place += 1) {
      costs[place] = direction === "minimize" ? values[place] : -values[place];
    }
    return costs;
  });
}

// The places that have every figure, by the first objective, where that is equal by the next, and so
// on. A new trial finds the others in order, which a sort uses.
function orderOf(trials, objectives, columns) {
  return trials.once(`order ${JSON.stringify(objectives.map((o) => [o.name, o.direction]))}`, (before = []) => {
    const has = new Uint8Array(trials.size);
    for (const place of before) has[place] = 1;
    const order = before;
    for (let place = 0; place < trials.size; place += 1) if (!has[place]) order.push(place);
    const known = order.filter((place) => columns.every((column) => Number.isFinite(column[place])));
    return known.sort((a, b) => {
      for (const column of columns) if (column[a] !== column[b]) return column[a] - column[b];
      return trials.number[a] - trials.number[b];
    });
  });
}

// The places that no other one dominates, among those that pass and have every figure. In their
// order none can be dominated by a later one, so one pass is enough; of equal trials the first stays.
function frontOf(trials, objectives, pass) {
  const columns = objectives.map((o) => costsOf(trials, o));
  const order = orderOf(trials, objectives, columns);
  const isCovered = columns.length > 3 ? coverOfMany(columns) : coverOfThree(columns);
  const members = [];
  for (const place of order) if (pass[place] && !isCovered(place)) members.push(place);
  return members;
}

// Up to three objectives: who comes later is worse in the first, so the two others decide. Of all
// that came before, a staircase in those two is enough (Kung, Luccio and Preparata 1975, "On finding
// the maxima of a set of vectors"): a search by halves instead of a look at every member.
function coverOfThree([, second, third]) {
  const [ys, zs] = [[], []]; // of the stairs, y ascending and z descending
  return (place) => {
    const [y, z] = [second?.[place] ?? 0, third?.[place] ?? 0];
    let [from, to] = [0, ys.length];
    while (from < to) {
      const middle = (from + to) >> 1;
      if (ys[middle] <= y) from = middle + 1;
      else to = middle;
    }
    if (from > 0 && zs[from - 1] <= z) return true;
    let end = from;
    while (end < zs.length && zs[end] >= z) end += 1;
    if (from > 0 && ys[from - 1] === y) from -= 1;
    ys.splice(from, end - from, y);
    zs.splice(from, end - from, z);
    return false;
  };
}

// More of them: every member is looked at, those first that covered the last ones, since they cover
// most of the rest.
function coverOfMany(columns) {
  const likely = [];
  const covers = (by, place) => {
    for (let k = 0; k < columns.length; k += 1) if (columns[k][by] > columns[k][place]) return false;
    return true;
  };
  return (place) => {
    const at = likely.findIndex((member) => covers(member, place));
    if (at < 0) likely.push(place);
    else if (at > 0) {
      const half = at >> 1;
      [likely[half], likely[at]] = [likely[at], likely[half]];
    }
    return at >= 0;
  };
}
