// @ts-check
import { h } from "./dom.js";

const TIP_AFTER = 350; // milliseconds that the pointer rests

/**
 * The tooltip of a diagram.
 * @param {HTMLElement} box
 */
export function createTip(box) {
  const element = h("div", { class: "cw-tip", role: "tooltip", hidden: "" });
  /** @type {number | undefined} */
  let timer;
  let seen = ""; // where the pointer was last
  /** @param {PointerEvent} event */
  const placeOf = (event) => `${event.clientX} ${event.clientY}`;
  box.addEventListener("pointermove", (event) => (seen = placeOf(event)));

  function hide() {
    clearTimeout(timer);
    const wasShown = !element.hidden;
    element.hidden = true;
    return wasShown;
  }
  return {
    element, hide,
    /**
     * The pointer is on a card. Where the card moved and not the pointer, it points at nothing.
     * @param {PointerEvent} event
     * @param {() => void} shown
     */
    rest(event, shown) {
      if (placeOf(event) === seen) return;
      clearTimeout(timer);
      timer = setTimeout(shown, TIP_AFTER);
    },
    /** @param {Element} card @param {HTMLElement[]} content */
    show(card, content) {
      element.replaceChildren(...content);
      element.hidden = false;
      const [place, space] = [card.getBoundingClientRect(), box.getBoundingClientRect()];
      const panel = /** @type {Element} */ (box.closest(".cw-panel")).getBoundingClientRect();
      const top = Math.min(place.top - space.top, space.height - element.offsetHeight);
      const rightmost = panel.right - space.left - element.offsetWidth;
      element.style.left = `${Math.max(0, Math.min(place.right - space.left + 12, rightmost))}px`;
      element.style.top = `${box.offsetTop + Math.max(0, top)}px`;
    },
  };
}
