// The page's side of CutPanel: it draws what the kernel computed and sends what was chosen.
// Names of layers are untrusted: here they only ever become text or the value of an attribute.

export default {
  render({ model, el }) {
    // Panels, and views of one panel, share a page: ids differ by view. (Each panel has a copy of
    // this module of its own, so counting would not do.)
    const panel = createPanel(model, `cutwidgets-${Math.random().toString(36).slice(2)}-`);
    el.append(panel.root);
    return panel.close;
  },
};

const BUSY_AFTER = 100; // milliseconds
const LOST_AFTER = 8000;
const TIP_AFTER = 350;
const FLAG = 34; // how much room a flag takes left of a card, in units of the SVG

function createPanel(model, prefix) {
  const blocks = model.get("_blocks");
  const position = new Map(blocks.map((block, i) => [block.name, i]));
  let pending = null; // position of the start, while the end is not chosen yet
  let busyTimer, lostTimer;

  const selection = () => model.get("selection") ?? [];
  const upToDate = (answer) => same(answer.selection, selection());
  const anchor = () => pending ?? range()?.[0];

  const diagram = createDiagram(model.get("_svg"), blocks, model.get("_name"), prefix, {
    pick: (i) => (pending === null ? begin(i) : choose(pending, i)),
    extend: (i, from = i) => choose(anchor() ?? from, i),
  });
  const controls = createControls(blocks, diagram, {
    start: (i) => (range()?.[1] >= i ? choose(i, range()[1]) : begin(i)),
    end: (i) => choose(anchor() ?? 0, i),
    clear,
  });
  const slice = createSlice(() => model.send({ ask: "text" }));
  const runner = createRunner(() => model.send({ ask: "run" }));
  const live = h("div", { class: "cw-live", "aria-live": "polite" });
  const root = h("div", { class: "cutwidgets cw-panel" }, [
    controls.row,
    controls.hint,
    h("div", { class: "cw-body" }, [
      h("div", { class: "cw-left" }, [diagram.box, diagram.tip]),
      h("div", { class: "cw-right" }, [slice.box, runner.box]),
    ]),
    live,
  ]);
  root.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.target.tagName === "SELECT") return;
    event.stopPropagation();
    clear();
  });

  // First and last block of the selection. Where it names layers, the kernel says where they are.
  function range() {
    const [start, end] = selection().map((place) => position.get(place));
    if (start !== undefined && end !== undefined) return [start, end];
    return upToDate(model.get("_result")) ? model.get("_result").range : undefined;
  }

  function begin(i) {
    pending = i;
    draw();
    live.textContent = `The slice starts with ${blocks[i].name}. Choose its end.`;
  }

  function choose(start, end) {
    send([blocks[start].name, blocks[end].name]);
  }

  function clear() {
    diagram.hideTip();
    if (pending !== null) live.textContent = "The start is taken back.";
    send(pending === null ? [] : selection());
  }

  function send(places) {
    pending = null;
    model.set("selection", places);
    model.save_changes();
    draw(); // at once: the highlight does not wait for the kernel
  }

  function draw() {
    diagram.show(range(), pending);
    controls.show(selection(), range(), pending);
  }

  function selectionChanged() {
    pending = null;
    draw();
    diagram.reveal(range());
    resultChanged();
  }

  // An answer carries the selection that it belongs to; one that was overtaken is not shown.
  function resultChanged() {
    clearTimeout(busyTimer);
    clearTimeout(lostTimer);
    const result = model.get("_result");
    if (!upToDate(result)) {
      runner.disable();
      busyTimer = setTimeout(() => root.setAttribute("aria-busy", "true"), BUSY_AFTER);
      lostTimer = setTimeout(slice.showError, LOST_AFTER,
        "No answer from the kernel yet. If it was restarted, run this cell again.");
      return;
    }
    root.removeAttribute("aria-busy");
    draw();
    slice.show(result, model.get("error"), model.get("_text"));
    runner.show(result, model.get("_features"));
    live.textContent = result.told ?? "";
    if (result.rows) root.dataset.selection = selection().join("..");
    else delete root.dataset.selection;
  }

  const listeners = {
    "change:selection": selectionChanged,
    "change:_result": resultChanged,
    "change:error": () => upToDate(model.get("_result")) && slice.showError(model.get("error")),
    "change:_features": () => runner.finish(model.get("_result"), model.get("_features")),
    "change:_text": () => slice.showText(model.get("_text")),
  };
  for (const [event, listener] of Object.entries(listeners)) model.on(event, listener);
  selectionChanged();
  return {
    root,
    close() {
      for (const [event, listener] of Object.entries(listeners)) model.off(event, listener);
      clearTimeout(busyTimer);
      clearTimeout(lostTimer);
      diagram.close();
      runner.close();
    },
  };
}

// -------------------------------------------------------------------------------- the diagram

// A listbox of blocks. It calls on.pick(i) and on.extend(i, from) and shows what it is told to.
function createDiagram(source, blocks, name, prefix, on) {
  const { svg, graph, parts } = readSvg(source, prefix);
  const cards = blocks.map((_, i) => parts.get(`block-${i}`));
  const flags = svgElement("g", { "aria-hidden": "true" });
  const tip = h("div", { class: "cw-tip", role: "tooltip", hidden: "" });
  const box = h("div", {
    class: "cw-diagram",
    tabindex: "0",
    role: "listbox",
    "aria-label": `Blocks of ${name}`,
    "aria-multiselectable": "true",
    "data-lm-suppress-shortcuts": "true",
  }, [svg]);
  let active = 0; // the block that the keyboard is at
  let firstEnd = 0; // blocks before this one cannot be the end
  let tipTimer;

  for (const element of graph.children) element.setAttribute("aria-hidden", "true");
  graph.append(...cards, flags); // options in the order of the model
  cards.forEach((card, i) => {
    card.removeAttribute("aria-hidden");
    card.setAttribute("role", "option");
    card.setAttribute("data-block", blocks[i].name);
    card.addEventListener("click", (event) => {
      activate(i);
      hideTip();
      (event.shiftKey ? on.extend : on.pick)(i);
    });
    card.addEventListener("pointerenter", () => {
      clearTimeout(tipTimer);
      tipTimer = setTimeout(showTip, TIP_AFTER, i);
    });
    card.addEventListener("pointerleave", hideTip);
  });

  const refusal = (i) =>
    i < firstEnd ? `Cannot be the end: it comes before the start, ${blocks[firstEnd].name}.` : "";

  function show(range, pending) {
    const [start, end] = pending === null ? (range ?? [0, -1]) : [pending, pending];
    firstEnd = pending ?? 0;
    blocks.forEach((block, i) => {
      const lit = start <= i && i <= end;
      for (const kind of ["block", "joint", "spine", "shortcut", "branch"]) {
        parts.get(`${kind}-${i}`)?.classList.toggle("cw-lit", lit);
        parts.get(`${kind}-${i}`)?.classList.toggle("cw-greyed", i < firstEnd);
      }
      cards[i].setAttribute("aria-selected", lit);
      cards[i].setAttribute("aria-disabled", i < firstEnd);
      cards[i].setAttribute("aria-label", `${block.name}: ${block.about} ${refusal(i)}`.trim());
    });
    svg.classList.toggle("cw-chosen", pending === null && start <= end);
    flags.replaceChildren();
    const apart = start === end && pending === null ? 6 : 0;
    if (start <= end) flags.append(flag(cards[start], "START", -apart));
    if (start <= end && pending === null) flags.append(flag(cards[end], "END", apart));
  }

  function activate(i) {
    cards[active].classList.remove("cw-active");
    active = Math.max(0, Math.min(blocks.length - 1, i));
    cards[active].classList.add("cw-active");
    box.setAttribute("aria-activedescendant", cards[active].id);
  }

  function scrollTo(card) {
    const [inner, outer] = [card.getBoundingClientRect(), box.getBoundingClientRect()];
    const margin = 40;
    if (inner.top < outer.top + margin) box.scrollTop += inner.top - outer.top - margin;
    const below = inner.bottom - outer.bottom + margin;
    if (below > 0) box.scrollTop += below;
  }

  function showTip(i) {
    tip.replaceChildren(
      h("strong", {}, blocks[i].name),
      h("p", {}, `${blocks[i].about} ${refusal(i)}`),
      h("ul", {}, blocks[i].layers.map((layer) => h("li", {}, layer))),
    );
    tip.hidden = false;
    const [card, space] = [cards[i].getBoundingClientRect(), box.getBoundingClientRect()];
    const top = Math.min(card.top - space.top, space.height - tip.offsetHeight);
    const rightmost = tip.closest(".cw-panel").clientWidth - tip.offsetWidth;
    tip.style.left = `${Math.min(card.right - space.left + 12, rightmost)}px`;
    tip.style.top = `${Math.max(0, top)}px`;
  }

  function hideTip() {
    clearTimeout(tipTimer);
    tip.hidden = true;
  }

  box.addEventListener("keydown", (event) => {
    const steps = { ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1 };
    const ends = { Home: 0, End: blocks.length - 1 };
    const from = active;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in steps || event.key in ends) {
      activate(ends[event.key] ?? active + steps[event.key]);
      scrollTo(cards[active]);
      showTip(active);
      if (event.shiftKey) on.extend(active, from);
    } else if (event.key === " " || event.key === "Enter") {
      hideTip();
      (event.shiftKey ? on.extend : on.pick)(active);
    } else return;
    event.preventDefault(); // neither scrolls the page, nor reaches JupyterLab's shortcuts
    event.stopPropagation();
  });
  box.addEventListener("blur", hideTip);
  box.addEventListener("pointerdown", (event) => {
    if (!event.shiftKey) return;
    event.preventDefault(); // or JupyterLab selects all cells up to this one
    box.focus();
  });
  activate(0);

  const zoom = createZoom(box, svg, hideTip);
  // Scroll to a range that was chosen elsewhere; who clicks in the diagram sees one end of it.
  function reveal(range) {
    if (!range?.every((i) => i in cards)) return;
    const { top, bottom } = box.getBoundingClientRect();
    const seen = range.map((i) => cards[i].getBoundingClientRect());
    if (!seen.some((card) => card.bottom > top && card.top < bottom)) scrollTo(cards[range[0]]);
  }
  const close = () => (zoom.close(), hideTip());
  return { box, tip, show, reveal, hideTip, zoom, close };
}

function createZoom(box, svg, zoomed) {
  const { width, height } = svg.viewBox.baseVal;
  let scale = 1;
  let automatic = true;

  function set(wanted) {
    scale = Math.max(0.1, Math.min(4, wanted));
    svg.style.width = `${width * scale}px`;
    svg.style.height = `${height * scale}px`;
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
  // Until somebody zooms, the diagram is as wide as its box, within what is pleasant to read.
  const resized = new ResizeObserver(() => {
    if (automatic && box.clientWidth) set(Math.min(1.25, box.clientWidth / width));
  });
  resized.observe(box);
  box.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return; // a plain wheel scrolls
    event.preventDefault();
    by(event.deltaY < 0 ? 1.1 : 1 / 1.1);
  }, { passive: false });
  return { by, fit, close: () => resized.disconnect() };
}

// The SVG as an element of this page: nothing that could run, and ids of this view only.
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

// A flag left of a card, so that start and end do not depend on seeing a colour.
function flag(card, text, shift) {
  const numbers = card.querySelector("path").getAttribute("d").match(/-?[\d.]+/g).map(Number);
  const x = Math.min(...numbers.filter((_, i) => i % 2 === 0)) - FLAG;
  const heights = numbers.filter((_, i) => i % 2 === 1);
  const y = (Math.min(...heights) + Math.max(...heights)) / 2 + shift;
  const outline = [[0, -5.5], [26, -5.5], [32, 0], [26, 5.5], [0, 5.5]];
  const points = outline.map(([dx, dy]) => `${x + dx},${y + dy}`).join(" ");
  const label = svgElement("text", { x: x + 14, y: y + 2.5, "text-anchor": "middle" });
  label.textContent = text;
  const group = svgElement("g", { class: "cw-flag" });
  group.append(svgElement("polygon", { points }), label);
  return group;
}

// ------------------------------------------------------------------------------- the controls

function createControls(blocks, diagram, on) {
  const start = createChoice("Start", blocks, on.start);
  const end = createChoice("End", blocks, on.end);
  const clear = button("Clear", "Clear the selection (Esc)", on.clear);
  const row = h("div", { class: "cw-controls", role: "group", "aria-label": "Slice and zoom" }, [
    start.label,
    end.label,
    clear,
    h("span", { class: "cw-space" }),
    button("−", "Zoom out", () => diagram.zoom.by(1 / 1.25)),
    button("Fit", "Show the whole diagram", diagram.zoom.fit),
    button("+", "Zoom in", () => diagram.zoom.by(1.25)),
  ]);
  const hint = h("p", { class: "cw-hint", "data-part": "hint" });

  function show(selection, range, pending) {
    start.show(pending === null ? selection[0] : blocks[pending].name, 0);
    end.show(pending === null ? selection[1] : undefined, pending ?? range?.[0] ?? 0);
    clear.disabled = pending === null && !selection.length;
    clear.textContent = pending === null ? "Clear" : "Cancel";
    hint.textContent =
      pending !== null
        ? `Start: ${blocks[pending].name}. Click the block that the slice ends with. Esc cancels.`
        : selection.length
          ? "Click a block for a new start. Shift+click moves the end. Esc clears."
          : "Click the block that the slice starts with, then the one that it ends with.";
  }
  return { row, hint, show };
}

function createChoice(name, blocks, chosen) {
  const other = h("option", { value: "" }); // for no place, and for a place inside a block
  const options = blocks.map((block, i) => h("option", { value: i }, block.name));
  const select = h("select", {
    "data-part": name.toLowerCase(),
    "data-lm-suppress-shortcuts": "true",
  }, [other, ...options]);
  select.addEventListener("change", () => select.value && chosen(Number(select.value)));

  function show(place, first) {
    const i = blocks.findIndex((block) => block.name === place);
    other.textContent = i < 0 && place !== undefined ? String(place) : "choose…";
    select.selectedIndex = i + 1;
    options.forEach((option, j) => (option.disabled = j < first));
  }
  return { label: h("label", {}, [`${name} `, select]), show };
}

// ---------------------------------------------------------------------------------- the slice

function createSlice(askForText) {
  const error = h("div", { class: "cw-error", "data-part": "error", role: "alert" });
  const summary = h("div", { "data-part": "summary" });
  const box = scrollBox("cw-slice", "The slice", [error, summary]);
  let details, shown;

  function show(result, message, text) {
    shown = result.selection;
    showError(message);
    if (!result.rows) {
      const text = message ? "" : "No slice yet: choose its start and its end in the diagram.";
      summary.replaceChildren(h("p", { class: "cw-empty" }, text));
      return;
    }
    const wasOpen = details?.open;
    const pre = h("pre", { tabindex: "0", "data-lm-suppress-shortcuts": "true" }, "…");
    details = h("details", {}, [h("summary", {}, "Layer by layer, as Keras prints it"), pre]);
    details.addEventListener("toggle", () => details.open && askForText());
    details.open = Boolean(wasOpen);
    summary.replaceChildren(
      h("h3", {}, result.title),
      facts(result.facts),
      h("p", { class: result.exact ? "cw-note cw-exact" : "cw-note cw-inexact" }, result.note),
      table(["Block", "Output", "Parameters"], result.rows),
      details,
      h("p", { class: "cw-aside" }, result.aside),
    );
    showText(text);
  }

  function showError(message) {
    if (error.textContent === message) return;
    error.textContent = message;
    if (message) box.scrollTop = 0; // where the message is
  }

  function showText({ selection, text }) {
    if (details && same(selection, shown)) details.querySelector("pre").textContent = text;
  }
  return { box, show, showError, showText };
}

function createRunner(askForRun) {
  const run = button("Run", "Run the slice on the photograph", start);
  const features = h("div", { class: "cw-features", "data-part": "features" });
  const head = h("div", { class: "cw-run" }, [run]);
  const box = scrollBox("cw-runner", "Forward pass", [head, features]);
  let urls = [];
  let busy = false;
  run.dataset.part = "run";

  function start() {
    if (busy) return;
    setBusy(true);
    askForRun();
  }

  function setBusy(now) {
    busy = now;
    run.textContent = busy ? "Running…" : "Run";
    run.setAttribute("aria-disabled", busy);
    box.setAttribute("aria-busy", busy);
  }

  function finish(result, answer) {
    setBusy(false);
    show(result, answer);
  }

  function show(result, answer) {
    run.disabled = !result.rows;
    urls.forEach(URL.revokeObjectURL);
    urls = [];
    if (!answer.picture || !same(answer.selection, result.selection)) {
      const text = "The head computes the slice's input from a photograph, then the slice runs.";
      features.replaceChildren(h("p", { class: "cw-empty" }, text));
      return;
    }
    const photo = answer.photo && image(answer.photo, "The photograph, as the model sees it");
    features.replaceChildren(
      h("div", { class: "cw-seen" }, [photo, facts(answer.facts)]),
      image(answer.picture, answer.alt),
      h("p", { class: "cw-aside" }, answer.alt),
    );
  }

  function image(bytes, alt) {
    urls.push(URL.createObjectURL(new Blob([bytes], { type: "image/png" })));
    return h("img", { src: urls.at(-1), alt });
  }

  const disable = () => (run.disabled = true);
  const close = () => urls.forEach(URL.revokeObjectURL);
  return { box, show, finish, disable, close };
}

// ------------------------------------------------------------------------------ small helpers

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
  const element = h("button", { type: "button", title, "data-lm-suppress-shortcuts": "true" }, text);
  if (text.length === 1) element.setAttribute("aria-label", title);
  element.addEventListener("click", clicked);
  return element;
}

// A box that scrolls, and that the keyboard can therefore reach.
function scrollBox(name, label, content) {
  const attributes = { class: name, role: "group", "aria-label": label, tabindex: "0" };
  return h("div", { ...attributes, "data-lm-suppress-shortcuts": "true" }, content);
}

function facts(pairs) {
  return h("dl", {}, pairs.flatMap(([term, text]) => [h("dt", {}, term), h("dd", {}, text)]));
}

function table(heads, rows) {
  const row = (tag, cells) => h("tr", {}, cells.map((cell) => h(tag, {}, cell)));
  return h("table", {}, [
    h("thead", {}, row("th", heads)),
    h("tbody", {}, rows.map((cells) => row("td", cells))),
  ]);
}

function same(a, b) {
  return a?.length === b?.length && a.every((item, i) => item === b[i]);
}
