// The panel: header, chart with its choice of axes, card. One store a model, one view an element.

let views = 0;

function createToolbar(store, onChange) {
  const bar = html("div", "ao-toolbar");
  const selects = ["Across", "Up"].map((label) => {
    const field = html("label", "ao-field", `${label} `);
    const select = html("select", "ao-select");
    field.append(select);
    bar.append(field);
    select.addEventListener("change", () => onChange(axes()));
    return select;
  });
  const legend = html("div", "ao-legend");
  bar.append(legend);
  let listed = "";
  let explained = "";

  const known = () => [...store.objectives(), BY_TRIAL];
  const axes = () => selects.map((select) => known().find((o) => o.name === select.value) ?? BY_TRIAL);

  function defaults(objectives) {
    if (objectives.length < 2) return [BY_TRIAL, objectives[0] ?? BY_TRIAL];
    const x = objectives.find((o) => o.direction === "minimize") ?? objectives[0];
    const others = objectives.filter((o) => o !== x);
    return [x, others.find((o) => o.direction === "maximize") ?? others[0]];
  }

  function draw() {
    // It keeps its room, so that nothing moves when the objectives become known.
    bar.style.visibility = store.objectives().length ? "" : "hidden";
    const words = JSON.stringify(store.objectives());
    if (words !== listed) {
      listed = words;
      const chosen = defaults(store.objectives());
      selects.forEach((select, index) => {
        select.replaceChildren(...known().map((o) => html("option", "", o.label, { value: o.name })));
        select.value = chosen[index].name;
      });
      onChange(axes());
    }
    drawLegend();
  }

  function drawLegend() {
    const present = new Set();
    for (const row of store.rows.values()) if (row.state === "ok") present.add(kindOf(row));
    const entries = KINDS.filter(([kind]) => present.has(kind));
    if (entries.join() === explained) return;
    explained = entries.join();
    legend.replaceChildren(...entries.map(([kind, words]) => {
      const entry = html("span", "ao-entry");
      entry.append(shapeIcon(kind, ""), html("span", "", words));
      return entry;
    }));
  }

  return { node: bar, draw };
}

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
  views += 1;
  const identity = `autoopt-${views}-${Math.random().toString(36).slice(2, 8)}`;
  const root = html("div", "autoopt-panel", null, { role: "region", "aria-label": "autoopt search" });
  const frame = html("div", "ao-frame");
  const header = createHeader(store, identity);
  const chart = createChart(store, identity);
  const toolbar = createToolbar(store, ([x, y]) => chart.setAxes(x, y));
  const card = createCard(store);
  const plot = html("div", "ao-plot");
  plot.append(toolbar.node, chart.node);
  const main = html("div", "ao-main");
  main.append(plot, card.node);
  frame.append(header.node, main);
  root.append(frame, ...twinHider(store.twin()));
  guardKeys(root);
  el.replaceChildren(root);

  let asked = 0;
  const draw = () => {
    asked = 0;
    for (const part of [header, toolbar, chart, card]) part.draw();
  };
  const unsubscribe = store.subscribe(() => {
    asked = asked || requestAnimationFrame(draw);
  });
  draw();
  return () => {
    cancelAnimationFrame(asked);
    unsubscribe();
    header.destroy();
    chart.destroy();
  };
}

// A function, so that every model has a store of its own.
export default () => {
  let store = null;
  return {
    initialize({ model }) {
      store = createStore(model);
    },
    render({ el }) {
      return renderPanel(store, el);
    },
  };
};
