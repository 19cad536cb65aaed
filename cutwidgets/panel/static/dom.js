// @ts-check
// Elements of the page. Names of layers are untrusted: here they only ever become text or the value
// of an attribute.

export const OWN_KEYS = { "data-lm-suppress-shortcuts": "true" }; // no shortcuts of JupyterLab here

/**
 * @typedef {Node | string | null | undefined | false} Child
 * @typedef {Record<string, string | number | boolean>} Attributes
 */

/**
 * An HTML element. Text is never markup.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Attributes} attributes
 * @param {Child | Child[]} content
 * @returns {HTMLElementTagNameMap[T]}
 */
export function h(tag, attributes = {}, content = []) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  for (const child of [content].flat()) if (child || child === "") element.append(child);
  return element;
}

/**
 * @template {keyof SVGElementTagNameMap} T
 * @param {T} tag
 * @param {Attributes} attributes
 * @returns {SVGElementTagNameMap[T]}
 */
export function svgElement(tag, attributes = {}) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  return element;
}

/**
 * @param {string} text
 * @param {string} title
 * @param {() => void} clicked
 */
export function button(text, title, clicked) {
  const element = h("button", { type: "button", title, ...OWN_KEYS }, text);
  if (text.length === 1) element.setAttribute("aria-label", title);
  element.addEventListener("click", clicked);
  return element;
}

/**
 * A box that scrolls, and that the keyboard can therefore reach.
 * @param {Attributes} attributes
 * @param {Child | Child[]} content
 */
export function scrollBox(attributes, content) {
  return h("div", { tabindex: "0", ...OWN_KEYS, ...attributes }, content);
}
