// Elements, and the words and numbers that several views share. Text from the report only ever
// enters the page through `textContent` or an attribute's value.

const SVG = "http://www.w3.org/2000/svg";

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

function html(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

const shapeText = (shape) => (shape.length ? shape.join("×") : "scalar");
const shapesText = (shapes) => shapes.map(shapeText).join(", ");

// Three or four significant digits with the SI prefix, as in the layer table.
function scaled(number) {
  const prefixes = ["", "k", "M", "G", "T", "P", "E"];
  let step = 0;
  while (step < prefixes.length - 1 && number >= (step ? 999.95 : 1000)) {
    number /= 1000;
    step += 1;
  }
  if (!step) return String(number);
  return `${number.toFixed(number < 99.995 ? 2 : 1)} ${prefixes[step]}`;
}

function byteText(number) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let step = 0;
  while (step < units.length - 1 && number >= 1000) {
    number /= 1024;
    step += 1;
  }
  return step ? `${number.toFixed(2)} ${units[step]}` : `${number} B`;
}

const exact = (number) => number.toLocaleString("en");

const FONTS = {
  name: '600 13px Inter, system-ui, "Segoe UI", Roboto, sans-serif',
  small: '11px Inter, system-ui, "Segoe UI", Roboto, sans-serif',
  mono: '10.5px "JetBrains Mono", ui-monospace, Menlo, Consolas, monospace',
};
const canvas = document.createElement("canvas").getContext("2d");
const widths = new Map();

function textWidth(text, font) {
  const key = `${font} ${text}`;
  if (!widths.has(key)) {
    canvas.font = FONTS[font];
    widths.set(key, Math.ceil(canvas.measureText(text).width));
  }
  return widths.get(key);
}

function cropped(text, font, room) {
  if (textWidth(text, font) <= room) return text;
  let end = Math.max(1, Math.floor((text.length * room) / textWidth(text, font)));
  while (end > 1 && textWidth(`${text.slice(0, end)}…`, font) > room) end -= 1;
  return `${text.slice(0, end)}…`;
}

// What a layer or an operator is for: it gives the colour.
const PURPOSES = [
  ["convolution", /conv/i],
  ["attention", /attention|attn/i],
  ["norm", /norm/i],
  ["embedding", /embed/i],
  ["recurrent", /lstm|gru|rnn/i],
  ["linear", /linear|addmm|matmul|^bmm$|^mm$|einsum/i],
  ["pooling", /pool|upsample|interpolate|^mean$/i],
  ["activation", /relu|gelu|silu|swish|sigmoid|tanh|softmax|softplus|mish|elu|glu/i],
  ["dropout", /drop/i],
];

function purpose(node) {
  const kind = node.kind === "layer" ? node.type : node.name;
  return PURPOSES.find(([, pattern]) => pattern.test(kind))?.[0] ?? "plain";
}
