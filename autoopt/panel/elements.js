// Elements and outlines. All text goes in by textContent: names are the person's own data.

const SVG = "http://www.w3.org/2000/svg";

const LONGEST_NAME = 40; // letters of a name in a table's heads and on the chart's axes

const SHAPES = {
  search: "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0z",
  baseline: "M-4-4h8v8h-8z",
  uniform: "M0-5.6L5.6 0L0 5.6L-5.6 0z",
  original: "M-5-5L5 5M5-5L-5 5",
  recommended:
    "M0-9L2.23-3.07L8.56-2.78L3.61 1.17L5.29 7.28L0 3.8L-5.29 7.28L-3.61 1.17L-8.56-2.78" +
    "L-2.23-3.07z",
};
SHAPES.knee = SHAPES.recommended;

const KINDS = [
  ["recommended", "recommended"],
  ["knee", "knee"],
  ["original", "original"],
  ["search", "search"],
  ["uniform", "one technique"],
  ["baseline", "other runtime"],
];

function html(tag, className = "", text = null, attributes = {}) {
  return fill(document.createElement(tag), className, text, attributes);
}

function svg(tag, className = "", attributes = {}, text = null) {
  return fill(document.createElementNS(SVG, tag), className, text, attributes);
}

function fill(node, className, text, attributes) {
  if (className) node.setAttribute("class", className);
  if (text !== null) node.textContent = text;
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

function setText(node, text) {
  // Writing the same text again would make screen readers repeat it and would end a selection.
  if (node.textContent !== text) node.textContent = text;
}

function setAttribute(node, name, value) {
  // Writing what is there already would have the browser draw it again.
  if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

function button(className, text, onClick, attributes = {}) {
  const node = html("button", className, text, { type: "button", ...attributes });
  node.addEventListener("click", onClick);
  return node;
}

function shapeIcon(kind, className = "") {
  const icon = svg("svg", `ao-icon ${className}`, { viewBox: "-10 -10 20 20", "aria-hidden": "true" });
  icon.append(svg("path", `ao-shape ao-${kind}`, { d: SHAPES[kind] }));
  return icon;
}

// A field with a list to choose from; the list is rebuilt only when it differs.
function chooser(label, onChange) {
  const field = html("label", "ao-field", label && `${label} `);
  // Said by itself: the words around it would bring the whole list into its name.
  const select = html("select", "ao-select", null, { "aria-label": label });
  field.append(select);
  select.addEventListener("change", () => onChange(select.value));
  let listed = "";
  return {
    node: field,
    draw(options, value) {
      const words = JSON.stringify(options);
      if (words !== listed) {
        listed = words;
        select.replaceChildren(...options.map(([name, text]) => html("option", "", text, { value: name })));
      }
      if (select.value !== value) select.value = value;
    },
  };
}

function heading(text, ...beside) {
  const line = html("div", "ao-heading");
  line.append(html("h3", "", text), ...beside);
  return line;
}

// Chinese, Japanese and Korean characters and pictures are as wide as two letters.
const WIDE = /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60]|\p{Extended_Pictographic}/u;

// A name that heads a row or a column: shortened, and in full where the pointer rests.
function headCell(className, name, scope) {
  return html("th", className, shortened(name, LONGEST_NAME), { scope, title: name });
}

// A text, cut where it would be wider than so many letters.
function shortened(text, most) {
  const letters = [...text];
  let [width, kept] = [0, 0]; // `kept` letters leave room for the ellipsis
  for (const letter of letters) {
    width += WIDE.test(letter) ? 2 : 1;
    if (width > most) return `${letters.slice(0, kept).join("")}…`;
    if (width < most) kept += 1;
  }
  return text;
}
