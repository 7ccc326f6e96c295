// The marks of the chart: elements for those that matter, canvas for the thousands behind them.

const MOST_ELEMENTS = 400;
const MOST_GLIDING = 150; // marks that move to new places in sight, instead of being there
const MOST_PULSES = 50; // at once; more would be no news but a flicker
const SMALL = 0.8; // of the usual size, where thousands lie behind the front

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

function createScatter(store, identity, { canvas, pulses, picture, faded, strong }, reader) {
  const marks = new Map();
  const promoted = new Set();
  const painter = createPainter(canvas, reader);
  let known = null; // how many trials there were when it was drawn last, shown or not
  let drawn = null;
  let selected = null;
  let isStill = false;

  // `points` as placePoints gives them; `bars(place, px, py)` gives the path of a mark's error bars.
  function draw(points, colours, bars, size) {
    drawn = { colours, bars, knee: points.knee };
    const { onFront } = store.found;
    const many = points.count > MOST_ELEMENTS;
    // With three objectives a front may itself have thousands of members.
    const crowded = store.found.members.length > MOST_ELEMENTS;
    const named = new Set([
      store.hover, store.selected(), store.chosen(), ...pinnedPlaces(store),
      store.found.original, store.found.recommended, points.knee,
    ]);
    const kept = new Set();
    const [plain, front] = [[], []];
    for (let at = 0; at < points.count; at += 1) {
      const place = points.place[at];
      if (!many || named.has(place) || (onFront[place] && !crowded)) kept.add(place);
      else (onFront[place] ? front : plain).push(at);
    }
    picture.classList.toggle("ao-still", isStill || kept.size > MOST_GLIDING);
    for (const place of marks.keys()) if (!kept.has(place)) drop(place);
    promoted.clear();
    for (const place of kept) drawMark(points.of(place));
    pulseNew(points);
    painter.paint(points, { plain, front, small: many ? SMALL : 1 }, { store, colours, size });
  }

  // What `redraw` moves is there at once: after all the panel's own size has changed.
  function still(redraw) {
    isStill = true;
    redraw();
    isStill = false;
    requestAnimationFrame(() => picture.classList.toggle("ao-still", marks.size > MOST_GLIDING));
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
      drawMark(point);
    }
  }

  function select(place) {
    if (place === selected) return;
    for (const one of [selected, place]) marks.get(one)?.say("aria-selected", String(one === place));
    selected = place;
  }

  function drop(place) {
    marks.get(place).node.remove();
    marks.delete(place);
  }

  function drawMark({ place, px, py, scale }) {
    const { found } = store;
    const kind = kindAt(store, place, drawn.knee);
    const isStrong = found.onFront[place] || isSpecial(kind);
    let mark = marks.get(place);
    if (!mark) marks.set(place, mark = createMark(`${identity}-${store.trials.number[place]}`));
    mark.say("class", `ao-mark${isStrong ? "" : " ao-faded"}${found.pass[place] || kind === "original" ? "" : " ao-hollow"}`);
    mark.say("style", `transform:translate(${px}px,${py}px)`);
    mark.say("aria-label", describe(store, place, kind));
    mark.say("aria-selected", String(store.selected() === place));
    mark.whiskers("d", isStrong ? drawn.bars(place, px, py) : "");
    mark.shape("class", `ao-shape ao-${kind} ${drawn.colours.classOf(place)}`);
    mark.shape("d", SHAPES[kind]);
    mark.shape("transform", `scale(${kind === "knee" ? 0.85 * scale : scale})`);
    const layer = isStrong ? strong : faded;
    if (mark.node.parentNode !== layer) layer.append(mark.node);
  }

  // What stood there when the page opened does not pulse, nor what a filter had hidden so far.
  function pulseNew(points) {
    const since = known ?? store.trials.size;
    known = store.trials.size;
    const fresh = [];
    for (let place = since; place < known; place += 1) if (points.of(place)) fresh.push(points.of(place));
    for (const { px, py } of fresh.slice(-MOST_PULSES)) {
      const ring = html("div", "ao-pulse");
      ring.style.left = `${px}px`;
      ring.style.top = `${py}px`;
      ring.addEventListener("animationend", () => ring.remove());
      // Where motion is reduced the animation never ends, because it never begins.
      setTimeout(() => ring.remove(), 1000);
      pulses.append(ring);
    }
  }

  return { draw, promote, select, still, has: (place) => marks.has(place) };
}

const [CAP, ARROW] = [3, 4]; // px

// The interval of a mark along one axis, with a cap where it ends; where it goes on beyond the axis, an
// arrow says so. `to` gives px from the mark.
function barOf([, low, high], axis, to, isUpright) {
  const [from, until] = [low, high].map(to);
  if (!(high > low) || from === until) return "";
  const at = (along, aside) => (isUpright ? `${aside} ${along}` : `${along} ${aside}`);
  const ends = [[low, from, until], [high, until, from]].map(([value, end, other]) => {
    if (value >= axis.low && value <= axis.high) return `M${at(end, -CAP)}L${at(end, CAP)}`;
    const back = end + ARROW * Math.sign(other - end);
    return `M${at(back, -CAP)}L${at(end, 0)}L${at(back, CAP)}`;
  });
  return [isUpright ? `M0 ${from}V${until}` : `M${from} 0H${until}`, ...ends].join("");
}

const isSpecial = (kind) => ["original", "recommended", "knee"].includes(kind);

// One mark's elements, which are told only what they do not bear yet: with hundreds of marks most of
// them say the same after a new trial.
function createMark(id) {
  const node = svg("g", "", { role: "option", id });
  const [whiskers, shape] = [svg("path", "ao-bars"), svg("path")];
  node.append(whiskers, shape);
  return { node, say: teller(node), whiskers: teller(whiskers), shape: teller(shape) };
}

function teller(node) {
  const said = {};
  return (name, value) => {
    if (said[name] === value) return;
    said[name] = value;
    node.setAttribute(name, value);
  };
}

function pinnedPlaces(store) {
  return (store.looks().pins ?? [null, null]).map((number) => (number === null ? -1 : store.trials.place(number)));
}
