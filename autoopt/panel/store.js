// What one panel knows, shared by all its views in the page.

const ALIVE = new Set(["starting", "running", "paused"]);

function createStore(model) {
  const listeners = new Set();
  const store = {
    rows: new Map(),
    status: {},
    statusAt: 0,
    waitingFor: null, // number whose choice the kernel has not answered yet
    stopping: false,
    objectives: () => model.get("objectives") ?? [],
    selected: () => model.get("selected"),
    chosen: () => model.get("chosen"),
    twin: () => model.get("twin") ?? "",
    alive: () => ALIVE.has(store.status.state),
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    select(number) {
      model.set("selected", number);
      model.save_changes();
      notify();
    },
    choose(number) {
      store.waitingFor = number;
      model.send({ kind: "choose", number });
      notify();
    },
    stop() {
      store.stopping = true;
      model.send({ kind: "stop" });
      notify();
    },
  };

  function notify() {
    for (const listener of listeners) listener();
  }

  // Insert or replace by number: the same row may come twice, by a message and with the state.
  function takeRows(rows) {
    for (const row of rows ?? []) store.rows.set(row.number, row);
    notify();
  }

  function takeStatus(status) {
    store.status = status ?? {};
    store.statusAt = performance.now();
    if (!store.alive()) store.stopping = false;
    notify();
  }

  takeRows(model.get("rows"));
  takeStatus(model.get("status"));
  model.on("change:rows", () => takeRows(model.get("rows")));
  model.on("change:status", () => takeStatus(model.get("status")));
  model.on("change:objectives", notify);
  model.on("change:selected", notify);
  model.on("change:chosen", () => {
    if (store.waitingFor === store.chosen()) store.waitingFor = null;
    notify();
  });
  model.on("msg:custom", (message) => {
    if (message.kind === "rows") takeRows(message.rows);
    if (message.kind === "status") takeStatus(message.status);
  });
  // Messages that came while this code was loading are lost; the kernel answers with all it has.
  model.send({ kind: "ready" });
  return store;
}
