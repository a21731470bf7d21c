"use strict";
// Elements and words. Values come from warehouses, users and Pendo. They become text (`append`,
// `textContent`), never markup, and no attribute that does anything: a link leads to a place in this page.

const data = JSON.parse(document.getElementById("data").textContent);
let bodies = null;
const bodyOf = (at) => {
  bodies ??= JSON.parse(document.getElementById("bodies").textContent);
  return bodies[at];
};

// Elements.

const fill = (node, attributes, children) => {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
};
const el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
let ids = 0;
const newId = (word) => `${word}-${++ids}`;

// Words.

// The statuses of rows that were not delivered, the worst first.
const STATUSES = { rejected: ["✕", "bad"], missing: ["?", "warn"], invalid: ["!", "warn"] };
const FAILED = new Set(["error", "blocked", "interrupted"]);
const LONGEST_CELL = 240;

const number = (value) => value.toLocaleString("en");
const count = (value, noun) => `${number(value)} ${noun}${value === 1 ? "" : "s"}`;
const compact = (value) => new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 }).format(value);
const seconds = (value) => {
  if (value < 10) return `${value.toFixed(2)} s`;
  if (value < 120) return `${value.toFixed(1)} s`;
  return `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`;
};
const moment = (text) => (text ? text.replace("T", " ").slice(0, 19) : "");
const time = (text) => el("time", { datetime: text, class: "nowrap" }, moment(text));
// What would not be seen, or would turn text around, becomes an escape, as in visible.py; a line break stays one.
const UNSEEN =
  /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Bidi_Control}\u00ad\u115f\u1160\u180e\u200b\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu;
const escaped = (character) =>
  character === "\n" ? character : `\\u${character.codePointAt(0).toString(16).padStart(4, "0")}`;
const visible = (text) => text.replace(UNSEEN, escaped);
const clipped = (text) => visible(text.length > LONGEST_CELL ? `${text.slice(0, LONGEST_CELL)}…` : text);
// A short one stays in one piece, or narrow tables break it after every other letter.
const value = (text, mono) =>
  el("span", { class: `value${mono ? " mono" : ""}${text.length <= 28 ? " nowrap" : ""}` }, clipped(text));
const pill = (status) => {
  const [glyph, kind] = STATUSES[status] ?? ["•", "plain"];
  return el("span", { class: `pill ${kind}` }, el("span", { "aria-hidden": "true" }, glyph), status);
};
const facts = (entries) =>
  el(
    "dl",
    { class: "facts" },
    entries.map(([name, text]) => [el("dt", {}, name), el("dd", {}, text)]),
  );

// JSON with line breaks. The text itself is kept: as numbers of JavaScript some would lose digits.

function pretty(text) {
  try {
    JSON.parse(text);
  } catch {
    return text;
  }
  const parts = text.match(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g) ?? [];
  const out = [];
  let depth = 0;
  parts.forEach((part, at) => {
    const before = parts[at - 1];
    if (part === "}" || part === "]") {
      depth -= 1;
      if (before !== "{" && before !== "[") out.push("\n", "  ".repeat(depth));
    } else if (before === "{" || before === "[" || before === ",") {
      out.push("\n", "  ".repeat(depth));
    }
    out.push(part);
    if (part === "{" || part === "[") depth += 1;
    if (part === ":") out.push(" ");
  });
  return out.join("");
}
