// The page's side of CutPanel: it draws what the kernel computed, and sends what the user chose.
// Names of layers are untrusted: here they only ever become text or the value of an attribute.
// All files of this folder are parts of one module; panel/page.py joins them.

const BUSY_AFTER = 100; // milliseconds
const LOST_AFTER = 8000;
const LONG_AFTER = 60_000; // for answers that may take long
const TIP_AFTER = 350;
const LARGEST_UPLOAD = 8e6; // bytes: the limit of a message on a notebook's connection
const OWN_KEYS = { "data-lm-suppress-shortcuts": "true" }; // no shortcuts here

// An HTML element; `content` is text, or a list of elements and texts. Text is never markup.
function h(tag, attributes = {}, content = []) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...[content].flat().filter((child) => child !== null && child !== undefined));
  return element;
}

function svgElement(tag, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function button(text, title, clicked) {
  const element = h("button", { type: "button", title, ...OWN_KEYS }, text);
  if (text.length === 1) element.setAttribute("aria-label", title);
  element.addEventListener("click", clicked);
  return element;
}

// A box that scrolls, and that the keyboard can therefore reach.
function scrollBox(attributes, content) {
  return h("div", { tabindex: "0", ...OWN_KEYS, ...attributes }, content);
}

function facts(pairs) {
  return h("dl", {}, pairs.flatMap(([term, text]) => [h("dt", {}, term), h("dd", {}, text)]));
}

function table(heads, rows, attributes = {}) {
  const cell = (content, i) => h(i ? "td" : "th", i ? {} : { scope: "row", title: content }, content);
  return h("div", { class: "cw-wide" }, [
    h("table", attributes, [
      h("thead", {}, [h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))]),
      h("tbody", {}, rows.map((cells) => h("tr", {}, cells.map(cell)))),
    ]),
  ]);
}

// A progress bar for a step of unknown length.
function progress(words) {
  return h("div", { class: "cw-progress" }, [h("progress", { "aria-label": words }), words]);
}

// Images from bytes; their URLs are revoked when they are no longer shown.
function createPictures() {
  let urls = [];
  function image(bytes, alt) {
    urls.push(URL.createObjectURL(new Blob([bytes], { type: "image/png" })));
    return h("img", { src: urls.at(-1), alt });
  }
  function release(url) {
    URL.revokeObjectURL(url);
    urls = urls.filter((other) => other !== url);
  }
  function clear() {
    urls.forEach(URL.revokeObjectURL);
    urls = [];
  }
  return { image, release, clear };
}

function download(name, bytes) {
  const href = URL.createObjectURL(new Blob([bytes]));
  h("a", { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 10_000);
}

// 25557032 as "25.6 M".
function short(count) {
  for (const [value, unit] of [[1e12, " T"], [1e9, " G"], [1e6, " M"], [1e3, " k"]]) {
    if (count >= 0.9995 * value) return `${Number((count / value).toPrecision(3))}${unit}`;
  }
  return String(count);
}

// "a to b", or only "a" where start and end are the same.
function titleOf([start, end]) {
  return start === end ? `${start}` : `${start} to ${end}`;
}

function same(a, b) {
  return a?.length === b?.length && a.every((item, i) => item === b[i]);
}
