// The scatter: two objectives, one mark a trial, the staircase of what the front reaches.

const MARGIN = { left: 60, right: 22, top: 22, bottom: 46 };
const REACH = 22; // px around the pointer in which the nearest mark answers
const BY_TRIAL = { name: " trial", label: "trial", unit: "", direction: null };

function statOf(row, objective) {
  if (objective === BY_TRIAL) return [row.number, row.number, row.number];
  const [value, low, high] = row.values[objective.name] ?? [];
  if (!Number.isFinite(value) || Math.abs(value) >= 1e100) return null;
  return [value, Number.isFinite(low) ? low : value, Number.isFinite(high) ? high : value];
}

function measuredPoints(rows, x, y) {
  const points = [];
  for (const row of rows.values()) {
    if (row.state !== "ok") continue;
    const [across, up] = [statOf(row, x), statOf(row, y)];
    if (across && up) points.push({ row, x: across, y: up, kind: kindOf(row) });
  }
  return points;
}

function fitAxes(points, x, y) {
  let good = points.filter(({ row }) => row.front && row.feasible);
  if (!good.length) good = points.filter(({ row }) => row.front);
  const core = new Set(good);
  for (const point of points) {
    if (point.kind === "original" || point.kind === "recommended") core.add(point);
  }
  const rest = points.filter((point) => !core.has(point));
  const along = (name, objective) =>
    fitAxis([...core].map((p) => p[name][0]), rest.map((p) => p[name][0]), objective.unit !== "");
  return [along("x", x), along("y", y)];
}

function frontLine(points, x, y) {
  if (!x.direction || !y.direction) return [];
  const [signX, signY] = [x, y].map((o) => (o.direction === "minimize" ? 1 : -1));
  const ordered = points
    .filter(({ row }) => row.front)
    .sort((a, b) => signX * (a.x[0] - b.x[0]) || signY * (a.y[0] - b.y[0]));
  const corners = [];
  for (const { x: [across], y: [up] } of ordered) {
    const last = corners.at(-1);
    if (!last) corners.push([across, up]);
    else if (signY * up < signY * last[1]) corners.push([across, last[1]], [across, up]);
  }
  return corners;
}

function describe(row, objectives) {
  const values = objectives.map((objective) => {
    const value = row.values[objective.name]?.[0];
    return `${objective.label} ${formatValue(value, objective.unit)}`;
  });
  const place = row.front ? "on the front" : "dominated";
  return `Trial ${row.number}, ${kindWords(row)}, ${place}: ${row.summary}. ${values.join(", ")}`;
}

function createChart(store, identity) {
  const box = html("div", "ao-chart");
  const canvas = svg("svg", "ao-canvas", {
    tabindex: "0",
    role: "listbox",
    "aria-label": "Strategies. Arrow keys move, Enter selects.",
  });
  const layers = Object.fromEntries(
    ["grid", "reference", "line", "faded", "strong", "ring"].map((name) => {
      const layer = svg("g", `ao-layer-${name}`);
      layer.setAttribute("role", name === "faded" || name === "strong" ? "none" : "presentation");
      canvas.append(layer);
      return [name, layer];
    }),
  );
  const tip = html("div", "ao-tip", null, { hidden: "", "aria-hidden": "true" });
  const note = html("div", "ao-note");
  box.append(canvas, tip, note);

  const marks = new Map();
  let axes = [BY_TRIAL, BY_TRIAL];
  let placed = [];
  let cursor = null;
  let size = { width: 0, height: 0 };
  let drawnOnce = false;

  const right = () => size.width - MARGIN.right;
  const bottom = () => size.height - MARGIN.bottom;

  function draw() {
    if (!size.width) return;
    const points = measuredPoints(store.rows, ...axes);
    const [across, up] = fitAxes(points, ...axes);
    const toX = (value) => MARGIN.left + across.position(value) * (right() - MARGIN.left);
    const toY = (value) => bottom() - up.position(value) * (bottom() - MARGIN.top);
    drawGrid(points, across, up, toX, toY);
    drawReference(points, toX, toY);
    const line = frontLine(points, ...axes).map(([x, y]) => `${toX(x)} ${toY(y)}`).join("L");
    layers.line.replaceChildren(...(line ? [svg("path", "ao-front", { d: `M${line}` })] : []));
    placed = points.map((point) => ({ ...point, px: toX(point.x[0]), py: toY(point.y[0]) }));
    for (const point of placed) drawMark(point, toX, toY);
    const alive = new Set(placed.map(({ row }) => row.number));
    for (const [number, mark] of marks) {
      if (!alive.has(number)) {
        mark.remove();
        marks.delete(number);
      }
    }
    const beyond = points.filter(({ x: [x], y: [y] }) =>
      x < across.low || x > across.high || y < up.low || y > up.high).length;
    setText(note, beyond ? `${beyond} beyond the axes, drawn at the edge` : "");
    drawnOnce = drawnOnce || placed.length > 0;
    drawCursor();
  }

  function drawGrid(points, across, up, toX, toY) {
    const lines = [];
    const texts = [];
    // Ticks of an axis that nothing stands on yet would be invented.
    if (!points.length) [across, up] = [{ ...across, ticks: [] }, { ...up, ticks: [] }];
    across.ticks.forEach((tick, index) => {
      lines.push(`M${toX(tick)} ${MARGIN.top}V${bottom()}`);
      texts.push(svg("text", "ao-tick", { x: toX(tick), y: bottom() + 18, "text-anchor": "middle" },
        across.labels[index]));
    });
    up.ticks.forEach((tick, index) => {
      lines.push(`M${MARGIN.left} ${toY(tick)}H${right()}`);
      texts.push(svg("text", "ao-tick", { x: MARGIN.left - 8, y: toY(tick) + 4, "text-anchor": "end" },
        up.labels[index]));
    });
    layers.grid.replaceChildren(
      svg("path", "ao-grid", { d: lines.join("") }),
      svg("path", "ao-floor", { d: `M${MARGIN.left} ${bottom()}H${right()}` }),
      ...texts,
      axisTitle(axes[0], { x: right(), y: size.height - 8, "text-anchor": "end" }, ["← better", "better →"]),
      axisTitle(axes[1], { x: 12, y: 11 }, ["↓ better", "↑ better"]),
    );
  }

  function axisTitle(objective, place, [lower, higher]) {
    const title = svg("text", "ao-title", place);
    if (!store.objectives().length) return title;
    const unit = objective.unit ? `, ${objective.unit}` : "";
    title.append(svg("tspan", "ao-name", {}, objective.label + unit));
    if (objective.direction) {
      const hint = objective.direction === "minimize" ? lower : higher;
      title.append(svg("tspan", "ao-hint", { dx: 8 }, hint));
    }
    return title;
  }

  function drawReference(points, toX, toY) {
    const lines = points
      .filter(({ kind }) => kind === "original")
      .map(({ x: [x], y: [y] }) => `M${toX(x)} ${MARGIN.top}V${bottom()}M${MARGIN.left} ${toY(y)}H${right()}`);
    const children = lines.map((d) => svg("path", "ao-reference", { d }));
    if (!points.length) {
      children.push(svg("text", "ao-empty", {
        x: (MARGIN.left + right()) / 2, y: (MARGIN.top + bottom()) / 2, "text-anchor": "middle",
      }, store.alive() ? "The first strategies appear here soon" : "No strategy has been measured"));
    }
    layers.reference.replaceChildren(...children);
  }

  function drawMark({ row, x, y, px, py, kind }, toX, toY) {
    let mark = marks.get(row.number);
    if (!mark) {
      mark = svg("g", "", { role: "option", id: `${identity}-${row.number}` });
      mark.append(svg("path", "ao-bars"), svg("g", "ao-body"));
      mark.lastChild.append(svg("path"));
      // What stood there when the page opened does not pulse.
      if (drawnOnce) mark.lastChild.classList.add("ao-new");
      marks.set(row.number, mark);
    }
    const strong = row.front || kind === "original" || kind === "recommended";
    const states = [strong ? "" : "ao-faded", row.feasible ? "" : "ao-hollow"];
    mark.setAttribute("class", ["ao-mark", ...states].filter(Boolean).join(" "));
    mark.style.transform = `translate(${px}px, ${py}px)`;
    mark.setAttribute("aria-label", describe(row, store.objectives()));
    mark.setAttribute("aria-selected", String(store.selected() === row.number));
    const [bars, body] = mark.children;
    bars.setAttribute("d", strong
      ? `M${toX(x[1]) - px} 0H${toX(x[2]) - px}M0 ${toY(y[1]) - py}V${toY(y[2]) - py}` : "");
    body.firstChild.setAttribute("class", `ao-shape ao-${kind}`);
    body.firstChild.setAttribute("d", SHAPES[kind]);
    const layer = layers[strong ? "strong" : "faded"];
    if (mark.parentNode !== layer) layer.append(mark);
  }

  function drawCursor() {
    const at = (number) => placed.find(({ row }) => row.number === number);
    const rings = [["ao-chosen", at(store.chosen()), 13.5], ["ao-selected", at(store.selected()), 10.5],
      ["ao-hover", at(cursor), 10.5]];
    layers.ring.replaceChildren(...rings.filter(([, point]) => point).map(([name, point, r]) =>
      svg("circle", name, { cx: point.px, cy: point.py, r })));
    const point = at(cursor);
    tip.hidden = !point;
    if (!point) {
      canvas.removeAttribute("aria-activedescendant");
      return;
    }
    canvas.setAttribute("aria-activedescendant", `${identity}-${cursor}`);
    fillTip(point);
  }

  function fillTip({ row, px, py }) {
    const speedup = Number.isFinite(row.speedup) ? ` · ${row.speedup.toFixed(1)}×` : "";
    const lines = [html("div", "ao-tip-title", `#${row.number}${speedup}`), html("div", "ao-tip-text", row.summary)];
    for (const objective of new Set(axes)) {
      const stat = statOf(row, objective);
      if (objective === BY_TRIAL || !stat) continue;
      const line = html("div", "ao-tip-value", `${objective.label} `);
      line.append(html("b", "", formatValue(stat[0], objective.unit)),
        html("span", "", ` ${formatInterval(stat, objective.unit)}`));
      lines.push(line);
    }
    tip.replaceChildren(...lines);
    const left = px + 16 + tip.offsetWidth > size.width ? px - 16 - tip.offsetWidth : px + 16;
    tip.style.left = `${Math.max(left, 4)}px`;
    tip.style.top = `${Math.min(Math.max(py - tip.offsetHeight / 2, 4), size.height - tip.offsetHeight - 4)}px`;
  }

  function moveCursor(number) {
    if (number === cursor) return;
    cursor = number;
    drawCursor();
  }

  function nearest(event) {
    const frame = canvas.getBoundingClientRect();
    const [x, y] = [event.clientX - frame.left, event.clientY - frame.top];
    let best = null;
    let distance = REACH;
    for (const point of placed) {
      // Of two marks in the same place, the one on the front lies above and answers.
      const away = Math.hypot(point.px - x, point.py - y) + (point.row.front ? 0 : 3);
      if (away < distance) [best, distance] = [point.row.number, away];
    }
    return best;
  }

  function step(key) {
    const name = key === "ArrowUp" || key === "ArrowDown" ? "py" : "px";
    const ordered = [...placed].sort((a, b) => a[name] - b[name] || a.row.number - b.row.number);
    const forward = key === "ArrowRight" || key === "ArrowDown" ? 1 : -1;
    const start = cursor ?? store.selected();
    const index = ordered.findIndex(({ row }) => row.number === start);
    if (key === "Home" || index < 0) return ordered[0]?.row.number ?? null;
    if (key === "End") return ordered.at(-1).row.number;
    return ordered[Math.min(Math.max(index + forward, 0), ordered.length - 1)].row.number;
  }

  canvas.addEventListener("pointermove", (event) => moveCursor(nearest(event)));
  canvas.addEventListener("pointerleave", () => moveCursor(null));
  canvas.addEventListener("blur", () => moveCursor(null));
  canvas.addEventListener("click", (event) => {
    const number = nearest(event);
    if (number !== null) store.select(number);
  });
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    if (["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"].includes(event.key)) {
      moveCursor(step(event.key));
    } else if ((event.key === "Enter" || event.key === " ") && cursor !== null) {
      store.select(cursor);
    } else if (event.key === "Escape") {
      moveCursor(null);
    } else {
      return;
    }
    event.preventDefault();
  });

  const observer = new ResizeObserver(([entry]) => {
    const { width, height } = entry.contentRect;
    size = { width, height };
    canvas.setAttribute("viewBox", `0 0 ${width} ${height}`);
    // Marks glide to new places when axes change, but not when the panel does.
    canvas.classList.add("ao-still");
    draw();
    requestAnimationFrame(() => canvas.classList.remove("ao-still"));
  });
  observer.observe(box);

  return {
    node: box,
    draw,
    setAxes(x, y) {
      axes = [x, y];
      draw();
    },
    destroy: () => observer.disconnect(),
  };
}
