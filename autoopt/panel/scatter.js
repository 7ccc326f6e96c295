// The marks of the chart: elements for those that matter, canvas for the thousands behind them.

const MOST_ELEMENTS = 400;
const STAMP = 20; // px, the largest outline and its border
const MOST_PULSES = 50; // at once; more would be no news but a flicker

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
  const promoted = new Set();
  const stamps = new Map();
  let known = null; // how many trials there were when it was drawn last, shown or not
  let drawn = null;

  // `points` are { place, px, py, kind, scale }; `bars(point)` gives the path of its error bars.
  function draw(points, colours, bars, size) {
    drawn = { colours, bars };
    const many = points.length > MOST_ELEMENTS;
    // With three objectives a front may itself have thousands of members.
    const crowded = points.filter(({ place, kind }) => isStrong(place, kind)).length > MOST_ELEMENTS;
    const pointed = new Set([store.hover, store.selected(), store.chosen(), ...pinnedPlaces(store)]);
    const kept = new Set();
    const [plain, front] = [[], []];
    promoted.clear();
    for (const point of points) {
      const { place, kind } = point;
      const own = pointed.has(place) || (isStrong(place, kind) && !(crowded && isMember(kind)));
      if (many && !own) {
        (isStrong(place, kind) ? front : plain).push(point);
      } else {
        kept.add(place);
        drawMark(point, colours, bars);
      }
    }
    // What stood there when the page opened does not pulse, nor what a filter had hidden so far.
    const since = known ?? store.trials.size;
    points.filter(({ place }) => place >= since).slice(-MOST_PULSES).forEach(pulse);
    known = store.trials.size;
    for (const place of marks.keys()) if (!kept.has(place)) drop(place);
    paint([...plain, ...front], colours, size);
  }

  // A mark of its own for points that are looked at: without one nothing could name them. The
  // canvas is not painted again for it.
  function promote(points) {
    for (const place of promoted) {
      if (!points.some((point) => point.place === place)) {
        promoted.delete(place);
        drop(place);
      }
    }
    for (const point of points) {
      if (marks.has(point.place)) continue;
      promoted.add(point.place);
      drawMark(point, drawn.colours, drawn.bars);
    }
  }

  function drop(place) {
    marks.get(place).remove();
    marks.delete(place);
  }

  const isMember = (kind) => !["original", "recommended", "knee"].includes(kind);
  const isStrong = (place, kind) => Boolean(store.found.onFront[place]) || !isMember(kind);

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

  // Thousands of equal outlines: each is drawn once and then stamped into one picture, which a
  // canvas takes far quicker than thousands of shapes.
  function paint(points, colours, { width, height }) {
    const ratio = window.devicePixelRatio || 1;
    const context = fitCanvas(canvas, width, height, ratio);
    if (!points.length) return;
    const picture = context.createImageData(canvas.width, canvas.height);
    const pixels = new Uint32Array(picture.data.buffer);
    for (const { place, px, py, kind, scale } of points) {
      const alpha = isStrong(place, kind) ? 1 : store.found.pass[place] ? 0.36 : 0.2;
      const pass = store.found.pass[place];
      const size = Math.round(10 * scale) / 10;
      const tone = reader.read(colours.classOf(place));
      const name = `${kind} ${tone} ${pass} ${alpha} ${ratio * size}`;
      let stamp = stamps.get(name);
      if (!stamp) stamps.set(name, stamp = stampOf(SHAPES[kind], tone, { pass, alpha, zoom: ratio * size }));
      stampInto(pixels, canvas.width, stamp, Math.round(py * ratio) * canvas.width + Math.round(px * ratio));
    }
    context.putImageData(picture, 0, 0);
  }

  return { draw, promote, has: (place) => marks.has(place) };
}

// An outline as the pixels that it covers: how much each, and where, seen from the middle.
function stampOf(shape, tone, { pass, alpha, zoom }) {
  const size = 2 * Math.ceil((STAMP * zoom) / 2);
  const context = html("canvas", "", null, { width: size, height: size }).getContext("2d", { willReadFrequently: true });
  context.setTransform(zoom, 0, 0, zoom, size / 2, size / 2);
  context.globalAlpha = alpha;
  context.lineWidth = 1.3;
  context.fillStyle = tone;
  context.strokeStyle = tone;
  context[pass ? "fill" : "stroke"](new Path2D(shape));
  const { data } = context.getImageData(0, 0, size, size);
  const covered = [...Array(size * size).keys()].filter((at) => data[4 * at + 3] > 0);
  const strongest = covered.reduce((best, at) => (data[4 * at + 3] > data[4 * best + 3] ? at : best), covered[0] ?? 0);
  return {
    across: Int32Array.from(covered, (at) => (at % size) - size / 2),
    down: Int32Array.from(covered, (at) => Math.floor(at / size) - size / 2),
    alpha: Uint8Array.from(covered, (at) => data[4 * at + 3]),
    // A pixel in memory is red, green, blue, alpha; as a number, the lowest byte comes first.
    tone: data[4 * strongest] | (data[4 * strongest + 1] << 8) | (data[4 * strongest + 2] << 16),
  };
}

// Where outlines overlap they cover more, and the last one's colour shows.
function stampInto(pixels, width, { across, down, alpha, tone }, middle) {
  for (let index = 0; index < alpha.length; index += 1) {
    const at = middle + down[index] * width + across[index];
    const under = pixels[at] >>> 24;
    const both = under + ((alpha[index] * (255 - under)) >> 8);
    pixels[at] = ((both << 24) | tone) >>> 0;
  }
}

// A cleared canvas of this size; giving it a size anew would cost more than clearing it.
function fitCanvas(canvas, width, height, ratio) {
  const [across, down] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== across) canvas.width = across;
  if (canvas.height !== down) canvas.height = down;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

function pinnedPlaces(store) {
  return (store.looks().pins ?? [null, null]).map((number) => (number === null ? -1 : store.trials.place(number)));
}
