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

/** @param {string} text */
export function empty(text) {
  return h("p", { class: "cw-empty" }, text);
}

/** @param {[string, string][]} pairs */
export function facts(pairs) {
  return h("dl", {}, pairs.flatMap(([term, text]) => [h("dt", {}, term), h("dd", {}, text)]));
}

/**
 * A table whose first column names the rows.
 * @param {string} label  For screen readers.
 * @param {string[]} heads
 * @param {Child[][]} rows
 * @param {Attributes} attributes
 */
export function table(label, heads, rows, attributes = {}) {
  /** @param {Child} content @param {number} i */
  const cell = (content, i) => i ? h("td", {}, content)
    : h("th", { scope: "row", title: typeof content === "string" ? content : "" }, content);
  return scrollBox({ class: "cw-wide", role: "region", "aria-label": label }, [
    h("table", attributes, [
      h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))),
      h("tbody", {}, rows.map((cells) => h("tr", {}, cells.map(cell)))),
    ]),
  ]);
}

/**
 * A bar whose length is a share from 0 to 1.
 * @param {number} share
 */
export function bar(share) {
  const filled = h("span", { class: "cw-bar", "aria-hidden": "true" });
  filled.style.width = `${Math.max(1, 100 * share)}%`;
  return filled;
}

/**
 * A number above its bar.
 * @param {string} text
 * @param {number} share
 */
export function cost(text, share) {
  return h("span", { class: "cw-cost" }, [text, bar(share)]);
}

/**
 * Code with a button that copies it.
 * @param {string} code
 */
export function listing(code) {
  const pre = h("pre", { tabindex: "0", ...OWN_KEYS }, code);
  const copy = button("Copy", "Copy to the clipboard", async () => {
    try {
      await navigator.clipboard.writeText(code);
      copy.textContent = "Copied";
    } catch { // The page may not write to the clipboard: select the code to copy it by hand.
      getSelection()?.selectAllChildren(pre);
      copy.textContent = "Selected: press Ctrl+C";
    }
  });
  return h("div", { class: "cw-listing" }, [copy, pre]);
}

/** Images from bytes; their URLs are revoked when they are no longer shown. */
export function createPictures() {
  /** @type {string[]} */
  let urls = [];
  return {
    /** @param {BlobPart} bytes @param {string} alt */
    image(bytes, alt) {
      const src = URL.createObjectURL(new Blob([bytes], { type: "image/png" }));
      urls.push(src);
      return h("img", { src, alt });
    },
    /** @param {string} url */
    release(url) {
      URL.revokeObjectURL(url);
      urls = urls.filter((other) => other !== url);
    },
    clear() {
      urls.forEach((url) => URL.revokeObjectURL(url));
      urls = [];
    },
  };
}

/**
 * Whether an element shows bright text on a dark ground.
 * @param {Element} element
 */
export function isDark(element) {
  const [red, green, blue] = (getComputedStyle(element).color.match(/[\d.]+/g) ?? []).map(Number);
  return 0.3 * red + 0.59 * green + 0.11 * blue > 128;
}

/** @param {string} name @param {BlobPart} bytes */
export function download(name, bytes) {
  const href = URL.createObjectURL(new Blob([bytes]));
  h("a", { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 10_000);
}

/**
 * A function that draws only where a value differs from the last time. `draw` receives the first of
 * the values; the rest only tell when to draw.
 * @template {unknown[]} V
 * @param {(...values: V) => void} draw
 * @returns {(...values: [...V, ...unknown[]]) => void}
 */
export function onChange(draw) {
  /** @type {unknown[] | undefined} */
  let last;
  return (...values) => {
    if (last && values.every((value, i) => value === last?.[i])) return;
    last = values;
    draw(.../** @type {any} */ (values));
  };
}
