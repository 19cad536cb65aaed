// @ts-check
// The room of a view: the border between diagram and tabs, its height, full screen, larger text.
/** @import { Sizes } from "./sizes.js" */
import { button, h, OWN_KEYS, svgElement } from "./dom.js";

const STACKED = 1.6; // times the height of two columns, if one stands below the other

/**
 * @param {HTMLElement} root
 * @param {HTMLElement} body
 * @param {Sizes} sizes
 * @param {number} wanted  Pixels that the diagram is wide where its text is just large enough.
 */
export function createLayout(root, body, sizes, wanted) {
  const full = createFullScreen(root);
  const large = button("Aa", "Larger text", () => sizes.set({ large: !sizes.get().large }));
  large.removeAttribute("aria-label");
  const buttons = h("span", { class: "cw-view" }, [large, full.element]);
  body.style.setProperty("--cw-wanted", `${wanted}px`);
  const share = () => sizes.get().share
    ?? (body.firstElementChild?.clientWidth ?? 0) / Math.max(1, body.clientWidth);
  const isStacked = () => getComputedStyle(divider.element).display === "none";
  const times = () => (isStacked() ? STACKED : 1);
  const height = () => sizes.get().height ?? body.offsetHeight / times();
  const divider = createSeparator("vertical", "Width of the diagram", {
    step: 0.02, unit: 100, range: sizes.shares, value: share,
    shift: (right) => right / body.clientWidth,
    set: (to) => sizes.set({ share: to }),
  });
  const handle = createSeparator("horizontal", "Height of the panel", {
    step: 20, unit: 1, range: sizes.heights, value: height,
    shift: (_, down) => down / times(),
    set: (to) => sizes.set({ height: to }),
  });

  function refresh() {
    const { share: part, height: pixels, large: isLarge } = sizes.get();
    root.classList.toggle("cw-large", isLarge);
    large.setAttribute("aria-pressed", String(isLarge));
    put("--cw-width", part === null ? null : `${100 * part}%`);
    put("--cw-height", pixels === null ? null : `${pixels}px`);
    divider.refresh();
    handle.refresh();
  }
  /** @param {string} name @param {string | null} value */
  function put(name, value) {
    if (value === null) body.style.removeProperty(name);
    else body.style.setProperty(name, value);
  }
  const unsubscribe = sizes.subscribe(refresh);
  const observer = new ResizeObserver(() => (divider.refresh(), handle.refresh()));
  observer.observe(body);
  return {
    buttons, divider: divider.element, handle: handle.element, refresh, isStacked,
    close() {
      unsubscribe();
      observer.disconnect();
      full.close();
    },
  };
}

/**
 * A border that the pointer and the arrow keys move; a double click or Enter resets it.
 * @param {"vertical" | "horizontal"} orientation
 * @param {string} label
 * @param {{step: number, unit: number, range: {min: number, max: number}, value: () => number,
 *   shift: (right: number, down: number) => number, set: (value: number | null) => void}} of
 *   `unit` is how many units of `aria-valuenow` a value has, `shift` how much pixels to the right and down change it.
 */
function createSeparator(orientation, label, { step, unit, range, value, shift, set }) {
  const element = h("div", {
    class: `cw-border cw-${orientation}`, role: "separator", tabindex: "0", "aria-label": label,
    "aria-orientation": orientation, title: `${label}: drag, or arrow keys; double click resets`,
    "aria-valuemin": Math.round(unit * range.min), "aria-valuemax": Math.round(unit * range.max),
    ...OWN_KEYS,
  });
  let from = { x: 0, y: 0, value: 0 }; // where the pointer went down
  element.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    event.preventDefault(); // or it would select text
    element.focus({ preventScroll: true });
    element.setPointerCapture(event.pointerId);
    from = { x: event.clientX, y: event.clientY, value: value() };
  });
  element.addEventListener("pointermove", (event) => {
    if (!element.hasPointerCapture(event.pointerId)) return;
    const change = shift(event.clientX - from.x, event.clientY - from.y);
    if (change) set(from.value + change);
  });
  element.addEventListener("dblclick", () => set(null));
  element.addEventListener("keydown", (event) => {
    const [less, more] = orientation === "vertical"
      ? ["ArrowLeft", "ArrowRight"] : ["ArrowUp", "ArrowDown"];
    /** @type {Record<string, number | null>} */
    const keys = { [less]: value() - step, [more]: value() + step,
      Home: range.min, End: range.max, Enter: null };
    if (!(event.key in keys) || event.ctrlKey || event.metaKey || event.altKey) return;
    set(keys[event.key]);
    event.preventDefault();
    event.stopPropagation();
  });
  return {
    element,
    refresh: () => element.setAttribute("aria-valuenow", String(Math.round(unit * value()))),
  };
}

/**
 * A button that shows a panel on the whole screen; where the page may not, over the whole page.
 * @param {HTMLElement} root
 */
function createFullScreen(root) {
  const element = button("", "", () => (isFull() ? leave() : enter()));
  const icon = svgElement("svg", { class: "cw-icon", viewBox: "0 0 12 12", "aria-hidden": "true" });
  icon.append(svgElement("path", { d: "M1 4V1h3M8 1h3v3M11 8v3H8M4 11H1V8" }));
  element.append(icon);
  const isFull = () => root.classList.contains("cw-full");

  async function enter() {
    show(true);
    try {
      await root.requestFullscreen();
    } catch { // forbidden here, or unknown
      // Above all else of the page, even out of boxes that clip or move what is inside of them.
      root.popover = "manual";
      root.showPopover?.();
    }
  }
  function leave() {
    if (document.fullscreenElement) void document.exitFullscreen();
    show(false);
  }
  /** @param {boolean} full */
  function show(full) {
    root.classList.toggle("cw-full", full);
    if (!full) root.removeAttribute("popover");
    element.setAttribute("aria-pressed", String(full));
    element.title = full ? "Leave full screen (Esc)" : "Full screen";
    element.setAttribute("aria-label", element.title);
  }
  function changed() {
    if (!document.fullscreenElement && !root.popover) show(false);
  }
  /** Before anything else hears it: Esc also clears the selection. @param {KeyboardEvent} event */
  function pressed(event) {
    if (event.key !== "Escape" || !isFull()) return;
    event.preventDefault();
    event.stopPropagation();
    leave();
  }
  document.addEventListener("fullscreenchange", changed);
  document.addEventListener("keydown", pressed, true);
  show(false);
  return {
    element,
    close() {
      if (isFull()) leave();
      document.removeEventListener("fullscreenchange", changed);
      document.removeEventListener("keydown", pressed, true);
    },
  };
}
