// The two axes of the chart: which objectives, which scale, from where to where.

const MARGIN = { left: 60, right: 22, top: 26, bottom: 46 };
const BY_TRIAL = { name: " trial", label: "trial", unit: "", direction: null };
const LONGEST_TITLE = 28; // letters, so that two titles and what they hint at fit a narrow panel
const SCALES = [["auto", "auto"], ["linear", "linear"], ["log", "log"]];

function statAt(trials, objective, place) {
  if (objective === BY_TRIAL) return [trials.number[place], trials.number[place], trials.number[place]];
  return trials.stat(objective.name, place);
}

// The figures of all trials on an axis; shorter than the trials where none was measured.
function valuesOf(trials, objective) {
  return objective === BY_TRIAL ? trials.number : trials.values[objective.name]?.[0] ?? [];
}

// The first cost across, the first gain up, unless something else was chosen.
function planeObjectives(store) {
  const objectives = store.objectives();
  const looks = store.looks();
  const named = (name) => (name === BY_TRIAL.name ? BY_TRIAL : store.objective(name));
  let [x, y] = [BY_TRIAL, objectives[0] ?? BY_TRIAL];
  if (objectives.length > 1) {
    x = objectives.find((o) => o.direction === "minimize") ?? objectives[0];
    const others = objectives.filter((o) => o !== x);
    y = others.find((o) => o.direction === "maximize") ?? others[0];
  }
  return [named(looks.x) ?? x, named(looks.y) ?? y];
}

// The trials that have a figure on both axes.
function measuredPlaces({ trials }, objectives) {
  return trials.once(`measured ${JSON.stringify(objectives.map(({ name }) => name))}`, () => {
    const [xs, ys] = objectives.map((objective) => valuesOf(trials, objective));
    const places = [];
    for (let place = 0; place < trials.size; place += 1) {
      if (Number.isFinite(xs[place]) && Number.isFinite(ys[place]) && !trials.failed(place)) places.push(place);
    }
    return places;
  });
}

// The front, the original and the pick decide what is seen; a zoom decides before them.
function fitPlane(store, objectives, places) {
  const { trials, found } = store;
  return objectives.map((objective, index) => {
    const values = valuesOf(trials, objective);
    const [core, rest] = [[], []];
    for (const place of places) {
      const isCore = found.onFront[place] || place === found.original || place === found.recommended;
      (isCore ? core : rest).push(values[place]);
    }
    const mode = store.looks()[index ? "scaleY" : "scaleX"] ?? "auto";
    // A score without a unit, such as an accuracy, is compared by differences, not by factors.
    const fitted = fitAxis(core, rest, { mayBeLog: objective.unit !== "", mode });
    const axis = { ...fitted, refusal: mode === "log" && !fitted.log ? logRefusal([...core, ...rest]) : "" };
    const zoom = store.looks().zoom;
    const fits = zoom && zoom.x === objectives[0].name && zoom.y === objectives[1].name;
    if (!fits) return axis;
    const [low, high] = zoom.ends[index];
    return high > low && (!axis.log || low > 0) ? { ...axisBetween(low, high, axis.log), refusal: axis.refusal, zoomed: true } : axis;
  });
}

// Why an axis is linear although a logarithmic one was asked for.
function logRefusal(values) {
  if (!values.length) return "";
  return endsOf(values)[0] > LEAST_LOG ? "linear: all values are the same" : "linear: log needs values above 0";
}

// Whether a value has a place on the axis: all have, except outside a zoom. Outliers of an axis
// that fits itself are drawn at its edge.
function isOn(axis, value) {
  return !axis.zoomed || (value >= axis.low && value <= axis.high);
}

// Where values lie in a picture of this size.
function placeAxes([across, up], { width, height }) {
  const right = width - MARGIN.right;
  const bottom = height - MARGIN.bottom;
  const atX = (share) => MARGIN.left + share * (right - MARGIN.left);
  const atY = (share) => bottom - share * (bottom - MARGIN.top);
  return {
    across, up, right, bottom, width, height,
    toX: (value) => atX(across.position(value)),
    toY: (value) => atY(up.position(value)),
    // Where a line goes that is clipped: out of a zoom, but to the edge of an axis that fits itself.
    lineX: (value) => atX(across.zoomed ? across.beyond(value) : across.position(value)),
    lineY: (value) => atY(up.zoomed ? up.beyond(value) : up.position(value)),
    fromX: (px) => across.value((px - MARGIN.left) / (right - MARGIN.left)),
    fromY: (py) => up.value((bottom - py) / (bottom - MARGIN.top)),
  };
}

function drawGrid(plane, [x, y], { empty, named }) {
  const lines = [];
  const texts = [];
  // Ticks of an axis that nothing stands on yet would be invented.
  (empty ? [] : plane.across.ticks).forEach((tick, index) => {
    lines.push(`M${plane.toX(tick)} ${MARGIN.top}V${plane.bottom}`);
    texts.push(svg("text", "ao-tick", { x: plane.toX(tick), y: plane.bottom + 18, "text-anchor": "middle" },
      plane.across.labels[index]));
  });
  (empty ? [] : plane.up.ticks).forEach((tick, index) => {
    lines.push(`M${MARGIN.left} ${plane.toY(tick)}H${plane.right}`);
    texts.push(svg("text", "ao-tick", { x: MARGIN.left - 8, y: plane.toY(tick) + 4, "text-anchor": "end" },
      plane.up.labels[index]));
  });
  return [
    svg("path", "ao-grid", { d: lines.join("") }),
    svg("path", "ao-floor", { d: `M${MARGIN.left} ${plane.bottom}H${plane.right}` }),
    ...texts,
    ...(named ? titles(plane, [x, y]) : []),
  ];
}

function titles(plane, [x, y]) {
  return [
    axisTitle(x, plane.across, { x: plane.right, y: plane.height - 8, "text-anchor": "end" }, ["← better", "better →"]),
    axisTitle(y, plane.up, { x: 12, y: 13 }, ["↓ better", "↑ better"]),
  ];
}

function axisTitle(objective, axis, place, [lower, higher]) {
  const title = svg("text", "ao-title", place);
  const unit = objective.unit ? `, ${objective.unit}` : "";
  title.append(svg("title", "", {}, objective.label + unit));
  title.append(svg("tspan", "ao-name", {}, shortened(objective.label, LONGEST_TITLE) + shortened(unit, 16)));
  const hints = objective.direction ? [objective.direction === "minimize" ? lower : higher] : [];
  if (axis.log) hints.push("log scale");
  if (axis.refusal) hints.push(axis.refusal);
  if (hints.length) title.append(svg("tspan", "ao-hint", { dx: 8 }, hints.join(" · ")));
  return title;
}
