// The scatter: two objectives, one mark a trial, the staircase of what the front reaches.

const REACH = 22; // px around the pointer in which the nearest mark answers
const LEAST_DRAG = 6; // px below which a drag is a click

function createChart(store, identity, reader) {
  const box = html("div", "ao-chart");
  const canvas = html("canvas", "ao-points", null, { "aria-hidden": "true" });
  const picture = svg("svg", "ao-canvas", {
    tabindex: "0", role: "listbox", "aria-label": "Strategies. Arrow keys move, Enter selects, Escape lets go.",
  });
  const layers = Object.fromEntries(
    ["grid", "reference", "line", "faded", "strong", "ring"].map((name) => {
      const layer = svg("g", `ao-layer-${name}`, { role: ["faded", "strong"].includes(name) ? "none" : "presentation" });
      picture.append(layer);
      return [name, layer];
    }),
  );
  for (const name of ["grid", "reference", "line", "ring"]) layers[name].setAttribute("aria-hidden", "true");
  const frame = svg("rect");
  const clip = svg("clipPath", "", { id: `${identity}-plot` });
  clip.append(frame);
  picture.prepend(clip);
  layers.line.setAttribute("clip-path", `url(#${identity}-plot)`);
  const reference = svg("path", "ao-reference");
  const empty = svg("text", "ao-empty", { "text-anchor": "middle" });
  layers.reference.append(reference, empty);
  const line = svg("path", "ao-front");
  layers.line.append(line);
  const pulses = html("div", "ao-pulses", null, { "aria-hidden": "true" });
  const tip = html("div", "ao-tip", null, { hidden: "", "aria-hidden": "true" });
  const note = html("div", "ao-note");
  const fresh = button("ao-fresh", "", () => refit());
  const reset = button("ao-unzoom", "Reset zoom", () => zoomTo(null));
  box.append(canvas, pulses, picture, tip, note, reset, fresh);
  const scatter = createScatter(store, identity, { canvas, pulses, picture, ...layers }, reader);

  let size = { width: 0, height: 0 };
  let held = null; // the axes that stand still while the pointer is inside
  let inside = false;
  let countAtEntry = 0;
  let view = null; // what was drawn last
  let gridWords = "";

  function draw() {
    if (!size.width) return;
    const words = drawnWords();
    if (view?.words === words && view.found === store.found && held) {
      drawCursor();
      return;
    }
    const objectives = planeObjectives(store);
    const places = measuredPlaces(store, objectives);
    const axes = fittedAxes(objectives, places);
    const plane = placeAxes(axes, size);
    const corners = objectives.every((o) => o.direction)
      ? cornersOf(store.trials, store.found.members, ...objectives, [axes[0].position, axes[1].position]) : [];
    const knee = corners.length ? kneeOf(corners, ...objectives) : -1;
    const points = placePoints(store, objectives, { plane, places, knee });
    const [xs, ys] = objectives.map((objective) => valuesOf(store.trials, objective));
    view = { words, found: store.found, objectives, plane, points, xs, ys };
    drawAxes(plane, objectives, { empty: !places.length, named: store.objectives().length > 0 });
    drawReference(places);
    drawLine(corners);
    scatter.draw(points, colouring(store), bars, size);
    drawNotes(places);
    drawCursor();
    box.dataset.points = points.count;
  }

  // What the picture depends on beside the trials and the filter.
  function drawnWords() {
    const { x, y, scaleX, scaleY, zoom, colour, size: sized, pins } = store.looks();
    return JSON.stringify([x, y, scaleX, scaleY, zoom, colour, sized, pins, size, store.objectives(), store.alive(), reader.revision()]);
  }

  function drawAxes(plane, objectives, seen) {
    const { across, up } = plane;
    const words = JSON.stringify([size, objectives, seen, [across, up].map(({ low, high, log, refusal }) => [low, high, log, refusal])]);
    if (words === gridWords) return;
    gridWords = words;
    layers.grid.replaceChildren(...drawGrid(plane, objectives, seen));
  }

  function fittedAxes(objectives, places) {
    const key = JSON.stringify([objectives.map((o) => o.name), store.looks().scaleX, store.looks().scaleY, store.looks().zoom]);
    if (!(inside && held?.key === key && held.axes)) {
      held = { key, found: store.found, axes: fitPlane(store, objectives, places) };
      countAtEntry = store.trials.size;
    }
    return held.axes;
  }

  function bars(place, px, py) {
    const [x, y] = view.objectives.map((objective) => statAt(store.trials, objective, place));
    const { across, up, toX, toY } = view.plane;
    return barOf(x, across, (value) => toX(value) - px, false) + barOf(y, up, (value) => toY(value) - py, true);
  }

  function drawReference(places) {
    const { plane, points, xs, ys } = view;
    const { original } = store.found;
    const isKnown = places.includes(original);
    const lines = [
      isKnown && isOn(plane.across, xs[original]) ? `M${plane.toX(xs[original])} ${MARGIN.top}V${plane.bottom}` : "",
      isKnown && isOn(plane.up, ys[original]) ? `M${MARGIN.left} ${plane.toY(ys[original])}H${plane.right}` : "",
    ].join("");
    setAttribute(reference, "d", lines);
    const words = points.count ? ""
      : places.length ? "Nothing lies here: zoom out" : store.alive() ? "The first strategies appear here soon" : "No strategy has been measured";
    setText(empty, words);
    setAttribute(empty, "x", (MARGIN.left + plane.right) / 2);
    setAttribute(empty, "y", (MARGIN.top + plane.bottom) / 2);
  }

  // Every point on or behind the staircase is known to be reachable.
  function drawLine(corners) {
    const { plane, xs, ys } = view;
    // As wide as the stroke beyond the plot, so that a line on its edge keeps its width.
    const edges = { x: MARGIN.left - 2, y: MARGIN.top - 2, width: plane.right - MARGIN.left + 4, height: plane.bottom - MARGIN.top + 4 };
    for (const [name, value] of Object.entries(edges)) setAttribute(frame, name, value);
    const steps = corners.map(({ place }) => [plane.lineX(xs[place]), plane.lineY(ys[place])]);
    setAttribute(line, "d", steps.map(([px, py], index) => (index ? `H${px}V${py}` : `M${px} ${py}`)).join(""));
  }

  function drawNotes(places) {
    const { plane: { across, up }, xs, ys } = view;
    let [outside, atEdge] = [0, 0];
    for (const place of places) {
      const [x, y] = [xs[place], ys[place]];
      if (!isOn(across, x) || !isOn(up, y)) outside += 1;
      else if (x < across.low || x > across.high || y < up.low || y > up.high) atEdge += 1;
    }
    setText(note, [outside ? `${outside} outside the zoom` : "", atEdge ? `${atEdge} beyond the axes, drawn at the edge` : ""]
      .filter(Boolean).join("; "));
    const added = inside ? store.trials.size - countAtEntry : 0;
    setText(fresh, `${added} new`);
    fresh.hidden = added <= 0;
    reset.hidden = !store.looks().zoom;
  }

  function drawCursor() {
    if (!view) return;
    const at = view.points.of;
    scatter.promote([store.hover, store.selected()].map(at).filter(Boolean));
    const rings = [["ao-chosen", at(store.chosen()), 13.5], ["ao-selected", at(store.selected()), 10.5], ["ao-hover", at(store.hover), 10.5]];
    const pins = pinnedPlaces(store).map((place, index) => [at(place), "AB"[index]]).filter(([point]) => point);
    layers.ring.replaceChildren(
      ...rings.filter(([, point]) => point).map(([name, { px, py }, r]) => svg("circle", name, { cx: px, cy: py, r })),
      ...pins.map(([{ px, py }, letter]) => svg("text", "ao-pin-letter", { x: px + 9, y: py - 9 }, letter)),
    );
    scatter.select(store.selected());
    const point = at(store.hover);
    tip.hidden = !point;
    if (point && scatter.has(point.place)) {
      picture.setAttribute("aria-activedescendant", `${identity}-${store.trials.number[point.place]}`);
    } else {
      picture.removeAttribute("aria-activedescendant");
    }
    if (point) fillTip(point);
  }

  function fillTip({ place, px, py }) {
    const { trials } = store;
    const kind = kindAt(store, place, view.points.knee);
    const speedup = Number.isFinite(trials.speedup[place]) ? ` · ${trials.speedup[place].toFixed(1)}×` : "";
    const lines = [
      html("div", "ao-tip-title", `#${trials.number[place]}${speedup} · ${kindWords(kind)}`),
      html("div", "ao-tip-text", trials.summary[place]),
    ];
    for (const objective of store.objectives()) {
      const stat = trials.stat(objective.name, place);
      const line = html("div", "ao-tip-value", `${shortened(objective.label, LONGEST_NAME)} `);
      line.append(html("b", "", formatValue(stat[0], objective.unit)), html("span", "", ` ${formatInterval(stat, objective.unit)}`));
      lines.push(line);
    }
    tip.replaceChildren(...lines);
    const left = px + 16 + tip.offsetWidth > size.width ? px - 16 - tip.offsetWidth : px + 16;
    tip.style.left = `${Math.max(left, 4)}px`;
    tip.style.top = `${Math.min(Math.max(py - tip.offsetHeight / 2, 4), size.height - tip.offsetHeight - 4)}px`;
  }

  function refit() {
    held = null;
    draw();
  }

  function zoomTo(ends) {
    held = null;
    const [x, y] = planeObjectives(store);
    store.setLooks({ zoom: ends && { x: x.name, y: y.name, ends } });
  }

  const pointer = followPointer(box, picture, store, () => view, zoomTo);
  box.addEventListener("pointerenter", () => {
    inside = true;
    countAtEntry = store.trials.size;
  });
  box.addEventListener("pointerleave", () => {
    inside = false;
    if (held?.found !== store.found) refit();
  });

  const observer = new ResizeObserver(([entry]) => {
    const { width, height } = entry.contentRect;
    size = { width, height };
    picture.setAttribute("viewBox", `0 0 ${width} ${height}`);
    scatter.still(refit);
  });
  observer.observe(box);
  return { node: box, draw, mark: drawCursor, pointer, destroy: () => observer.disconnect() };
}

// Pointer and keyboard on the picture: hover, select, drag to zoom.
function followPointer(box, picture, store, view, zoomTo) {
  const band = html("div", "ao-band", null, { hidden: "", "aria-hidden": "true" });
  box.append(band);
  let start = null;

  const placeOf = (event) => {
    const frame = picture.getBoundingClientRect();
    return [event.clientX - frame.left, event.clientY - frame.top];
  };

  function drawBand([x, y]) {
    band.hidden = Math.hypot(x - start[0], y - start[1]) < LEAST_DRAG;
    Object.assign(band.style, {
      left: `${Math.min(x, start[0])}px`, top: `${Math.min(y, start[1])}px`,
      width: `${Math.abs(x - start[0])}px`, height: `${Math.abs(y - start[1])}px`,
    });
  }

  const nearest = (at) => (view() ? nearestPoint(store, view().points, at) : -1);
  const step = (key) => (view() ? stepFrom(store, view().points, store.hover >= 0 ? store.hover : store.selected(), key) : -1);

  picture.addEventListener("pointermove", (event) => {
    if (start) drawBand(placeOf(event));
    else store.point(nearest(placeOf(event)));
  });
  picture.addEventListener("pointerleave", () => store.point(-1));
  picture.addEventListener("blur", () => store.point(-1));
  picture.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    start = placeOf(event);
    picture.setPointerCapture?.(event.pointerId);
  });
  picture.addEventListener("pointerup", (event) => {
    if (!start) return;
    const [from, to] = [start, placeOf(event)];
    start = null;
    band.hidden = true;
    if (Math.hypot(to[0] - from[0], to[1] - from[1]) < LEAST_DRAG) {
      // Beside all marks it lets go of the selection; a double click resets the zoom.
      store.select(nearest(to));
      return;
    }
    const { fromX, fromY } = view().plane;
    const ordered = (a, b) => [Math.min(a, b), Math.max(a, b)];
    zoomTo([ordered(fromX(from[0]), fromX(to[0])), ordered(fromY(from[1]), fromY(to[1]))]);
  });
  picture.addEventListener("pointercancel", () => {
    start = null;
    band.hidden = true;
  });
  picture.addEventListener("dblclick", () => zoomTo(null));
  picture.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"].includes(event.key)) {
      store.point(step(event.key));
    } else if ((event.key === "Enter" || event.key === " ") && store.hover >= 0) {
      store.select(store.hover);
    } else if (event.key === "Escape") {
      if (store.hover >= 0) store.point(-1);
      else if (store.looks().zoom) zoomTo(null);
      else store.select(-1);
    } else if (event.key === "+" || event.key === "-") {
      zoomBy(event.key === "+" ? 0.7 : 1 / 0.7);
    } else {
      return;
    }
    event.preventDefault();
  });

  // Around the strategy at the cursor, else around the middle.
  function zoomBy(factor) {
    const { plane, points } = view();
    const { px, py } = points.of(store.hover) ?? points.of(store.selected()) ?? {
      px: (MARGIN.left + plane.right) / 2, py: (MARGIN.top + plane.bottom) / 2,
    };
    const ends = (from, low, middle, high) => [from(middle + (low - middle) * factor), from(middle + (high - middle) * factor)];
    const ordered = ([a, b]) => [Math.min(a, b), Math.max(a, b)];
    zoomTo([ordered(ends(plane.fromX, MARGIN.left, px, plane.right)), ordered(ends(plane.fromY, MARGIN.top, py, plane.bottom))]);
  }

  return { nearest };
}
