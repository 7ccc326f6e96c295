// The panel: one store a model, one view an element.

// All views in the page, also those of other searches, which load this code once more.
const VIEWS = Symbol.for("autoopt.views");

// A notebook's command mode would take a "b" typed here for "insert a cell below". JupyterLab listens
// while the event rises; Notebook 7 while it falls, and minds this attribute of Lumino's, which
// the very element must have, since its bindings may name what has the focus.
const DEAF = "data-lm-suppress-shortcuts";

function guardKeys(root) {
  const isForAll = ({ ctrlKey, metaKey, shiftKey, key }) =>
    ((ctrlKey || metaKey) && key.toLowerCase() === "s") || (shiftKey && key === "Enter");
  const early = (event) => {
    if (root.contains(event.target)) event.target.toggleAttribute(DEAF, !isForAll(event));
  };
  window.addEventListener("keydown", early, true);
  root.addEventListener("keydown", (event) => {
    if (!isForAll(event)) event.stopPropagation();
  });
  return { destroy: () => window.removeEventListener("keydown", early, true) };
}

// The saved notebook shows the front as static HTML; beside a living panel it would be there twice.
// A style of the panel's own hides it, wherever it stands, and goes with the panel or its kernel.
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
  const needs = createNeeds(store, identity);
  const toolbar = createToolbar(store);
  const chart = createChart(store, identity, reader);
  const card = createCard(store);
  const coordinates = createCoordinates(store, reader);
  const table = createTable(store, identity);
  const compare = createCompare(store);
  const takeaway = createTakeaway(store);
  const why = createWhy(store);
  const plot = html("div", "ao-plot", null, { role: "group", "aria-label": "Pareto chart" });
  plot.append(toolbar.node, toolbar.legend, chart.node);
  const below = html("div", "ao-below");
  below.append(coordinates.node, table.node);
  const main = html("div", "ao-main");
  const beside = html("div", "ao-beside");
  beside.append(compare.node, takeaway.node);
  main.append(plot, card.node, beside, below);
  frame.append(header.node, needs.node, main, why.node);
  const hider = twinHider(store.twin());
  root.append(frame, voice.node, ...hider);
  const guard = guardKeys(root);
  el.replaceChildren(root);

  // What is looked at while trials arrive, and what follows once that is painted, so that thousands
  // of rows and lines do not hold a new point up.
  const first = [header, needs, toolbar, chart, card];
  const others = [coordinates, table, compare, takeaway, why];
  let asked = 0;
  let late = 0;
  const wanted = new Set(["all"]);
  const draw = () => {
    asked = 0;
    if (store.gone) for (const style of hider) style.remove();
    const [isAll, isNew, isStatus, isMark] = ["all", "rows", "status", "mark"].map((what) => wanted.delete(what));
    if (isAll || isNew) for (const part of first) part.draw();
    else if (isStatus) header.draw();
    if (isAll) drawOthers();
    else if (isNew) late = late || setTimeout(drawOthers);
    // The others mark what they draw; until then they do not know the new trials.
    if (isMark && !isAll) for (const part of late ? first : [...first, ...others]) part.mark?.();
  };
  const drawOthers = () => {
    clearTimeout(late);
    late = 0;
    for (const part of others) part.draw();
  };
  const ask = (what) => {
    wanted.add(what);
    asked = asked || requestAnimationFrame(draw);
  };
  const unsubscribe = store.subscribe(ask);
  draw();
  return () => {
    cancelAnimationFrame(asked);
    clearTimeout(late);
    unsubscribe();
    for (const part of [header, chart, coordinates, table, voice, reader, guard]) part.destroy();
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
