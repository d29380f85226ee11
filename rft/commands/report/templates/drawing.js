"use strict";
// Elements and numbers. What comes from a run is only ever set as text or as a number: it cannot become markup.

const SVG = "http://www.w3.org/2000/svg";
const NUM_COLOURS = 8;
const colour = (i) => `var(--c${i % NUM_COLOURS})`;

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") node.style.cssText = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}
const el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

function figure(value, digits = 3) {
  if (value === null || value === undefined) return "-";
  const size = Math.abs(value);
  if (size >= 10000 || (size > 0 && size < 0.001)) return value.toExponential(1);
  return size >= 100 ? value.toFixed(0) : Number(value.toFixed(digits)).toString();
}
const fixed = (value) => (value === null || value === undefined ? "-" : value.toFixed(3));
const signed = (value, digits = 3) => (value === null ? "-" : (value > 0 ? "+" : "") + value.toFixed(digits));
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
const words = (name) => name.replaceAll("_", " ");
const count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;

function table(columns, rows, kind) {
  return el("div", {class: "scroll"}, el("table", {class: kind},
    el("thead", null, el("tr", null, columns.map((column) => el("th", null, column)))),
    el("tbody", null, rows.map((row) => el("tr", null, row.map((cell) => el("td", null, cell)))))));
}

function legend(names) {
  return el("div", {class: "legend"}, names.map((name, i) =>
    el("span", null, el("i", {style: `background:${colour(i)}`}), name)));
}

// A details element whose content is made when it is first opened: hundreds of charts take their time.
function folded(title, make) {
  const details = el("details", {ontoggle: () => {
    if (details.open && details.childElementCount === 1) details.append(make());
  }}, el("summary", null, title));
  return details;
}
