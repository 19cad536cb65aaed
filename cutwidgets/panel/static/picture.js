// @ts-check
/** @import { Model } from "./types.d.ts" */

/**
 * Hides the static picture of this panel while this view of it is in the page, wherever both are.
 * The style sheet is a part of the view, so that it goes when the view goes.
 * @param {Model} model
 * @param {HTMLElement} el
 */
export function hidePicture(model, el) {
  const style = document.createElement("style");
  const own = CSS.escape(`cutwidgets-of-${model.get("_token")}`);
  style.textContent = `.${own} { display: none !important; }`;
  el.append(style);
}
