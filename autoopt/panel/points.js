// Where the trials lie in the chart: columns, as the trials are, since there may be thousands.

// `count` trials, the n-th of them `place[n]`, drawn at (`px[n]`, `py[n]`) and `scale[n]` times as large
// as usual; `of(place)` gives all of one, or null where it is not drawn.
function placePoints(store, objectives, { plane, places, knee }) {
  const { trials, found } = store;
  const [xs, ys] = objectives.map((objective) => valuesOf(trials, objective));
  const scaleOf = sizing(store);
  const isFrontOnly = store.filter().front;
  const points = {
    count: 0, knee, place: new Int32Array(places.length),
    px: new Float64Array(places.length), py: new Float64Array(places.length), scale: new Float32Array(places.length),
    of,
  };
  const indices = new Int32Array(trials.size).fill(-1);
  for (const place of places) {
    if (isFrontOnly && !found.onFront[place] && place !== found.original) continue;
    if (!isOn(plane.across, xs[place]) || !isOn(plane.up, ys[place])) continue;
    const at = points.count;
    indices[place] = at;
    points.place[at] = place;
    points.px[at] = plane.toX(xs[place]);
    points.py[at] = plane.toY(ys[place]);
    points.scale[at] = scaleOf(place);
    points.count += 1;
  }

  function of(place) {
    const at = place >= 0 ? indices[place] ?? -1 : -1;
    return at < 0 ? null : { place, px: points.px[at], py: points.py[at], scale: points.scale[at] };
  }

  return points;
}

// The third dimension as size: from small to large along an objective.
function sizing({ trials, looks, objective }) {
  const sized = objective(looks().size ?? "");
  if (!sized) return () => 1;
  const values = trials.values[sized.name]?.[0] ?? [];
  const [low, high] = endsOf(values);
  return (place) => (high > low && Number.isFinite(values[place]) ? 0.65 + (values[place] - low) / (high - low) : 1);
}

// The nearest drawn one within reach. Of two marks in the same place, the one on the front lies above
// and answers.
function nearestPoint(store, points, [x, y]) {
  const { onFront } = store.found;
  let [best, distance] = [-1, REACH];
  for (let at = 0; at < points.count; at += 1) {
    const away = Math.hypot(points.px[at] - x, points.py[at] - y) + (onFront[points.place[at]] ? 0 : 3);
    if (away < distance) [best, distance] = [points.place[at], away];
  }
  return best;
}

// Where the cursor goes from one trial, along the key's axis through those that pass.
function stepFrom(store, points, from, key) {
  const { visible, original } = store.found;
  const along = key === "ArrowUp" || key === "ArrowDown" ? points.py : points.px;
  const ordered = [...points.place.subarray(0, points.count).keys()]
    .filter((at) => visible[points.place[at]] || points.place[at] === original)
    .sort((a, b) => along[a] - along[b] || points.place[a] - points.place[b])
    .map((at) => points.place[at]);
  if (!ordered.length) return -1;
  const index = ordered.indexOf(from);
  if (key === "Home" || (index < 0 && key !== "End")) return ordered[0];
  if (key === "End") return ordered.at(-1);
  const forward = key === "ArrowRight" || key === "ArrowDown" ? 1 : -1;
  return ordered[Math.min(Math.max(index + forward, 0), ordered.length - 1)];
}
