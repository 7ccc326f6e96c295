// Parallel coordinates: one line a trial over choices and objectives; brushing sets the filter.

const LINES = { top: 30, bottom: 16, least: 92 };
const MOST_LINES = 200; // behind the front; more cannot be told apart
const MOST_OF_FRONT = 100;
const MOST_STRONG = 40; // of the front that are drawn wider than a hair

// Choices with more than one level, then the objectives; of each `shares`, how high a trial lies on it,
// -1 where it has no value there.
function coordinateAxes(store) {
  const { trials } = store;
  const objectives = store.objectives();
  return trials.once(`coordinates ${JSON.stringify(objectives)}`, () => [
    ...orderedChoices(trials).filter((name) => trials.choices[name].levels.length > 1)
      .map((name) => levelAxis(name, trials.choices[name])),
    ...objectives.map((objective) => numberAxis(trials, objective)),
  ]);
}

function levelAxis(name, column) {
  const levels = orderedLevels(column);
  if (column.codes.includes(-1)) levels.unshift(null);
  const shareOf = new Map(levels.map((level, rank) => [
    level === null ? -1 : column.known.get(level), (rank + 0.5) / levels.length,
  ]));
  return {
    name, title: choiceWords(name), levels,
    shares: sharesOf(column.codes.length, (place) => (column.codes[place] < 0 ? -1 : shareOf.get(column.codes[place]))),
    shareOf: (level) => shareOf.get(level === null ? -1 : column.known.get(level)),
  };
}

function numberAxis(trials, objective) {
  const values = trials.values[objective.name]?.[0] ?? [];
  const axis = fitAxis(values.filter(Number.isFinite), [], { mayBeLog: objective.unit !== "" });
  return {
    name: objective.name, title: objective.unit ? `${objective.label}, ${objective.unit}` : objective.label,
    objective, axis, isEmpty: !values.some(Number.isFinite),
    shares: sharesOf(trials.size, (place) => (Number.isFinite(values[place]) ? axis.position(values[place]) : -1)),
  };
}

function sharesOf(count, at) {
  const shares = new Float32Array(count);
  for (let place = 0; place < count; place += 1) shares[place] = at(place);
  return shares;
}

function createCoordinates(store, reader) {
  const root = html("div", "ao-coordinates", null, { role: "group", "aria-label": "Parallel coordinates" });
  const note = html("span", "ao-aside");
  const scroll = html("div", "ao-lines-scroll");
  const box = html("div", "ao-lines");
  const canvas = html("canvas", "", null, { "aria-hidden": "true" });
  const picture = svg("svg", "", { role: "group", "aria-label": "Axes. On an axis of names, Space keeps or drops one; on an axis of numbers, arrow keys move the ends." });
  const layers = ["marks", "axes"].map((name) => svg("g", `ao-lines-${name}`));
  layers[0].setAttribute("aria-hidden", "true");
  picture.append(...layers);
  box.append(canvas, picture);
  scroll.append(box);
  root.append(heading("Choices and objectives", html("span", "ao-aside", "drag along an axis to filter, click to let go"), note), scroll);
  const brush = createBrush(store);
  let size = { width: 0, height: 0 };
  let axes = [];
  const built = []; // of each axis its element, and what that was built of
  let drawn = null;

  const toX = (index) => 46 + (index * (size.width - 92)) / Math.max(axes.length - 1, 1);
  const toY = (share) => size.height - LINES.bottom - share * (size.height - LINES.top - LINES.bottom);
  const fromY = (py) => (size.height - LINES.bottom - py) / (size.height - LINES.top - LINES.bottom);

  // What fits above an axis: between its neighbours, and the outermost ones to the edge.
  const lettersOf = (index) => (index % (axes.length - 1 || 1) ? Math.min(Math.max(Math.floor((toX(1) - toX(0)) / 6.6), 13), 30) : 14);

  function draw() {
    const before = axes;
    axes = coordinateAxes(store);
    setAttribute(box, "style", `min-width:${axes.length * LINES.least}px`);
    if (!size.width || !axes.length) return;
    drawAxes();
    const words = JSON.stringify([size, colourName(store), reader.revision()]);
    if (axes !== before || drawn?.found !== store.found || drawn.words !== words) {
      drawn = { found: store.found, words };
      paint();
    }
    mark();
  }

  // Only the axes that have changed are built anew.
  function drawAxes() {
    const { bounds, choices } = store.filter();
    const layer = layers[1];
    const focused = layer.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    const nodes = axes.map((axis, index) => {
      const { name, title, levels, axis: ends } = axis;
      const words = JSON.stringify([name, title, levels, axis.isEmpty, ends?.low, ends?.high, toX(index), size.height, bounds[name], choices[name]]);
      if (built[index]?.words === words) return built[index].node;
      const node = brush.axisNode(axis, toX(index), { toY, fromY, letters: lettersOf(index) });
      built[index] = { words, node };
      return node;
    });
    built.length = nodes.length;
    if (nodes.length === layer.children.length && nodes.every((node, index) => layer.children[index] === node)) return;
    layer.replaceChildren(...nodes);
    if (focused) layer.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  }

  // A run of points between two absences; a line over an absent setting would say something wrong.
  function runs(place) {
    const found = [];
    let run = [];
    axes.forEach(({ shares }, index) => {
      if (shares[place] < 0) {
        if (run.length) found.push(run);
        run = [];
      } else {
        run.push([toX(index), toY(shares[place])]);
      }
    });
    if (run.length) found.push(run);
    return found;
  }

  function trace(path, place) {
    for (const run of runs(place)) {
      if (run.length === 1) {
        // A value between two absences: a short dash shows it.
        path.moveTo(run[0][0] - 5, run[0][1]);
        path.lineTo(run[0][0] + 5, run[0][1]);
      }
      run.forEach(([x, y], index) => (index ? path.lineTo(x, y) : path.moveTo(x, y)));
    }
  }

  function paint() {
    const ratio = window.devicePixelRatio || 1;
    const context = fitCanvas(canvas, size.width, size.height, ratio);
    const { trials, found } = store;
    const colours = colouring(store);
    const [behind, outside] = [[], []];
    for (let place = 0; place < trials.size; place += 1) {
      if (trials.failed(place)) continue;
      if (!found.visible[place]) outside.push(place);
      else if (!found.onFront[place]) behind.push(place);
    }
    const every = Math.ceil((behind.length + outside.length) / MOST_LINES);
    const everyOfFront = Math.ceil(found.members.length / MOST_OF_FRONT);
    const thinned = (places, step) => places.filter((_, index) => index % step === 0);
    setText(note, thinnedWords(every, everyOfFront));
    stroke(context, thinned(outside, every), () => "ao-plain", { alpha: 0.06, width: 1 });
    stroke(context, thinned(behind, every), colours.classOf, { alpha: 0.28, width: 1 });
    stroke(context, thinned(found.members, everyOfFront), colours.classOf, { alpha: 0.9, width: found.members.length > MOST_STRONG ? 1 : 1.6 });
  }

  function stroke(context, places, classOf, { alpha, width }) {
    const paths = new Map();
    for (const place of places) {
      const name = classOf(place);
      if (!paths.has(name)) paths.set(name, new Path2D());
      trace(paths.get(name), place);
    }
    context.globalAlpha = alpha;
    context.lineWidth = width;
    for (const [name, path] of paths) {
      context.strokeStyle = reader.read(name);
      context.stroke(path);
    }
  }

  // Hover and selection, above the lines: nothing else is drawn again for them.
  function mark() {
    if (!size.width || !axes.length) return;
    const lines = [["ao-line-selected", store.selected()], ["ao-line-hover", store.hover]].filter(([, place]) => place >= 0);
    layers[0].replaceChildren(...lines.flatMap(([name, place]) => {
      const path = runs(place).map((run) => (run.length === 1
        ? `M${run[0][0] - 5} ${run[0][1]}h10` : `M${run.map((point) => point.join(" ")).join("L")}`)).join("");
      return [svg("path", name, { d: path })];
    }));
  }

  const observer = new ResizeObserver(([entry]) => {
    size = { width: entry.contentRect.width, height: entry.contentRect.height };
    picture.setAttribute("viewBox", `0 0 ${size.width} ${size.height}`);
    draw();
  });
  observer.observe(box);
  return { node: root, draw, mark, destroy: () => observer.disconnect() };
}

function thinnedWords(every, everyOfFront) {
  const front = everyOfFront > 1 ? `one in ${everyOfFront} of the front` : "all of the front";
  if (every > 1) return `drawn: one line in ${every}, ${front}`;
  return everyOfFront > 1 ? `drawn: ${front}` : "";
}
