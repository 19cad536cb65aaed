// ---------------------------------------------------------------------------------- a diagram

const FLAG = 34; // width of a flag left of a card, in units of the SVG

// A listbox of blocks, or of the layers of one. It calls on.pick(name), on.extend(name, from),
// on.open(name) and on.back(); its show() draws the state.
function createDiagram(source, items, { label, prefix, attribute, id }, on) {
  const { svg, graph, parts } = readSvg(source, prefix);
  const cards = items.map((item, i) => parts.get(id(item, i)));
  const flags = svgElement("g", { "aria-hidden": "true" });
  const pills = svgElement("g", { "aria-hidden": "true" });
  const tip = h("div", { class: "cw-tip", role: "tooltip", hidden: "" });
  const box = h("div", {
    class: "cw-diagram",
    tabindex: "0",
    role: "listbox",
    "aria-label": label,
    "aria-multiselectable": "true",
    ...OWN_KEYS,
  }, [svg]);
  let active = 0; // the card with the keyboard focus
  let values = []; // measurements of the blocks: {text, words, fill, ink}, or null
  let reason = () => null; // why a card cannot be chosen: a text, and the edges to highlight
  let tipTimer;

  for (const element of graph.children) element.setAttribute("aria-hidden", "true");
  graph.append(...cards, pills, flags); // options in the order of the model
  cards.forEach((card, i) => {
    card.removeAttribute("aria-hidden");
    card.setAttribute("role", "option");
    card.setAttribute(items[i].attribute ?? attribute, items[i].name);
    card.addEventListener("click", (event) => {
      activate(i);
      hideTip();
      (event.shiftKey ? on.extend : on.pick)(items[i].name, items[i].name);
    });
    card.addEventListener("pointerenter", () => {
      clearTimeout(tipTimer);
      tipTimer = setTimeout(showTip, TIP_AFTER, i);
    });
    card.addEventListener("pointerleave", hideTip);
  });
  const overview = createOverview(box, svg, cards);
  const zoom = createZoom(box, svg, () => (hideTip(), overview.draw()));

  // What to show: lit(i), reason(i), chosen, flags as [[i, text]…], edges that cross the cut,
  // values of the blocks.
  function show(view) {
    reason = view.reason;
    values = view.values ?? [];
    items.forEach((item, i) => {
      const lit = view.lit(i);
      const refusal = reason(i);
      const number = id(item, i).replace(/^\D+/, "");
      for (const kind of ["block", "joint", "spine", "shortcut", "branch"]) {
        parts.get(`${kind}-${number}`)?.classList.toggle("cw-lit", lit);
        parts.get(`${kind}-${number}`)?.classList.toggle("cw-greyed", Boolean(refusal));
      }
      cards[i].classList.toggle("cw-lit", lit);
      cards[i].classList.toggle("cw-greyed", Boolean(refusal));
      cards[i].setAttribute("aria-selected", lit);
      cards[i].setAttribute("aria-disabled", Boolean(refusal));
      cards[i].setAttribute("aria-label", `${items[i].name}: ${describe(i, refusal)}`);
      if (values[i]) cards[i].dataset.value = values[i].text;
      else delete cards[i].dataset.value;
    });
    pills.replaceChildren(...cards.flatMap((card, i) => (values[i] ? [pill(card, values[i])] : [])));
    svg.classList.toggle("cw-chosen", view.chosen);
    flags.replaceChildren();
    const both = view.flags.length > 1 && view.flags[0][0] === view.flags[1][0];
    view.flags.forEach(([i, text], k) => {
      const apart = values[i] ? 12 : both ? 6 : 0;
      flags.append(flag(cards[i], text, k ? apart : -apart));
    });
    mark("cw-crossing", view.crossing);
    overview.show(view.lit);
  }

  function describe(i, refusal) {
    return [items[i].about, values[i]?.words, refusal?.text].filter(Boolean).join(" ");
  }

  function mark(name, edges = []) {
    for (const [own, element] of parts) element.classList.toggle(name, edges.includes(own));
  }

  function activate(i) {
    cards[active]?.classList.remove("cw-active");
    active = Math.max(0, Math.min(items.length - 1, i));
    if (!cards.length) return;
    cards[active].classList.add("cw-active");
    box.setAttribute("aria-activedescendant", cards[active].id);
    on.activate(items[active].name);
  }

  function scrollTo(card) {
    const [inner, outer] = [card.getBoundingClientRect(), box.getBoundingClientRect()];
    const margin = 40;
    if (inner.top < outer.top + margin) box.scrollTop += inner.top - outer.top - margin;
    const below = inner.bottom - outer.bottom + margin;
    if (below > 0) box.scrollTop += below;
  }

  function showTip(i) {
    const { name, layers } = items[i];
    const refusal = reason(i);
    tip.replaceChildren(
      h("strong", {}, name),
      h("p", {}, describe(i, refusal)),
      h("ul", {}, layers.map((layer) => h("li", {}, layer))),
    );
    mark("cw-hinted", refusal?.edges);
    tip.hidden = false;
    const [card, space] = [cards[i].getBoundingClientRect(), box.getBoundingClientRect()];
    const top = Math.min(card.top - space.top, space.height - tip.offsetHeight);
    const rightmost = box.closest(".cw-panel").getBoundingClientRect().right - space.left;
    tip.style.left = `${Math.min(card.right - space.left + 12, rightmost - tip.offsetWidth)}px`;
    tip.style.top = `${box.offsetTop + Math.max(0, top)}px`;
  }

  function hideTip() {
    clearTimeout(tipTimer);
    if (!tip.hidden) mark("cw-hinted");
    tip.hidden = true;
  }

  box.addEventListener("keydown", (event) => {
    const steps = { ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1 };
    const ends = { Home: 0, End: items.length - 1 };
    const from = items[active]?.name;
    if (event.ctrlKey || event.metaKey || event.altKey || !cards.length) return;
    if (event.key in steps || event.key in ends) {
      activate(ends[event.key] ?? active + steps[event.key]);
      scrollTo(cards[active]);
      showTip(active);
      if (event.shiftKey) on.extend(items[active].name, from);
    } else if (event.key === " " || event.key === "Enter") {
      hideTip();
      (event.shiftKey ? on.extend : on.pick)(from, from);
    } else if (event.key.toLowerCase() === "o") on.open(from);
    else if (event.key === "Backspace") on.back();
    else return;
    event.preventDefault(); // neither scrolls the page, nor reaches JupyterLab's shortcuts
    event.stopPropagation();
  });
  box.addEventListener("blur", hideTip);
  box.addEventListener("pointerdown", (event) => {
    if (!event.shiftKey) return;
    event.preventDefault(); // or JupyterLab selects all cells up to this one
    box.focus();
  });
  if (cards.length) activate(0);

  // Scroll to a selection made elsewhere; after a click in the diagram, one end is in sight.
  function reveal(chosen) {
    if (!chosen?.length || !chosen.every((i) => i in cards)) return;
    const { top, bottom } = box.getBoundingClientRect();
    const places = chosen.map((i) => cards[i].getBoundingClientRect());
    if (!places.some((card) => card.bottom > top && card.top < bottom)) scrollTo(cards[chosen[0]]);
  }
  function goTo(name) {
    const i = items.findIndex((item) => item.name === name);
    if (i < 0) return;
    activate(i);
    scrollTo(cards[i]);
    box.focus({ preventScroll: true });
  }
  const close = () => (zoom.close(), overview.close(), hideTip());
  const has = (name) => parts.has(name);
  return { box, tip, overview: overview.element, show, has, reveal, goTo, hideTip, zoom, close };
}

function createZoom(box, svg, zoomed) {
  const { width, height } = svg.viewBox.baseVal;
  let scale = 1;
  let automatic = true;

  function set(target) {
    const middle = (box.scrollTop + box.clientHeight / 2) / scale;
    scale = Math.max(0.05, Math.min(4, target));
    svg.style.width = `${width * scale}px`;
    svg.style.height = `${height * scale}px`;
    box.scrollTop = middle * scale - box.clientHeight / 2;
    zoomed();
  }
  function by(factor) {
    automatic = false;
    set(scale * factor);
  }
  function fit() {
    automatic = false;
    set(Math.min(box.clientWidth / width, box.clientHeight / height));
  }
  // Until the user zooms, the diagram is as wide as its box, if the text stays readable.
  const resized = new ResizeObserver(() => {
    if (!automatic || !box.clientWidth) return;
    const top = box.scrollTop;
    set(Math.max(0.75, Math.min(1.25, box.clientWidth / width)));
    box.scrollTop = top;
  });
  resized.observe(box);
  box.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return; // a plain wheel scrolls
    event.preventDefault();
    by(event.deltaY < 0 ? 1.1 : 1 / 1.1);
  }, { passive: false });
  return { by, fit, close: () => resized.disconnect() };
}

// A small map of a long diagram, with the slice and the part in sight.
function createOverview(box, svg, cards) {
  const { x, y, width, height } = svg.viewBox.baseVal;
  const map = svgElement("svg", { viewBox: `${x} ${y} ${width} ${height}` });
  map.setAttribute("preserveAspectRatio", "none");
  const marks = cards.map((card) => {
    const [left, top, right, bottom] = bounds(card);
    return svgElement("rect", { x: left, y: top, width: right - left, height: bottom - top });
  });
  const place = svgElement("g", {});
  place.setAttribute("transform", cards[0]?.parentNode.getAttribute("transform") ?? "");
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
  function show(lit) {
    marks.forEach((mark, i) => mark.classList.toggle("cw-lit", lit(i)));
  }
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

// The SVG as an element of this page: without anything executable, and with ids of this view.
function readSvg(source, prefix) {
  const parsed = new DOMParser().parseFromString(source, "image/svg+xml").documentElement;
  const svg = document.importNode(parsed, true);
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
  const graph = svg.querySelector("g");
  const { x, y, width, height } = svg.viewBox.baseVal;
  svg.setAttribute("viewBox", `${x - FLAG} ${y} ${width + FLAG} ${height}`);
  svg.setAttribute("role", "presentation");
  graph.setAttribute("role", "presentation");
  return { svg, graph, parts };
}

// Left, top, right and bottom of a card: its outline is a path or a polygon.
function bounds(card) {
  const outline = card.querySelector("path, polygon, ellipse");
  if (outline.tagName === "ellipse") {
    const [cx, cy, rx, ry] = ["cx", "cy", "rx", "ry"].map((n) => Number(outline.getAttribute(n)));
    return [cx - rx, cy - ry, cx + rx, cy + ry];
  }
  const text = outline.getAttribute("d") ?? outline.getAttribute("points");
  const numbers = text.match(/-?[\d.]+/g).map(Number);
  const [xs, ys] = [0, 1].map((odd) => numbers.filter((_, i) => i % 2 === odd));
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
}

// A flag left of a card, so that start and end show without colour.
function flag(card, text, shift) {
  const [left, top, , bottom] = bounds(card);
  const [x, y] = [left - FLAG, (top + bottom) / 2 + shift];
  const outline = [[0, -5.5], [26, -5.5], [32, 0], [26, 5.5], [0, 5.5]];
  const points = outline.map(([dx, dy]) => `${x + dx},${y + dy}`).join(" ");
  const label = svgElement("text", { x: x + 14, y: y + 2.5, "text-anchor": "middle" });
  label.textContent = text;
  const group = svgElement("g", { class: "cw-flag" });
  group.append(svgElement("polygon", { points }), label);
  return group;
}

// A number left of a card, on a coloured pill.
function pill(card, { text, fill, ink }) {
  const [left, top, , bottom] = bounds(card);
  const [x, y] = [left - FLAG + 1, (top + bottom) / 2];
  const outline = svgElement("rect", { x, y: y - 6, width: 30, height: 12, rx: 3, fill });
  const label = svgElement("text", { x: x + 15, y: y + 2.5, "text-anchor": "middle" });
  label.textContent = text;
  label.style.fill = ink;
  if (text.length > 6) {
    label.setAttribute("textLength", 27);
    label.setAttribute("lengthAdjust", "spacingAndGlyphs");
  }
  const group = svgElement("g", { class: "cw-pill" });
  group.append(outline, label);
  return group;
}
