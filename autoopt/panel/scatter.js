// The marks of the chart: elements for those that matter, canvas for the thousands behind them.

const MOST_ELEMENTS = 400;

// What a trial is drawn as; the first that fits.
function kindAt(store, place, knee) {
  const { trials, found } = store;
  if (place === found.original) return "original";
  if (place === found.recommended) return "recommended";
  if (place === knee) return "knee";
  return SHAPES[trials.role[place]] ? trials.role[place] : "search";
}

function kindWords(kind) {
  return KINDS.find(([name]) => name === kind)[1];
}

function describe(store, place, kind) {
  const { trials, found } = store;
  const values = store.objectives().map((objective) =>
    `${objective.label} ${formatValue(trials.value(objective.name, place), objective.unit)}`);
  const where = found.onFront[place] ? "on the front" : found.pass[place] ? "dominated" : "outside the needs";
  return `Trial ${trials.number[place]}, ${kindWords(kind)}, ${where}: ${trials.summary[place]}. ${values.join(", ")}`;
}

function createScatter(store, identity, { canvas, faded, strong, pulses }, reader) {
  const [fadedLayer, strongLayer] = [faded, strong];
  const marks = new Map();
  const seen = new Set();
  let first = true;

  // `points` are { place, px, py, kind, scale }; `bars(point)` gives the path of its error bars.
  function draw(points, colours, bars, size) {
    const many = points.length > MOST_ELEMENTS;
    const kept = new Set();
    const plain = [];
    for (const point of points) {
      if (many && !matters(point)) {
        plain.push(point);
      } else {
        kept.add(point.place);
        drawMark(point, colours, bars);
      }
      if (!seen.has(point.place)) {
        seen.add(point.place);
        // What stood there when the page opened does not pulse.
        if (!first) pulse(point);
      }
    }
    first = first && points.length === 0;
    for (const [place, mark] of marks) {
      if (!kept.has(place)) {
        mark.remove();
        marks.delete(place);
      }
    }
    paint(plain, colours, size);
  }

  const matters = ({ place, kind }) => isStrong(place, kind)
    || [store.hover, store.selected(), store.chosen(), ...pinnedPlaces(store)].includes(place);
  const isStrong = (place, kind) => Boolean(store.found.onFront[place])
    || ["original", "recommended", "knee"].includes(kind);

  function drawMark({ place, px, py, kind, scale }, colours, bars) {
    let mark = marks.get(place);
    if (!mark) {
      mark = svg("g", "", { role: "option", id: `${identity}-${store.trials.number[place]}` });
      mark.append(svg("path", "ao-bars"), svg("path"));
      marks.set(place, mark);
    }
    const strong = isStrong(place, kind);
    const states = [strong ? "" : "ao-faded", store.found.pass[place] || kind === "original" ? "" : "ao-hollow"];
    mark.setAttribute("class", ["ao-mark", ...states].filter(Boolean).join(" "));
    mark.style.transform = `translate(${px}px, ${py}px)`;
    mark.setAttribute("aria-label", describe(store, place, kind));
    mark.setAttribute("aria-selected", String(store.selected() === place));
    const [whiskers, shape] = mark.children;
    whiskers.setAttribute("d", strong ? bars(place, px, py) : "");
    shape.setAttribute("class", `ao-shape ao-${kind} ${colours.classOf(place)}`);
    shape.setAttribute("d", SHAPES[kind]);
    shape.setAttribute("transform", `scale(${kind === "knee" ? 0.85 * scale : scale})`);
    const layer = strong ? strongLayer : fadedLayer;
    if (mark.parentNode !== layer) layer.append(mark);
  }

  function pulse({ px, py }) {
    const ring = svg("circle", "ao-pulse", { cx: px, cy: py, r: 9 });
    ring.addEventListener("animationend", () => ring.remove());
    // Where motion is reduced the animation never ends, because it never begins.
    setTimeout(() => ring.remove(), 1500);
    pulses.append(ring);
  }

  function paint(points, colours, { width, height }) {
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    if (!points.length) return;
    reader.forget();
    const context = canvas.getContext("2d");
    context.lineWidth = 1.3;
    const paths = new Map();
    const tones = new Map();
    for (const { place, px, py, kind, scale } of points) {
      const pass = store.found.pass[place];
      const name = `${colours.classOf(place)}|${pass}`;
      if (!paths.has(kind)) paths.set(kind, new Path2D(SHAPES[kind]));
      if (!tones.has(name)) tones.set(name, reader.read(colours.classOf(place)));
      context.setTransform(ratio * scale, 0, 0, ratio * scale, px * ratio, py * ratio);
      context.globalAlpha = pass ? 0.36 : 0.2;
      if (pass) context.fillStyle = tones.get(name);
      else context.strokeStyle = tones.get(name);
      context[pass ? "fill" : "stroke"](paths.get(kind));
    }
  }

  return { draw, has: (place) => marks.has(place) };
}

function pinnedPlaces(store) {
  return (store.looks().pins ?? [null, null]).map((number) => (number === null ? -1 : store.trials.place(number)));
}
