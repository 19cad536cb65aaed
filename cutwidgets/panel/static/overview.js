// @ts-check
import { h, svgElement } from "./dom.js";
import { bounds } from "./svg.js";

const STRIP = 34; // pixels
const WIDEST = 64;
const GAP = 4; // between the diagram and its map

/**
 * A small map of a diagram that its box does not show as a whole, with the slice and the part in
 * sight. It is a strip where the diagram is only too long; where too wide, it keeps the proportions.
 * @param {HTMLElement} box
 * @param {SVGSVGElement} svg
 * @param {Element[]} cards
 */
export function createOverview(box, svg, cards) {
  const { x, y, width, height } = svg.viewBox.baseVal;
  const map = svgElement("svg", { viewBox: `${x} ${y} ${width} ${height}` });
  map.setAttribute("preserveAspectRatio", "none");
  const marks = cards.map((card) => {
    const [left, top, right, bottom] = bounds(card);
    return svgElement("rect", { x: left, y: top, width: right - left, height: bottom - top });
  });
  const place = svgElement("g", {});
  const graph = /** @type {Element | undefined} */ (cards[0]?.parentNode);
  place.setAttribute("transform", graph?.getAttribute("transform") ?? "");
  place.append(...marks);
  map.append(place);
  const sight = h("div", { class: "cw-sight" });
  const element = h("div", { class: "cw-overview", "aria-hidden": "true", hidden: "" });
  element.append(map, sight);

  function draw() {
    if (element.hidden) return;
    const [w, v] = [box.scrollWidth, box.scrollHeight];
    sight.style.left = `${100 * box.scrollLeft / w}%`;
    sight.style.top = `${100 * box.scrollTop / v}%`;
    sight.style.width = `${100 * box.clientWidth / w}%`;
    sight.style.height = `${100 * box.clientHeight / v}%`;
  }
  /** @param {(i: number) => boolean} lit */
  function show(lit) {
    marks.forEach((mark, i) => mark.classList.toggle("cw-lit", lit(i)));
  }
  /** @param {PointerEvent} event */
  function go(event) {
    if (event.type === "pointermove" && !event.buttons) return;
    const { left, top, width: wide, height: high } = element.getBoundingClientRect();
    box.scrollTo((event.clientX - left) / wide * box.scrollWidth - box.clientWidth / 2,
      (event.clientY - top) / high * box.scrollHeight - box.clientHeight / 2);
  }
  element.addEventListener("pointerdown", (event) => {
    element.setPointerCapture(event.pointerId);
    go(event);
  });
  element.addEventListener("pointermove", go);
  box.addEventListener("scroll", draw);
  return {
    element, draw, show,
    /** What the map takes of the width now. */
    taken: () => (element.hidden ? 0 : element.offsetWidth + GAP),
    /** What each kind takes of the width, narrowest first. */
    columns: [STRIP + GAP, WIDEST + GAP],
    /** Show the map that takes so much of the width, or none. @param {number} column */
    toggle(column) {
      element.hidden = !column;
      element.style.width = `${column - GAP}px`;
      element.style.aspectRatio = column > STRIP + GAP ? `${width} / ${height}` : "";
    },
    close: () => box.removeEventListener("scroll", draw),
  };
}
