// One axis of the coordinates with what filters on it, for pointer and keyboard.

const NUDGE = 1 / 40; // of an axis, a key press on a handle

function createBrush(store) {
  function axisNode(axis, x, { toY, fromY, letters }) {
    const group = svg("g", "ao-axis", { transform: `translate(${x} 0)`, role: "group", "aria-label": axis.title });
    const title = svg("text", "ao-axis-title", { y: 13, "text-anchor": "middle" }, shortened(axis.title, letters));
    title.append(svg("title", "", {}, axis.title));
    group.append(title, svg("path", "ao-axis-line", { d: `M0 ${toY(0)}V${toY(1)}` }), hitArea(axis, { toY, fromY }));
    group.append(...(axis.levels ? levelNodes(axis, toY) : numberNodes(axis, toY)));
    return group;
  }

  function levelNodes(axis, toY) {
    const wanted = store.filter().choices[axis.name];
    return axis.levels.map((level, rank) => {
      const kept = !wanted || wanted.includes(level);
      const node = svg("g", `ao-level ${kept ? "" : "ao-off"}`, {
        transform: `translate(0 ${toY(axis.shareOf(level))})`, role: "button", tabindex: rank ? "-1" : "0",
        "aria-pressed": String(Boolean(wanted) && kept), "aria-label": `${axis.title}: ${levelWords(level)}`, "data-key": `${axis.name}:${level}`,
      });
      const text = svg("text", level === null ? "ao-absent" : "", { x: 7, y: 4 }, shortened(levelWords(level), 13));
      text.append(svg("title", "", {}, levelWords(level)));
      node.append(svg("circle", "", { r: 3 }), text);
      node.addEventListener("click", () => toggle(axis, level));
      node.addEventListener("keydown", (event) => moveOrToggle(event, node, axis, level));
      return node;
    });
  }

  function moveOrToggle(event, node, axis, level) {
    if (event.key === " " || event.key === "Enter") toggle(axis, level);
    else if (event.key === "ArrowUp" && node.nextElementSibling) rove(node, node.nextElementSibling);
    else if (event.key === "ArrowDown" && node.previousElementSibling?.matches(".ao-level")) rove(node, node.previousElementSibling);
    else return;
    event.preventDefault();
  }

  function rove(from, to) {
    from.setAttribute("tabindex", "-1");
    to.setAttribute("tabindex", "0");
    to.focus();
  }

  function toggle(axis, level) {
    const wanted = store.filter().choices[axis.name];
    const next = !wanted ? [level] : wanted.includes(level) ? wanted.filter((one) => one !== level) : [...wanted, level];
    store.among(axis.name, next.length === 0 || next.length === axis.levels.length ? null : next);
  }

  function numberNodes(axis, toY) {
    const [low, high] = store.filter().bounds[axis.name] ?? [null, null];
    const unit = axis.objective.unit;
    const ends = (axis.isEmpty ? [] : [0, 1]).map((share) => svg("text", "ao-end", { y: toY(share) + (share ? -4 : 13), "text-anchor": "middle" },
      formatNumber(axis.axis.value(share), unit)));
    const shares = [low === null ? 0 : axis.axis.position(low), high === null ? 1 : axis.axis.position(high)];
    const band = svg("rect", "ao-brush", { x: -6, width: 12, y: toY(shares[1]), height: Math.max(toY(shares[0]) - toY(shares[1]), 0) });
    const handles = shares.map((share, index) => {
      const value = [low, high][index];
      const handle = svg("path", `ao-handle ${value === null ? "ao-loose" : ""}`, {
        d: "M-9-2.5h18v5h-18z", transform: `translate(0 ${toY(share)})`, role: "slider", tabindex: "0",
        "aria-label": `${axis.title}: ${index ? "at most" : "at least"}`, "aria-orientation": "vertical", "aria-valuemin": axis.axis.low,
        "aria-valuemax": axis.axis.high, "aria-valuenow": axis.axis.value(share), "data-key": `${axis.name}:${index}`,
        "aria-valuetext": value === null ? "no bound" : formatValue(value, unit),
      });
      handle.addEventListener("keydown", (event) => nudge(event, axis, index, share));
      return handle;
    });
    return [...(low === null && high === null ? [] : [band]), ...ends, ...handles];
  }

  function nudge(event, axis, index, share) {
    const step = { ArrowUp: NUDGE, ArrowRight: NUDGE, ArrowDown: -NUDGE, ArrowLeft: -NUDGE }[event.key];
    const pair = [...(store.filter().bounds[axis.name] ?? [null, null])];
    if (step) {
      const next = share + step;
      pair[index] = next <= 0 || next >= 1 ? null : axis.axis.value(next);
    } else if (event.key === "Delete" || event.key === "Backspace") {
      pair[index] = null;
    } else {
      return;
    }
    event.preventDefault();
    store.bound(axis.name, pair);
  }

  function hitArea(axis, { toY, fromY }) {
    const area = svg("rect", "ao-hit", { x: -16, width: 32, y: toY(1) - 6, height: toY(0) - toY(1) + 12 });
    area.addEventListener("pointerdown", (event) => {
      if (event.button === 0 && event.isPrimary) drag(axis, area.ownerSVGElement, event, fromY);
    });
    // A finger on an axis brushes, beside one it scrolls; browsers heed touch-action only on a whole
    // picture.
    area.addEventListener("touchstart", (event) => event.preventDefault(), { passive: false });
    return area;
  }

  // The area itself is replaced when the filter changes, so the whole picture follows the pointer,
  // wherever it goes, until it is let go or taken away, as a touch is that becomes a scroll.
  function drag(axis, picture, begun, fromY) {
    const { top } = picture.getBoundingClientRect();
    const shareAt = (event) => Math.min(Math.max(fromY(event.clientY - top), 0), 1);
    const start = shareAt(begun);
    const before = store.filter();
    const over = new AbortController();
    const on = (kind, act) => picture.addEventListener(kind, (event) => {
      if (event.pointerId === begun.pointerId) act(event);
    }, { signal: over.signal });
    on("pointermove", (event) => apply(axis, start, shareAt(event)));
    on("pointerup", (event) => {
      over.abort();
      if (Math.abs(shareAt(event) - start) < 0.02) release(axis);
    });
    on("pointercancel", () => {
      over.abort();
      restore(axis, before);
    });
    on("lostpointercapture", () => over.abort());
    picture.setPointerCapture(begun.pointerId);
    begun.preventDefault();
  }

  function apply(axis, from, to) {
    const [low, high] = [Math.min(from, to), Math.max(from, to)];
    if (high - low < 0.02) return;
    if (axis.levels) {
      const inside = axis.levels.filter((level) => axis.shareOf(level) >= low && axis.shareOf(level) <= high);
      if (inside.length) store.among(axis.name, inside.length === axis.levels.length ? null : inside);
    } else {
      store.bound(axis.name, [low <= 0 ? null : axis.axis.value(low), high >= 1 ? null : axis.axis.value(high)]);
    }
  }

  function release(axis) {
    if (axis.levels) store.among(axis.name, null);
    else store.bound(axis.name, [null, null]);
  }

  function restore({ name, levels }, { bounds, choices }) {
    if (levels) store.among(name, choices[name] ?? null);
    else store.bound(name, bounds[name] ?? [null, null]);
  }

  return { axisNode };
}
