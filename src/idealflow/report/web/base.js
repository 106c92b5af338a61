"use strict";
// Small things that all parts of the page use: elements, hints, colours, unpacking.

/** Make an element; children are elements or texts, never HTML. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** A question mark that explains, by pointer, keyboard and touch; null where there is nothing to explain. */
function hint(text, of) {
  if (!text) return null;
  const mark = make("button", { type: "button", class: "hint", "aria-label": `${of}: ${text}` }, "?");
  const show = () => {
    hideTip();
    const tip = make("div", { id: "tip", role: "tooltip" }, text);
    document.body.append(tip);
    const at = mark.getBoundingClientRect();
    const left = Math.min(at.left, document.documentElement.clientWidth - tip.offsetWidth - 8);
    tip.style.left = `${Math.max(8, left) + window.scrollX}px`;
    tip.style.top = `${at.bottom + 6 + window.scrollY}px`;
  };
  for (const event of ["pointerenter", "focus", "click"]) mark.addEventListener(event, show);
  for (const event of ["pointerleave", "blur"]) mark.addEventListener(event, hideTip);
  return mark;
}

function hideTip() {
  document.getElementById("tip")?.remove();
}
document.addEventListener("keydown", (event) => event.key === "Escape" && hideTip());

const darkness = window.matchMedia("(prefers-color-scheme: dark)");
const PALETTES = {
  light: { blue: "#0065a3", orange: "#d07a00", green: "#00795a", red: "#b4232a", purple: "#94508a", sky: "#3a9bd9", grey: "#6e7781", heat: "Viridis" },
  dark: { blue: "#56b4e9", orange: "#f0b429", green: "#35c79a", red: "#ff7b5a", purple: "#dd9bc6", sky: "#9ad5f5", grey: "#9aa4af",
    heat: [[0, "#56708c"], [0.5, "#4fb0a5"], [1, "#fde725"]] },
};
const palette = () => PALETTES[darkness.matches ? "dark" : "light"];
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** A copy of a figure's description with the names of colours, such as @blue, replaced by those of the theme. */
function coloured(value) {
  if (typeof value === "string") return value[0] === "@" ? (palette()[value.slice(1)] ?? value) : value;
  if (Array.isArray(value)) return value.map(coloured);
  if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, coloured(v)]));
  return value;
}

/** A text whose units, such as eV/Å, stay on one line. */
const unbroken = (text) => text.replace(/\/(?=\S)/g, "/\u2060");

function bytes(text) {
  const raw = atob(text);
  const found = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) found[i] = raw.charCodeAt(i);
  return found;
}

/** A packed column: base64 of a typed array. */
function column(packed) {
  const kinds = { f4: Float32Array, f8: Float64Array, i4: Int32Array, u1: Uint8Array };
  return new kinds[packed.dtype](bytes(packed.bdata).buffer);
}

async function inflated(text) {
  const stream = new Blob([bytes(text)]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

const inflatedJson = async (text) => JSON.parse(new TextDecoder().decode(await inflated(text)));

/** A number as the page shows it: four digits, a dash where there is none. */
function written(value, digits = 4) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return "∞";
  if (Number.isInteger(value)) return Math.abs(value) > 9999 ? value.toLocaleString("en").replaceAll(",", "\u202f") : String(value);
  return String(Number(value.toPrecision(digits)));
}
