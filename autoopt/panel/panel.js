// The panel: one store a model, one view an element.

// All views in the page, also those of other searches, which load this code once more.
const VIEWS = Symbol.for("autoopt.views");

function guardKeys(root) {
  // JupyterLab's command mode would take a "b" typed here for "insert a cell below".
  root.addEventListener("keydown", (event) => {
    const saves = (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "s";
    const runs = event.shiftKey && event.key === "Enter";
    if (!saves && !runs) event.stopPropagation();
  });
}

// The saved notebook shows the front as static HTML; beside a living panel it would be there twice.
// A style of the panel's own hides it, wherever it stands, and goes with the panel.
function twinHider(name) {
  if (!/^[\w-]+$/.test(name)) return [];
  const inLab = `.jp-OutputArea-child:has(.${name}) { display: none; }`;
  return [html("style", "", `.${name} { display: none; }`), html("style", "", inLab)];
}

function renderPanel(store, el) {
  globalThis[VIEWS] = (globalThis[VIEWS] ?? 0) + 1;
  const identity = `autoopt-${globalThis[VIEWS]}`;
  const root = html("div", "autoopt-panel", null, { role: "region", "aria-label": `autoopt search, view ${globalThis[VIEWS]}` });
  const frame = html("div", "ao-frame");
  const reader = colourReader(root, () => ask("all"));
  const voice = createVoice();
  const header = createHeader(store, voice);
  const needs = createNeeds(store);
  const toolbar = createToolbar(store);
  const chart = createChart(store, identity, reader);
  const card = createCard(store);
  const coordinates = createCoordinates(store, reader);
  const table = createTable(store, identity);
  const compare = createCompare(store);
  const why = createWhy(store);
  const plot = html("div", "ao-plot", null, { role: "group", "aria-label": "Pareto chart" });
  plot.append(toolbar.node, toolbar.legend, chart.node);
  const below = html("div", "ao-below");
  below.append(coordinates.node, table.node);
  const main = html("div", "ao-main");
  main.append(plot, card.node, below, compare.node);
  frame.append(header.node, needs.node, main, why.node);
  root.append(frame, voice.node, ...twinHider(store.twin()));
  guardKeys(root);
  el.replaceChildren(root);

  const parts = [header, needs, toolbar, chart, card, coordinates, table, compare, why];
  let asked = 0;
  const wanted = new Set(["all"]);
  const draw = () => {
    asked = 0;
    const isAll = wanted.has("all");
    if (isAll) for (const part of parts) part.draw();
    if (!isAll && wanted.has("status")) header.draw();
    if (!isAll && wanted.has("mark")) for (const part of parts) part.mark?.();
    wanted.clear();
  };
  const ask = (what) => {
    wanted.add(what);
    asked = asked || requestAnimationFrame(draw);
  };
  const unsubscribe = store.subscribe(ask);
  draw();
  return () => {
    cancelAnimationFrame(asked);
    unsubscribe();
    for (const part of [header, chart, coordinates, voice, reader]) part.destroy();
  };
}

// A function, so that every model has a store of its own.
export default () => {
  let store = null;
  return {
    initialize({ model }) {
      store = createStore(model);
      return () => store.destroy();
    },
    render({ el }) {
      return renderPanel(store, el);
    },
  };
};
