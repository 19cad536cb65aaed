// @ts-check
// Graphviz's SVG as an element of the page.
/** @import { Value } from "./types.d.ts" */
import { svgElement } from "./dom.js";

export const FLAG = 50; // width of a flag left of a card, in units of the SVG

/**
 * The SVG without anything executable, and with ids of this view.
 * @param {string} source
 * @param {string} prefix
 */
export function readSvg(source, prefix) {
  const parsed = new DOMParser().parseFromString(source, "image/svg+xml").documentElement;
  const svg = /** @type {SVGSVGElement} */ (/** @type {unknown} */ (document.adoptNode(parsed)));
  /** @type {Map<string, Element>} */
  const parts = new Map();
  for (const element of svg.querySelectorAll("script, foreignObject, title")) element.remove();
  for (const element of [svg, ...svg.querySelectorAll("*")]) {
    for (const { name } of [...element.attributes]) {
      if (/^on|href$/i.test(name)) element.removeAttribute(name);
    }
    if (!element.id) continue;
    parts.set(element.id, element);
    element.id = prefix + element.id;
  }
  const graph = /** @type {SVGGElement} */ (svg.querySelector("g"));
  const { x, y, width, height } = svg.viewBox.baseVal;
  svg.setAttribute("viewBox", `${x - FLAG} ${y} ${width + FLAG} ${height}`);
  svg.setAttribute("role", "presentation");
  graph.setAttribute("role", "presentation");
  return { svg, graph, parts };
}

/**
 * Left, top, right and bottom of a card: its outline is a path, a polygon or an ellipse.
 * @param {Element} card
 */
export function bounds(card) {
  const outline = /** @type {Element} */ (card.querySelector("path, polygon, ellipse"));
  if (outline.tagName === "ellipse") {
    const [cx, cy, rx, ry] = ["cx", "cy", "rx", "ry"].map((n) => Number(outline.getAttribute(n)));
    return [cx - rx, cy - ry, cx + rx, cy + ry];
  }
  const text = outline.getAttribute("d") ?? outline.getAttribute("points") ?? "";
  const numbers = (text.match(/-?[\d.]+/g) ?? []).map(Number);
  const [xs, ys] = [0, 1].map((odd) => numbers.filter((_, i) => i % 2 === odd));
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
}

/**
 * A flag left of a card, so that start and end show without colour.
 * @param {Element} card
 * @param {string} text
 * @param {number} shift  How far below the card's middle.
 */
export function flag(card, text, shift) {
  const [left, top, , bottom] = bounds(card);
  const [x, y] = [left - FLAG, (top + bottom) / 2 + shift];
  const outline = [[0, -7], [39, -7], [46, 0], [39, 7], [0, 7]];
  const points = outline.map(([dx, dy]) => `${x + dx},${y + dy}`).join(" ");
  const label = svgElement("text", { x: x + 20, y: y + 3.2, "text-anchor": "middle" });
  label.textContent = text;
  const group = svgElement("g", { class: "cw-flag" });
  group.append(svgElement("polygon", { points }), label);
  return group;
}

/**
 * A number left of a card, on a coloured pill.
 * @param {Element} card
 * @param {Value} value
 */
export function pill(card, { text, fill, ink }) {
  const [left, top, , bottom] = bounds(card);
  const [x, y] = [left - FLAG + 2, (top + bottom) / 2];
  const outline = svgElement("rect", { x, y: y - 7, width: 45, height: 14, rx: 3, fill });
  const label = svgElement("text", { x: x + 22.5, y: y + 3.2, "text-anchor": "middle" });
  label.textContent = text;
  label.style.fill = ink;
  if (text.length > 7) {
    label.setAttribute("textLength", "41");
    label.setAttribute("lengthAdjust", "spacingAndGlyphs");
  }
  const group = svgElement("g", { class: "cw-pill" });
  group.append(outline, label);
  return group;
}
