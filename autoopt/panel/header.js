// The first line: where the search stands, Pause and Stop; and the voice of the panel.

const STATE_WORDS = {
  starting: "Starting", running: "Running", paused: "Paused", stopping: "Stopping",
  finished: "Finished", failed: "Failed", gone: "Kernel gone",
};
const GONE = "The kernel that ran this search has restarted or ended; what it measured so far stays here to look at.";
const SILENCE_MS = 10_000;

// A live region that speaks at most every ten seconds, and then says what holds by then.
function createVoice() {
  const node = html("div", "ao-voice", "", { role: "status", "aria-live": "polite" });
  let spoken = -Infinity;
  let waiting = null;
  let timer = 0;
  function speak() {
    timer = 0;
    setText(node, waiting);
    spoken = performance.now();
  }
  return {
    node,
    say(text) {
      if (text === waiting) return;
      waiting = text;
      timer = timer || setTimeout(speak, Math.max(0, spoken + SILENCE_MS - performance.now()));
    },
    destroy: () => clearTimeout(timer),
  };
}

function createHeader(store, voice) {
  const root = html("div", "ao-header", null, { role: "group", "aria-label": "State of the search" });
  const line = html("div", "ao-line");
  const state = html("span", "ao-state");
  const word = html("b");
  const dot = html("span", "ao-dot", null, { "aria-hidden": "true" });
  state.append(dot, word);
  const [trials, left, failed, best] = ["", "", "ao-bad", "ao-best"].map((name) => html("span", `ao-fact ${name}`));
  const doing = html("span", "ao-doing");
  const waits = html("span", "ao-fact ao-waits");
  const pause = button("ao-button", "Pause", () => store.command(paused() ? "go_on" : "pause"));
  const stop = button("ao-button", "Stop", () => store.command("stop"));
  const steer = html("span", "ao-steer");
  steer.append(waits, pause, stop);
  line.append(state, trials, left, failed, best, doing, steer);
  const bar = html("div", "ao-bar", null, { "aria-hidden": "true" });
  bar.append(html("div"));
  const message = html("p", "ao-status-message");
  root.append(line, bar, message);
  let heard = store.trials.revision; // with which the dot has beaten

  const paused = () => store.status.state === "paused";

  function draw() {
    const { status } = store;
    const known = store.gone ? "gone" : status.state ?? "starting";
    root.dataset.state = known;
    if (heard !== store.trials.revision) dot.dataset.beat = dot.dataset.beat === "0" ? "1" : "0";
    heard = store.trials.revision;
    setText(word, STATE_WORDS[known] ?? "Starting");
    setText(trials, trialWords(status));
    setText(failed, status.failed ? `${status.failed} failed` : "");
    setText(best, status.best ? `best ${status.best}` : "");
    drawSteer();
    const refused = ["stop", "pause", "go_on"].map((kind) => store.answers.get(kind)).find((a) => a && !a.ok);
    // What is being done changes all the time and stands in the line, where it moves nothing.
    setText(doing, store.alive() ? status.message ?? "" : "");
    setText(message, store.gone ? GONE : refused ? refused.text : store.alive() ? "" : status.message ?? "");
    message.hidden = !message.textContent;
    drawTime();
    voice.say([word, trials, failed, best].map((part) => part.textContent).filter(Boolean).join(", "));
  }

  function trialWords({ state: known, trials: told = 0, trials_total: total }) {
    const count = Math.max(told, store.trials.size);
    // A search that could not be followed at all may have measured anything.
    if (known === "failed" && !count) return "";
    if (total) return `${count}/${total} trials`;
    return count === 1 ? "1 trial" : `${count} trials`;
  }

  function drawSteer() {
    pause.hidden = !store.alive() || store.status.state === "starting";
    stop.hidden = !store.alive() && !store.pending.has("stop");
    // An answer says that Python has heard; the search itself may need a moment more.
    const stopping = store.pending.has("stop") || store.answers.get("stop")?.ok;
    // Python's answer may come before what it answers, and after.
    const asked = paused() ? "go_on" : "pause";
    const pausing = store.pending.has("pause") || store.pending.has("go_on") || store.answers.get(asked)?.ok;
    stop.disabled = Boolean(stopping);
    pause.disabled = pausing || stop.disabled;
    setText(stop, stopping ? "Stopping…" : "Stop");
    setText(pause, pausing ? (paused() ? "Going on…" : "Pausing…") : paused() ? "Go on" : "Pause");
    setText(waits, store.waitWords("stop", "pause", "go_on"));
  }

  function drawTime() {
    const { status } = store;
    const runs = !store.gone && (status.state === "running" || status.state === "starting");
    const past = runs ? (performance.now() - store.statusAt) / 1000 : 0;
    const elapsed = (status.seconds_elapsed ?? 0) + past;
    if (store.alive() && Number.isFinite(status.seconds_left)) {
      const rest = Math.max(status.seconds_left - past, 0);
      setText(left, `${formatDuration(rest)} left`);
      bar.firstChild.style.transform = `scaleX(${elapsed / Math.max(elapsed + rest, 1e-9)})`;
    } else {
      setText(left, formatDuration(elapsed));
      bar.firstChild.style.transform = `scaleX(${status.state === "finished" ? 1 : 0})`;
    }
  }

  const clock = setInterval(drawTime, 1000);
  return { node: root, draw, destroy: () => clearInterval(clock) };
}
