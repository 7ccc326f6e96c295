// The first line: where the search stands, what failed, Stop.

const STATE_WORDS = {
  starting: "Starting", running: "Running", paused: "Paused", stopping: "Stopping",
  finished: "Finished", failed: "Failed",
};

function createHeader(store, identity) {
  const root = html("header", "ao-header");
  const line = html("div", "ao-line");
  const state = html("span", "ao-state");
  const dot = html("span", "ao-dot", null, { "aria-hidden": "true" });
  const word = html("b", "", "", { role: "status" });
  state.append(dot, word);
  const trials = html("span", "ao-fact");
  const failed = html("button", "ao-fact ao-link", "", {
    type: "button", "aria-expanded": "false", "aria-controls": `${identity}-failures`,
  });
  const left = html("span", "ao-fact");
  const best = html("span", "ao-fact ao-best");
  const stop = html("button", "ao-button", "Stop", { type: "button" });
  line.append(state, trials, failed, left, best, stop);
  const message = html("p", "ao-status-message", "", { role: "status" });
  const bar = html("div", "ao-bar", null, { "aria-hidden": "true" });
  bar.append(html("div"));
  const list = html("ul", "ao-failures", null, { id: `${identity}-failures`, "aria-label": "Failed candidates" });
  list.hidden = true;
  root.append(line, bar, message, list);
  let listed = "";

  stop.addEventListener("click", () => store.stop());
  failed.addEventListener("click", () => {
    list.hidden = !list.hidden;
    failed.setAttribute("aria-expanded", String(!list.hidden));
  });

  function draw() {
    const { status } = store;
    root.dataset.state = status.state ?? "starting";
    setText(word, STATE_WORDS[status.state] ?? "Starting");
    setText(trials, status.trials === 1 ? "1 trial" : `${status.trials ?? 0} trials`);
    setText(best, status.best ? `best ${status.best}` : "");
    setText(message, status.message ?? "");
    stop.hidden = !store.alive();
    stop.disabled = store.stopping;
    setText(stop, store.stopping ? "Stopping…" : "Stop");
    drawFailures();
    drawTime();
  }

  function drawTime() {
    const { status } = store;
    const runs = status.state === "running" || status.state === "starting";
    const since = runs ? (performance.now() - store.statusAt) / 1000 : 0;
    const elapsed = (status.seconds_elapsed ?? 0) + since;
    if (store.alive() && Number.isFinite(status.seconds_left)) {
      const rest = Math.max(status.seconds_left - since, 0);
      setText(left, `${formatDuration(rest)} left`);
      bar.firstChild.style.transform = `scaleX(${elapsed / Math.max(elapsed + rest, 1e-9)})`;
    } else {
      setText(left, formatDuration(elapsed));
      bar.firstChild.style.transform = `scaleX(${status.state === "finished" ? 1 : 0})`;
    }
  }

  function drawFailures() {
    const rows = [...store.rows.values()].filter((row) => row.state === "failed");
    const count = Math.max(rows.length, store.status.failed ?? 0);
    failed.hidden = !count;
    setText(failed, `${count} failed`);
    if (!count) list.hidden = true;
    const words = JSON.stringify([rows, store.selected()]);
    if (words === listed) return;
    listed = words;
    // Rebuilding the list would take the focus away from the entry that was just pressed.
    const focused = list.contains(document.activeElement) ? document.activeElement.dataset.number : null;
    list.replaceChildren(...rows.map(failureItem));
    if (focused) list.querySelector(`[data-number="${Number(focused)}"]`)?.focus();
  }

  function failureItem(row) {
    const failure = row.failure ?? { stage: "", kind: "failed", message: "" };
    const item = html("li");
    const button = html("button", "ao-failed-row", null, {
      type: "button", "data-number": row.number, "aria-pressed": String(store.selected() === row.number),
    });
    button.append(
      html("span", "ao-failed-number", `#${row.number}`),
      html("span", "ao-failed-kind", `${failure.kind.replaceAll("_", " ")} in ${failure.stage}`),
      html("span", "ao-failed-message", failure.message),
    );
    button.addEventListener("click", () => store.select(row.number));
    item.append(button);
    return item;
  }

  const clock = setInterval(drawTime, 1000);
  return { node: root, draw, destroy: () => clearInterval(clock) };
}
