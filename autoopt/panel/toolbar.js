// What the chart shows: axes and their scales, colour, size; and what its marks mean.

function createToolbar(store) {
  const bar = html("div", "ao-toolbar");
  const choosers = {
    x: chooser("Across", (value) => store.setLooks({ x: value, zoom: null })),
    scaleX: chooser("", (value) => store.setLooks({ scaleX: value, zoom: null })),
    y: chooser("Up", (value) => store.setLooks({ y: value, zoom: null })),
    scaleY: chooser("", (value) => store.setLooks({ scaleY: value, zoom: null })),
    colour: chooser("Colour", (value) => store.setLooks({ colour: value })),
    size: chooser("Size", (value) => store.setLooks({ size: value })),
  };
  for (const [name, words] of [["scaleX", "Horizontal scale"], ["scaleY", "Vertical scale"]]) {
    choosers[name].node.querySelector("select").setAttribute("aria-label", words);
    choosers[name].node.classList.add("ao-scale");
  }
  bar.append(...Object.values(choosers).map(({ node }) => node));
  const legend = html("div", "ao-legend", null, { role: "group", "aria-label": "Legend" });
  let explained = "";

  function draw() {
    const objectives = store.objectives();
    // It keeps its room, so that nothing moves when the objectives become known.
    bar.style.visibility = objectives.length ? "" : "hidden";
    const [x, y] = planeObjectives(store);
    const axes = [...objectives, BY_TRIAL].map(({ name, label }) => [name, label]);
    choosers.x.draw(axes, x.name);
    choosers.y.draw(axes, y.name);
    choosers.scaleX.draw(SCALES, store.looks().scaleX ?? "auto");
    choosers.scaleY.draw(SCALES, store.looks().scaleY ?? "auto");
    choosers.colour.draw(colourOptions(store), colourName(store));
    choosers.size.draw([["", "equal"], ...objectives.map(({ name, label }) => [name, label])], store.looks().size ?? "");
    drawLegend();
  }

  function drawLegend() {
    const { trials, found } = store;
    const roles = trials.once("roles", () => [...new Set(trials.role.filter((_, place) => !trials.failed(place)))]);
    const present = new Set(roles);
    if (found.recommended >= 0) present.add("recommended");
    if (found.members.length > 2) present.add("knee");
    const kinds = KINDS.filter(([kind]) => present.has(kind));
    const tones = colouring(store).legend;
    const words = JSON.stringify([kinds, tones]);
    if (words === explained) return;
    explained = words;
    const entries = kinds.map(([kind, text]) => [shapeIcon(kind), text]);
    entries.push(...tones.map(([name, text]) => [html("span", `ao-swatch ${name}`, null, { "aria-hidden": "true" }), text]));
    legend.replaceChildren(...entries.map(([icon, text]) => {
      const entry = html("span", "ao-entry");
      entry.append(icon, html("span", "", shortened(text, LONGEST_NAME), { title: text }));
      return entry;
    }));
  }

  return { node: bar, legend, draw };
}
