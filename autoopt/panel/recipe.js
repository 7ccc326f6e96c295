// A recipe as text: the YAML that Recipe.from_yaml reads, and the Python that exports it.

const FORMAT = 1; // as in recipe.py
// What YAML 1.1 would read as something else than a word.
const NOT_A_WORD = /^(y|n|yes|no|true|false|on|off|null|~)$/i;

function yamlScalar(level) {
  if (typeof level !== "string") return yamlNumber(level);
  return /^[A-Za-z_][\w-]*$/.test(level) && !NOT_A_WORD.test(level) ? level : JSON.stringify(level);
}

function yamlNumber(level) {
  if (typeof level === "boolean") return String(level);
  // YAML 1.1 takes 1e-7 for a word; it wants a point and a sign.
  const [digits, exponent] = String(level).split("e");
  if (exponent === undefined) return digits;
  return `${digits.includes(".") ? digits : `${digits}.0`}e${exponent.startsWith("-") ? "" : "+"}${exponent.replace("+", "")}`;
}

function recipeYaml(trials, place) {
  const lines = [`# autoopt recipe: ${trials.summary[place].replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, " ")}`, `format: ${FORMAT}`, "recipe:"];
  const names = Object.keys(trials.choices).filter((name) => trials.level(name, place) !== null);
  for (const slot of names.filter((name) => !name.includes("."))) {
    lines.push(`  ${yamlScalar(slot)}:`, `    option: ${yamlScalar(trials.level(slot, place))}`);
    for (const name of names.filter((one) => one.startsWith(`${slot}.`))) {
      lines.push(`    ${yamlScalar(name.slice(slot.length + 1))}: ${yamlScalar(trials.level(name, place))}`);
    }
  }
  return `${lines.join("\n")}\n`;
}

function exportPython(number, folder) {
  const written = JSON.stringify(folder || "deploy");
  return [`strategy = search.pick(${number})`, `strategy.export(${written})`, `predict = autoopt.load(${written})`].join("\n");
}

// Text with a button that copies it.
function copyable(label, text) {
  const part = html("div", "ao-copyable");
  const said = html("span", "ao-copied");
  const copy = button("ao-quiet", "Copy", async () => {
    setText(said, (await copyText(text)) ? "copied" : "select the text and copy it by hand");
  }, { "aria-label": `Copy ${label}` });
  const line = html("div", "ao-label", label);
  line.append(said, copy);
  part.append(line, html("pre", "", text.trim(), { tabindex: "0", role: "group", "aria-label": label }));
  return part;
}

async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // Without the permission, or over plain HTTP, an old way may still work.
    const area = html("textarea", "ao-voice", text, { "aria-hidden": "true" });
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}
