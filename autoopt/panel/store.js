// What one panel knows, shared by all its views in the page: trials, one selection, one filter.

const ALIVE = new Set(["starting", "running", "paused"]);
const NO_FILTER = { bounds: {}, choices: {}, front: false, text: "" };
// What JupyterLab says of a kernel whose objects are gone; one that starts once more has none yet.
const DEAD = new Set(["starting", "restarting", "autorestarting", "terminating", "dead"]);
const PATIENCE_MS = 1500; // after which a command that Python has not answered is said to wait
const QUEUED = "queued: Python hears of it when its cell is done";
const EXPORTING = "Python is writing it, or hears of it when its cell is done"; // which may itself take long
const SYNC_MS = 120; // a brush that is dragged tells Python a few times a second, not with each pixel

function createStore(model) {
  const listeners = new Set();
  const trials = createTrials();
  const send = commandLine(model);
  let filter = { ...NO_FILTER, ...model.get("filter") };
  let looks = model.get("looks") ?? {};
  let syncing = 0;
  const patience = new Map(); // command → timer
  let found = null; // what was analysed last; null once trials or filter have changed

  const store = {
    trials,
    // What follows from trials and filter, see analyse: worked out when it is read next, that is once
    // a frame however often a brush moves.
    get found() {
      return (found ??= analyse(trials, store.objectives(), filter));
    },
    status: {},
    statusAt: 0,
    gone: false, // whether the kernel that owns the search has restarted or ended
    pending: new Map(), // command → number or folder, until Python answers
    late: new Set(), // commands that have waited for an answer longer than a person does
    answers: new Map(), // command → last answer
    hover: -1, // place under the pointer or the keyboard's cursor
    revision: 0, // grows with everything but hover and selection
    objectives: () => model.get("objectives") ?? [],
    bounded: () => model.get("bounded") ?? [], // what has a bound without being an objective
    objective: (name) => store.objectives().find((o) => o.name === name) ?? null,
    needs: () => model.get("needs") ?? {},
    notes: () => model.get("notes") ?? [],
    twin: () => model.get("name") ?? "",
    filter: () => filter,
    looks: () => looks,
    selected: () => trials.place(model.get("selected")),
    chosen: () => trials.place(model.get("chosen")),
    current: () => (store.selected() >= 0 ? store.selected() : store.found.recommended),
    alive: () => !store.gone && ALIVE.has(store.status.state),
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    select(place) {
      model.set("selected", place < 0 ? null : trials.number[place]);
      save();
      notify("mark");
    },
    point(place) {
      if (place === store.hover) return;
      store.hover = place;
      notify("mark");
    },
    setFilter(changes) {
      filter = { ...filter, ...changes };
      model.set("filter", filter);
      syncing = syncing || setTimeout(sync, SYNC_MS);
      analyseAgain();
    },
    bound(name, pair) {
      const { [name]: _, ...others } = filter.bounds;
      store.setFilter({ bounds: pair[0] === null && pair[1] === null ? others : { ...others, [name]: pair } });
    },
    among(name, levels) {
      const { [name]: _, ...others } = filter.choices;
      store.setFilter({ choices: levels === null ? others : { ...others, [name]: levels } });
    },
    setLooks(changes) {
      looks = { ...looks, ...changes };
      model.set("looks", looks);
      syncing = syncing || setTimeout(sync, SYNC_MS);
      changed();
    },
    command(kind, details = {}) {
      if (store.gone) return;
      settle(kind);
      store.pending.set(kind, details.number ?? true);
      patience.set(kind, setTimeout(() => {
        store.late.add(kind);
        changed();
      }, PATIENCE_MS));
      store.answers.delete(kind);
      send({ kind, ...details });
      changed();
    },
    // What to say beside the button of a command, of one of several, while it waits.
    waitWords: (...kinds) => (!kinds.some((kind) => store.late.has(kind)) ? "" : kinds.includes("export") ? EXPORTING : QUEUED),
    destroy() {
      clearTimeout(syncing);
      for (const timer of patience.values()) clearTimeout(timer);
      sync();
      unwatch();
    },
  };

  const save = () => (store.gone ? null : model.save_changes());

  function sync() {
    syncing = 0;
    save();
  }

  // The kernel repeats what it is told. Such an echo must not undo what the person has done since and
  // what is not sent yet: that stays, and goes out next.
  function isOwn(name, own) {
    if (model.get(name) !== own && syncing) model.set(name, own);
    return model.get(name) === own;
  }

  function notify(what) {
    for (const listener of listeners) listener(what);
  }

  function changed(what = "all") {
    store.revision += 1;
    notify(what);
  }

  function analyseAgain(what = "all") {
    found = null;
    changed(what);
  }

  function takeColumns(columns) {
    trials.take(columns);
    analyseAgain("rows");
  }

  function takeStatus(status) {
    const before = store.status.state;
    store.status = status ?? {};
    // What was asked for has come about, or something else has.
    if (store.status.state !== before) for (const kind of ["pause", "go_on"]) store.answers.delete(kind);
    store.statusAt = performance.now();
    // Only the header tells of it, and it comes several times a second; empty parts say whether
    // something may still come.
    notify(store.status.state === before ? "status" : "all");
  }

  function settle(kind) {
    clearTimeout(patience.get(kind));
    store.pending.delete(kind);
    store.late.delete(kind);
  }

  function lose() {
    if (store.gone) return;
    store.gone = true;
    for (const kind of [...store.pending.keys()]) settle(kind);
    changed();
  }

  function takeAnswer({ to, ok, text }) {
    store.answers.set(to, { ok, text, of: store.pending.get(to) });
    settle(to);
    changed();
  }

  trials.take(model.get("columns"));
  takeStatus(model.get("status"));
  model.on("change:columns", () => takeColumns(model.get("columns")));
  model.on("change:status", () => takeStatus(model.get("status")));
  model.on("change:objectives", () => analyseAgain());
  model.on("change:filter", () => {
    if (isOwn("filter", filter)) return;
    filter = { ...NO_FILTER, ...model.get("filter") };
    analyseAgain();
  });
  model.on("change:looks", () => {
    if (isOwn("looks", looks)) return;
    looks = model.get("looks") ?? {};
    changed();
  });
  for (const name of ["needs", "notes", "chosen", "bounded"]) model.on(`change:${name}`, () => changed());
  model.on("change:selected", () => notify("mark"));
  model.on("msg:custom", (message) => {
    if (message.kind === "rows") takeColumns(message.columns);
    if (message.status) takeStatus(message.status);
    if (message.kind === "answer") takeAnswer(message);
  });
  const unwatch = watchKernel(model, lose);
  // Messages that came while this code was loading are lost; the kernel answers with all it has.
  send({ kind: "ready" });
  return store;
}

// Tells once the kernel is gone. ipywidgets says so when it lets go of a model, which it does on a
// restart that the page asked for; JupyterLab's kernel knows of the others.
function watchKernel(model, onGone) {
  const kernel = model.widget_manager?.kernel;
  const onStatus = (_, status) => {
    if (DEAD.has(status)) onGone();
  };
  // The model had its comm before this code came: from here on its state changes but once.
  model.on("comm_live_update", onGone);
  kernel?.statusChanged?.connect(onStatus);
  kernel?.disposed?.connect(onGone);
  return () => {
    model.off("comm_live_update", onGone);
    kernel?.statusChanged?.disconnect(onStatus);
    kernel?.disposed?.disconnect(onGone);
  };
}

// Commands go past a running cell where the front end can open a comm of its own (direct.py says
// why); elsewhere they go the widget's way and wait for the cell.
function commandLine(model) {
  const slow = (message) => model.send(message);
  const kernel = model.widget_manager?.kernel;
  if (!kernel?.supportsSubshells || !kernel.createComm || !model.get("name")) return slow;
  let line = null;
  async function open() {
    const comm = kernel.createComm(model.get("name"));
    await comm.subshellStarted;
    if (!comm.subshellId && !kernel.subshellId && comm.commsOverSubshells === "disabled") return null;
    comm.open({});
    return comm;
  }
  return (message) => {
    line ??= open().catch(() => null);
    line.then((comm) => (comm ? comm.send(message) : slow(message))).catch(() => slow(message));
  };
}
