// @ts-check
import { h, svgElement } from "./dom.js";
import { bounds } from "./svg.js";

/**
 * A small map of a long diagram, with the slice and the part in sight.
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
    // It narrows the diagram, which then shrinks: once shown, it stays a little longer.
    element.hidden = box.scrollHeight < (element.hidden ? 2 : 1.7) * box.clientHeight;
    if (element.hidden) return;
    const ratio = box.clientHeight / box.scrollHeight;
    sight.style.top = `${100 * box.scrollTop / box.scrollHeight}%`;
    sight.style.height = `${100 * ratio}%`;
  }
  /** @param {(i: number) => boolean} lit */
  function show(lit) {
    marks.forEach((mark, i) => mark.classList.toggle("cw-lit", lit(i)));
  }
  /** @param {PointerEvent} event */
  function go(event) {
    if (event.type === "pointermove" && !event.buttons) return;
    const { top, height: all } = element.getBoundingClientRect();
    box.scrollTop = (event.clientY - top) / all * box.scrollHeight - box.clientHeight / 2;
  }
  element.addEventListener("pointerdown", (event) => {
    element.setPointerCapture(event.pointerId);
    go(event);
  });
  element.addEventListener("pointermove", go);
  box.addEventListener("scroll", draw);
  return { element, draw, show, close: () => box.removeEventListener("scroll", draw) };
}
