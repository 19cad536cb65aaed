// @ts-check
// How large the diagram is drawn in its box, and which part of it is in sight.
/** @import { createOverview } from "./overview.js" */
/** @import { Sizes } from "./sizes.js" */
import { automaticScale, fittingScale, limitsOf } from "./scale.js";

const MOST = 4; // times the least scale

/**
 * @param {HTMLElement} box
 * @param {SVGSVGElement} svg
 * @param {Sizes} sizes
 * @param {Pick<ReturnType<typeof createOverview>, "taken" | "columns" | "toggle">} overview
 * @param {{first(): void, zoomed(): void}} on  When the box has a size for the first time, and
 *   whenever the scale or the box changes.
 */
export function createZoom(box, svg, sizes, overview, on) {
  const { width, height } = svg.viewBox.baseVal;
  const font = smallestFont(svg);
  let scale = 0; // until the box has a size
  let anchor = 0; // 0 keeps what is at the top left in its place, 0.5 what is in the middle

  /** @param {{width: number, height: number}} room */
  function wanted(room) {
    const [limits, { zoom }] = [limitsOf(font, sizes.enlarged()), sizes.get()];
    if (zoom === "auto") return automaticScale({ width, height }, room, limits);
    if (zoom === "fit") return fittingScale({ width, height }, room, limits);
    return within(zoom * sizes.enlarged());
  }
  /** @param {number} target */
  function within(target) {
    const { least } = limitsOf(font, sizes.enlarged());
    return Math.max(least, Math.min(MOST * least, target));
  }

  /** Draw at the scale that the room allows; false while there is no room. */
  function settle() {
    if (!box.clientWidth) return false;
    const bar = box.offsetWidth - box.clientWidth; // the border and the place of the scroll bar
    const inner = box.offsetHeight - bar;
    const whole = box.clientWidth + overview.taken();
    const options = [0, ...overview.columns].map((column) => {
      const room = { width: whole - column, height: inner };
      const target = wanted(room);
      const isTooWide = width * target > room.width + 1;
      return { column, target, isTooWide, isTooHigh: height * target > box.offsetHeight };
    });
    const [none, strip, map] = options;
    const { column, target } = !none.isTooWide && !none.isTooHigh ? none
      : !strip.isTooWide ? strip : map;
    overview.toggle(column);
    draw(target);
    return true;
  }
  /** @param {number} target */
  function draw(target) {
    const isFirst = !scale;
    const [x, y] = [anchor * box.clientWidth, anchor * box.clientHeight];
    const place = [(box.scrollLeft + x - left()) / scale, (box.scrollTop + y) / scale];
    scale = target;
    svg.style.width = `${width * scale}px`;
    svg.style.height = `${height * scale}px`;
    anchor = 0;
    if (isFirst) on.first();
    else box.scrollTo(place[0] * scale - x + left(), place[1] * scale - y);
    on.zoomed();
  }
  /** A diagram that is narrower than its box stands in the middle. */
  const left = () => Math.max(0, (box.clientWidth - width * scale) / 2);

  const observer = new ResizeObserver(settle);
  observer.observe(box);
  const unsubscribe = sizes.subscribe(settle);
  box.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return; // a plain wheel scrolls
    event.preventDefault();
    by(event.deltaY < 0 ? 1.1 : 1 / 1.1);
  }, { passive: false });

  /** @param {number} factor */
  function by(factor) {
    if (!settle()) return;
    anchor = 0.5;
    sizes.set({ zoom: within(scale * factor) / sizes.enlarged() });
  }
  return {
    by,
    settle: () => Boolean(scale) || settle(),
    /** Show as much as fits; again, choose the size automatically. */
    fit: () => sizes.set({ zoom: sizes.get().zoom === "fit" ? "auto" : "fit" }),
    close() {
      observer.disconnect();
      unsubscribe();
    },
  };
}

/** @param {SVGSVGElement} svg */
function smallestFont(svg) {
  const fonts = [...svg.querySelectorAll("text")].map((text) =>
    parseFloat(text.getAttribute("font-size") ?? ""));
  return Math.min(...fonts.filter((font) => font > 0), 9); // 9: of flags and numbers
}
