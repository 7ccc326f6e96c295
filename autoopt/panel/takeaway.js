// What one takes along: the recipe of the strategy in the card, and of a chosen one the export.

function createTakeaway(store) {
  const root = html("div", "ao-takeaway", null, { role: "group", "aria-label": "Recipe" });
  const number = html("span", "ao-aside");
  const body = html("div", "ao-takeaway-body", null, { tabindex: "0", role: "group", "aria-label": "Recipe and export" });
  const exporter = createExporter(store);
  const recipe = html("div");
  body.append(exporter.node, recipe);
  root.append(heading("Recipe", number), body);
  let drawn = "";

  function draw() {
    const shown = store.current();
    root.hidden = shown < 0;
    if (shown < 0) return;
    const { trials } = store;
    setText(number, `of #${trials.number[shown]}`);
    exporter.draw(store.chosen() === shown ? trials.number[shown] : -1);
    const yaml = recipeYaml(trials, shown);
    if (yaml === drawn) return;
    drawn = yaml;
    recipe.replaceChildren(copyable("YAML", yaml));
  }

  return { node: root, draw, mark: draw };
}

// A form that exports the chosen strategy, and the Python that does the same.
function createExporter(store) {
  const part = html("div", "ao-export");
  const form = html("form", "ao-export-form");
  const folder = html("input", "ao-input", null, { type: "text", value: "deploy", "aria-label": "Folder to export into", autocomplete: "off", spellcheck: "false" });
  const go = html("button", "ao-button", "Export", { type: "submit" });
  const said = html("p", "ao-answer");
  const python = html("div");
  form.append(html("span", "ao-label", "Export into"), folder, go);
  part.append(form, said, python);
  let number = -1;
  let written = "";

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (folder.value.trim()) store.command("export", { number, folder: folder.value.trim() });
  });
  folder.addEventListener("input", () => draw(number));

  function draw(chosen) {
    number = chosen;
    part.hidden = number < 0;
    const words = exportPython(number, folder.value.trim());
    if (words !== written && number >= 0) {
      written = words;
      python.replaceChildren(copyable("Python", words));
    }
    const waits = store.pending.has("export");
    const answer = store.answers.get("export");
    go.disabled = waits || store.gone;
    setText(go, waits ? "Exporting…" : "Export");
    const mine = answer && answer.of === number;
    setText(said, waits ? store.waitWords("export") : mine ? (answer.ok ? `exported to ${answer.text}` : answer.text) : "");
    said.classList.toggle("ao-bad", Boolean(!waits && mine && !answer.ok));
  }

  return { node: part, draw };
}
