// What follows from the columns and the filter: who passes, the front, the pick, the knee.

const USUAL_DROP = 0.01; // loss of quality that is allowed where nothing bounds it, as in advice.py

function analyse(trials, objectives, filter) {
  const pass = passing(trials, filter);
  const members = frontOf(trials, objectives, pass);
  const onFront = new Uint8Array(trials.size);
  for (const place of members) onFront[place] = 1;
  const original = trials.role.findIndex((role, place) => role === "original" && !trials.failed(place));
  let shown = 0;
  const visible = new Uint8Array(trials.size);
  for (let place = 0; place < trials.size; place += 1) {
    visible[place] = filter.front ? onFront[place] : pass[place];
    shown += visible[place];
  }
  const found = { pass, members, onFront, original, visible, shown };
  return { ...found, recommended: recommend(trials, objectives, filter, found) };
}

function passing(trials, filter) {
  const pass = new Uint8Array(trials.size).fill(1);
  for (const place of trials.failures.keys()) pass[place] = 0;
  for (const [name, [low, high]] of Object.entries(filter.bounds)) {
    const values = trials.values[name]?.[0] ?? [];
    for (let place = 0; place < trials.size; place += 1) {
      const value = values[place];
      if (!(value >= (low ?? -Infinity) && value <= (high ?? Infinity))) pass[place] = 0;
    }
  }
  for (const [name, wanted] of Object.entries(filter.choices)) {
    const column = trials.choices[name];
    const allowed = new Set(wanted.map((level) => (level === null ? -1 : column?.known.get(level))));
    for (let place = 0; place < trials.size; place += 1) {
      if (!allowed.has(column ? column.codes[place] : -1)) pass[place] = 0;
    }
  }
  const text = filter.text.toLowerCase();
  if (text) {
    for (let place = 0; place < trials.size; place += 1) {
      if (!trials.lower[place].includes(text)) pass[place] = 0;
    }
  }
  return pass;
}

// "Best" means latency, else the first objective beside the quality; as in advice.py.
function speedOf(objectives) {
  return objectives.find((o) => o.name === "latency") ?? objectives[1] ?? objectives[0];
}

function better(objective, a, b) {
  return objective.direction === "minimize" ? a < b : a > b;
}

function bestOf(trials, objective, places) {
  let best = -1;
  for (const place of places) {
    const value = trials.value(objective.name, place);
    if (best < 0 || better(objective, value, trials.value(objective.name, best))) best = place;
  }
  return best;
}

function recommend(trials, objectives, filter, { members, original }) {
  const quality = objectives[0];
  if (!quality) return -1;
  const speed = speedOf(objectives);
  if (original < 0 || isQualityBounded(quality, filter)) return bestOf(trials, speed, members);
  const limit = usualLimit(trials, quality, original);
  return bestOf(trials, speed, members.filter((place) =>
    !better(quality, limit, trials.value(quality.name, place))));
}

// Whether the needs say how much of the quality may be lost. A need of anything else does not: under
// "size ≤ 20" alone the best would be whatever is fastest, right or wrong.
function isQualityBounded(quality, filter) {
  const [low, high] = filter.bounds[quality.name] ?? [null, null];
  return (quality.direction === "minimize" ? high : low) !== null;
}

function usualLimit(trials, quality, original) {
  // The score is a ratio of counts: without this slack a drop of exactly the limit may fail.
  const drop = USUAL_DROP + 1e-9;
  const value = trials.value(quality.name, original);
  return quality.direction === "minimize" ? value + drop : value - drop;
}

// The knee of what is shown on two axes: the point of the front that lies furthest beyond the chord
// between its two ends, each axis scaled to the front's span (the criterion of Das 1999, "On
// characterizing the knee of the Pareto curve"). With fewer than three corners there is none.
function kneeOf(corners, x, y) {
  if (corners.length < 3) return -1;
  const [first, last] = [corners[0], corners.at(-1)];
  const spanX = Math.abs(last.x - first.x);
  const spanY = Math.abs(last.y - first.y);
  if (!(spanX > 0 && spanY > 0)) return -1;
  let [best, furthest] = [-1, 0];
  for (const corner of corners) {
    // From the better end of x, both run from 0 to 1; the chord is the diagonal.
    const distance = Math.abs(corner.y - first.y) / spanY - Math.abs(corner.x - first.x) / spanX;
    if (distance > furthest + 1e-12) [best, furthest] = [corner.place, distance];
  }
  return best;
}

// The corners of the front as seen on two axes: the best in x first, each next one better in y.
// `toX` and `toY` say where a value lies on its axis, so that a logarithmic one is scaled as seen.
function cornersOf(trials, members, x, y, [toX, toY] = [(v) => v, (v) => v]) {
  const [signX, signY] = [x, y].map((o) => (o.direction === "minimize" ? 1 : -1));
  const [acrosses, ups] = [x, y].map((o) => trials.values[o.name]?.[0] ?? []);
  const ordered = [...members].sort((a, b) =>
    signX * (acrosses[a] - acrosses[b]) || signY * (ups[a] - ups[b]));
  const corners = [];
  for (const place of ordered) {
    const last = corners.at(-1);
    if (last && !(signY * ups[place] < signY * ups[last.place])) continue;
    corners.push({ place, x: toX(acrosses[place]), y: toY(ups[place]) });
  }
  return corners;
}
