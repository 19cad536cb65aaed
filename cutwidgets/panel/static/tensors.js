// @ts-check
// A picture of one tensor: maps, a heat map, lines, bars or cells. panel/tensor_views.py chooses
// the kind and prepares the data; here they are drawn, with axes and numbers.
import { SCALE } from "./colours.js";
import { button, h, OWN_KEYS, scrollBox, svgElement } from "./dom.js";

/**
 * What panel/tensor_views.py says of a tensor. Which keys there are depends on `view`.
 * @typedef {object} TensorData
 * @property {"maps" | "sequence" | "signal" | "profile" | "vector" | "tokens" | "empty"} view
 * @property {string} words  A few words beside the title.
 * @property {string} alt  The same for those who do not see the picture.
 * @property {string[]} notes  What the picture leaves out.
 * @property {number} first  The first channel that is drawn.
 * @property {number} channels  How many there are.
 * @property {BlobPart} [picture]  A PNG file, a pixel for each value.
 * @property {number} [columns]  Of maps in the picture.
 * @property {[number, number]} [drawn]  Width and height of a map in the picture.
 * @property {[number, number]} [size]  The same in the tensor.
 * @property {TensorRange[]} [scales]  Of each map.
 * @property {TensorRange} [range]  Of all that is drawn.
 * @property {string[]} [places]  Where in the tensor each map is, as NumPy writes it.
 * @property {string} [along]  What numbers are counted by.
 * @property {number} [length]  Of the lines.
 * @property {TensorLine[]} [lines]
 * @property {(number | null)[]} [values]
 * @property {string[]} [texts]  The same, as texts.
 * @property {string[]} [cells]
 * @property {number[]} [padded]  Which of the cells are padding.
 */

/**
 * Smallest and largest value; null if none is finite.
 * @typedef {[number | null, number | null]} TensorRange
 */

/**
 * Where a line has more values than there is room for, `mean` is that of each part.
 * @typedef {object} TensorLine
 * @property {string} title
 * @property {TensorRange} range
 * @property {number | null} average  Of all values.
 * @property {(number | null)[]} mean
 * @property {(number | null)[]} [low]
 * @property {(number | null)[]} [high]
 */

/**
 * An axis from `low` to `high`, with ticks from 0 to 1.
 * @typedef {object} TensorAxis
 * @property {string} label
 * @property {number} low
 * @property {number} high
 * @property {boolean} upwards  Whether it begins at the bottom, if it stands upright.
 * @property {{ at: number, text: string }[]} ticks
 */

/** @type {Record<string, string>} */
const TENSOR_NAMES = {
  input: "Slice input", output: "Slice output", before: "Before", after: "After", heat: "Heat",
};

/**
 * A view of a tensor. `update` draws other data of the same tensor, such as other channels.
 * @param {string} which  "input", "output", "before", "after" or "heat"; of several ends, "output C3".
 * @param {TensorData} data
 * @param {{ slide?: (first: number) => void, offline?: boolean }} [options]  `slide` asks for
 *   other channels; without it there is no slider.
 */
export function createTensorView(which, data, { slide, offline = false } = {}) {
  const name = TENSOR_NAMES[which] ?? (which.startsWith("output ") ? `Slice ${which}` : which);
  const caption = h("figcaption", {});
  const body = h("div", { class: "cw-tensor-body" });
  const notes = h("p", { class: "cw-tensor-notes" });
  const slider = h("input", {
    type: "range", min: 0, step: 1, "data-part": `channels-${which}`,
    "aria-label": `${name}: first channel`, ...OWN_KEYS,
  });
  slider.disabled = offline;
  slider.addEventListener("input", () => slide?.(Number(slider.value)));
  const element = h("figure", { class: "cw-tensor", "data-maps": which },
    [caption, body, notes, slider]);
  /** @type {((data: TensorData) => boolean) | undefined} */
  let redraw;

  /** @param {TensorData} now */
  function update(now) {
    element.dataset.view = now.view;
    const size = now.view === "maps" && now.size ? `, ${now.size[0]}×${now.size[1]} pixels` : "";
    caption.replaceChildren(h("strong", {}, name), ` ${now.words}${size}`);
    notes.textContent = now.notes.join(" ");
    notes.hidden = !now.notes.length;
    const last = now.channels - (now.scales?.length ?? now.channels);
    slider.hidden = !slide || last <= 0;
    slider.max = String(last);
    if (document.activeElement !== slider) slider.value = String(now.first);
    if (redraw?.(now)) return;
    const drawn = drawnTensor(name, now);
    redraw = drawn.redraw;
    body.replaceChildren(drawn.element);
  }

  update(data);
  return { element, update };
}

/**
 * The picture of a tensor; `redraw` draws other data into it, if they fit.
 * @param {string} name
 * @param {TensorData} data
 * @returns {{ element: HTMLElement, redraw?: (data: TensorData) => boolean }}
 */
function drawnTensor(name, data) {
  if (data.view === "maps") return tensorTiles(name, data);
  if (data.view === "sequence") return { element: heatMap(name, data) };
  if (data.view === "vector") return { element: tensorBars(name, data) };
  if (data.view === "tokens") return { element: tensorCells(name, data) };
  if (data.view === "empty") {
    return { element: h("p", { class: "cw-tensor-notes" }, "This tensor has no values.") };
  }
  const lines = (data.lines ?? []).map((line) => linePlot(name, data, line));
  return { element: h("div", { class: "cw-lines" }, lines) };
}

/**
 * A button for each feature map, which enlarges it.
 * @param {string} name
 * @param {TensorData} data
 * @returns {{ element: HTMLElement, redraw: (data: TensorData) => boolean }}
 */
function tensorTiles(name, data) {
  let shown = data;
  const [width, height] = data.drawn ?? [1, 1];
  const scales = data.scales ?? [];
  const canvases = scales.map(() => h("canvas", { width, height, "aria-hidden": "true" }));
  const numbers = scales.map(() => h("span", {}));
  const tiles = scales.map((_, i) => {
    const tile = h("button", { type: "button", class: "cw-tile", ...OWN_KEYS },
      [canvases[i], numbers[i]]);
    tile.addEventListener("click", () => enlargeTile(tile, name, shown, i, canvases[i]));
    return tile;
  });
  const grid = h("div", { class: "cw-tiles", role: "group" }, tiles);
  grid.style.setProperty("--cw-ratio", String(tileRatio(width, height)));
  const legend = h("div", { class: "cw-maps-legend" });
  let turn = 0;

  async function draw() {
    grid.setAttribute("aria-label", `${name}: ${shown.alt}`);
    legend.replaceChildren(colourBar(["min of each map", "max of each map"]),
      h("span", {}, `All of these maps: ${rangeText(shown.range)}`));
    for (const [i, tile] of tiles.entries()) {
      const channel = shown.first + i + 1;
      const title = `Channel ${channel}: ${rangeText(shown.scales?.[i])}`;
      numbers[i].textContent = String(channel);
      tile.title = `${title}. Click to enlarge.`;
      tile.setAttribute("aria-label", `${title}. Enlarge.`);
    }
    const mine = ++turn;
    const sheet = await sheetOf(shown);
    if (mine !== turn) return; // other channels have been drawn since
    for (const [i, canvas] of canvases.entries()) {
      const columns = shown.columns ?? 1;
      const [left, top] = [width * (i % columns), height * Math.floor(i / columns)];
      const context = canvas.getContext("2d");
      context?.clearRect(0, 0, width, height);
      context?.drawImage(sheet, left, top, width, height, 0, 0, width, height);
    }
    grid.dataset.drawn = String(shown.first);
  }

  void draw();
  return {
    element: h("div", {}, [grid, legend]),
    redraw(now) {
      const isSame = now.view === "maps" && now.scales?.length === scales.length &&
        now.drawn?.[0] === width && now.drawn?.[1] === height;
      if (!isSame) return false;
      shown = now;
      void draw();
      return true;
    },
  };
}

/** @param {TensorData} data */
function sheetOf({ picture }) {
  return createImageBitmap(new Blob([picture ?? ""], { type: "image/png" }));
}

/**
 * Width by height of a picture; long strips are drawn higher than they are, to be seen.
 * @param {number} width
 * @param {number} height
 */
function tileRatio(width, height) {
  return Math.min(4, Math.max(1 / 4, width / height));
}

/**
 * Show one map as large as the window allows.
 * @param {HTMLElement} tile
 * @param {string} name
 * @param {TensorData} data
 * @param {number} i
 * @param {HTMLCanvasElement} canvas
 */
function enlargeTile(tile, name, data, i, canvas) {
  const copy = h("canvas", { width: canvas.width, height: canvas.height, "aria-hidden": "true" });
  copy.getContext("2d")?.drawImage(canvas, 0, 0);
  const [width, height] = data.size ?? [1, 1];
  const title = `${name}, channel ${data.first + i + 1} of ${data.channels.toLocaleString("en-US")}`;
  const range = data.scales?.[i] ?? [null, null];
  const plot = tensorPlot(copy, indexAxis("column (pixels)", width),
    indexAxis("row (pixels)", height));
  plot.setAttribute("role", "img");
  plot.setAttribute("aria-label", `${width} by ${height} pixels, ${rangeText(range)}`);
  plot.style.setProperty("--cw-ratio", String(tileRatio(width, height)));
  const close = () => dialog.close();
  const dialog = h("dialog", { class: "cw-enlarged", "aria-label": title, ...OWN_KEYS }, [
    h("div", { class: "cw-enlarged-head" }, [
      h("strong", {}, title), h("code", {}, data.places?.[i] ?? ""),
      button("×", "Close (Esc, or a click anywhere)", close),
    ]),
    plot,
    colourBar(rangeTexts(range)),
  ]);
  dialog.addEventListener("click", close);
  dialog.addEventListener("close", () => {
    dialog.remove();
    tile.focus();
  });
  // Not into the button: a click inside would count as a click on it.
  tile.closest("figure")?.append(dialog);
  dialog.showModal();
}

/**
 * @param {string} name
 * @param {TensorData} data
 */
function heatMap(name, data) {
  const [width, height] = data.drawn ?? [1, 1];
  const [length, features] = data.size ?? [1, 1];
  const canvas = h("canvas", { width, height, "aria-hidden": "true" });
  const plot = tensorPlot(canvas, indexAxis("position", length), indexAxis("feature", features));
  plot.setAttribute("role", "img");
  plot.setAttribute("aria-label", `${name}: ${data.alt}`);
  plot.style.setProperty("--cw-height", `${Math.min(260, Math.max(110, 9 * features))}px`);
  void sheetOf(data).then((sheet) => {
    canvas.getContext("2d")?.drawImage(sheet, 0, 0);
    plot.dataset.drawn = "0";
  });
  return h("div", {}, [plot, colourBar(rangeTexts(data.range))]);
}

/**
 * @param {string} name
 * @param {TensorData} data
 * @param {TensorLine} line
 */
function linePlot(name, data, line) {
  const axis = valueAxis(line.range, 6);
  const count = line.mean.length;
  const svg = svgElement("svg", {
    viewBox: `0 0 ${count} 100`, preserveAspectRatio: "none", "aria-hidden": "true",
  });
  /** @param {number | null} value */
  const y = (value) => value === null ? null : 100 * (1 - share(value, axis));
  if (axis.low < 0 && axis.high > 0) {
    svg.append(svgElement("path", { class: "cw-zero", d: `M0 ${y(0)}H${count}` }));
  }
  const [low, high] = [line.low ?? [], line.high ?? []];
  for (const [start, stop] of runsOf(line.mean)) {
    const xs = Array.from({ length: stop - start }, (_, i) => start + i + 0.5);
    const there = xs.map((x, i) => `${x} ${y(line.mean[start + i])}`).join("L");
    if (low.length) {
      const above = xs.map((x, i) => `${x} ${y(high[start + i])}`);
      const below = xs.map((x, i) => `${x} ${y(low[start + i])}`).reverse();
      svg.append(svgElement("path", { class: "cw-band", d: `M${[...above, ...below].join("L")}Z` }));
    }
    // A number between two gaps is a line without length, of which only the round ends are seen.
    const isDot = xs.length === 1;
    svg.append(svgElement("path",
      { class: isDot ? "cw-line cw-dot" : "cw-line", d: `M${there}${isDot ? "h0" : ""}` }));
  }
  const plot = tensorPlot(svg, indexAxis(data.along ?? "index", data.length ?? count), axis);
  plot.setAttribute("role", "img");
  const title = line.title ? `${line.title}, ` : "";
  plot.setAttribute("aria-label", `${name}: ${title}${data.length} numbers, ${rangeText(line.range)}`);
  return h("div", {}, [
    h("p", { class: "cw-line-title" }, [
      h("strong", {}, line.title), ` ${lineText(line)}`,
    ]),
    plot,
  ]);
}

/** @param {TensorLine} line */
function lineText({ range, average }) {
  const [low, high] = range;
  if (low === null || high === null || low === high) return rangeText(range);
  const [least, mean, most] = textsApart([low, average ?? low, high]);
  return `min ${least}, mean ${mean}, max ${most}`;
}

/**
 * The stretches of a list without gaps, each as its start and the index after its end.
 * @param {(number | null)[]} values
 */
function runsOf(values) {
  /** @type {[number, number][]} */
  const runs = [];
  for (const [i, value] of values.entries()) {
    if (value === null) continue;
    const last = runs.at(-1);
    if (last?.[1] === i) last[1] = i + 1;
    else runs.push([i, i + 1]);
  }
  return runs;
}

/**
 * @param {string} name
 * @param {TensorData} data
 */
function tensorBars(name, data) {
  const values = data.values ?? [];
  const finite = values.filter((value) => value !== null);
  const axis = valueAxis([Math.min(0, ...finite), Math.max(0, ...finite)], 4);
  const zero = 100 * share(0, axis);
  const rows = values.map((value, i) => {
    const bar = h("span", { class: value === null ? "cw-hole" : "cw-filled" });
    const end = 100 * share(value ?? 0, axis);
    bar.style.left = `${value === null ? 0 : Math.min(zero, end)}%`;
    bar.style.width = `${value === null ? 100 : Math.abs(end - zero)}%`;
    const mark = h("span", { class: "cw-zero" });
    mark.style.left = `${zero}%`;
    return [h("span", { class: "cw-index" }, String(i)), h("span", { class: "cw-track" },
      [bar, mark]), h("span", { class: "cw-number" }, data.texts?.[i] ?? "")];
  });
  const ticks = h("span", { class: "cw-track cw-ticks" }, axis.ticks.map(({ at, text }) => {
    const tick = h("span", {}, text);
    tick.style.left = `${100 * at}%`;
    return tick;
  }));
  return h("div", { class: "cw-bars", role: "img", "aria-label": `${name}: ${data.alt}` }, [
    h("span", { class: "cw-index" }, data.along ?? "index"), h("span", {}),
    h("span", { class: "cw-number" }, "value"),
    ...rows.flat(), h("span", {}), ticks, h("span", {}),
  ]);
}

/**
 * @param {string} name
 * @param {TensorData} data
 */
function tensorCells(name, data) {
  const padded = new Set(data.padded ?? []);
  const cells = (data.cells ?? []).map((text, i) => h("li", {
    class: padded.has(i) ? "cw-padded" : "",
    title: `${data.along} ${i}: ${text}${padded.has(i) ? ", padding" : ""}`,
  }, [h("span", {}, text), h("small", {}, String(i))]));
  return h("div", {}, [
    scrollBox({ class: "cw-cells", role: "region", "aria-label": `${name}: ${data.alt}` }, [
      h("ol", {}, cells),
    ]),
    h("p", { class: "cw-tensor-notes" }, `The small numbers are the ${data.along}s.`),
  ]);
}

// ------------------------------------------------------------------------ axes, scales and numbers

/**
 * An area with axes at its left and below it.
 * @param {Element} area
 * @param {TensorAxis} x
 * @param {TensorAxis} y
 */
function tensorPlot(area, x, y) {
  /** @param {TensorAxis} axis @param {"left" | "top" | "bottom"} side */
  const ticksOf = (axis, side) => axis.ticks.map(({ at, text }) => {
    const tick = h("span", {}, text);
    tick.style.setProperty(side, `${100 * at}%`);
    return tick;
  });
  const plot = h("div", { class: "cw-plot" }, [
    h("span", { class: "cw-y-label", "aria-hidden": "true" }, y.label),
    h("div", { class: `cw-y-axis ${y.upwards ? "cw-upwards" : ""}`, "aria-hidden": "true" }, ticksOf(y, y.upwards ? "bottom" : "top")),
    h("div", { class: "cw-area" }, [area]),
    h("div", { class: "cw-x-axis", "aria-hidden": "true" }, ticksOf(x, "left")),
    h("span", { class: "cw-x-label", "aria-hidden": "true" }, x.label),
  ]);
  const longest = Math.max(1, ...y.ticks.map(({ text }) => text.length));
  plot.style.setProperty("--cw-gutter", `${longest + 1}ch`);
  return plot;
}

/**
 * An axis of positions from 0 on, each of the same width.
 * @param {string} label
 * @param {number} length
 * @returns {TensorAxis}
 */
function indexAxis(label, length) {
  const step = Math.max(1, tickStep(length / 6));
  const ticks = [];
  for (let i = 0; i < length; i += step) {
    ticks.push({ at: (i + 0.5) / length, text: i.toLocaleString("en-US") });
  }
  return { label, low: 0, high: length, upwards: false, ticks };
}

/**
 * An axis of numbers.
 * @param {TensorRange} range
 * @param {number} most  How many ticks there is room for.
 * @returns {TensorAxis}
 */
function valueAxis([smallest, largest], most) {
  let [low, high] = [smallest ?? 0, largest ?? 0];
  if (low === high) {
    const room = (Math.abs(low) || 1) / 2;
    [low, high] = [Math.max(low - room, -Number.MAX_VALUE), Math.min(high + room, Number.MAX_VALUE)];
  }
  const step = tickStep(high / most - low / most);
  const ticks = [];
  const axis = { label: "", low, high };
  for (let i = Math.ceil(low / step); i * step <= high && ticks.length <= most; i += 1) {
    ticks.push({ at: share(i * step, axis), text: tickText(i * step, step) });
  }
  return { ...axis, upwards: true, ticks };
}

/**
 * Where a number is between the ends of an axis, from 0 to 1.
 * @param {number} value
 * @param {{ low: number, high: number }} axis
 */
function share(value, { low, high }) {
  // Halves, because the difference of two large numbers may be too large for a float.
  return (value / 2 - low / 2) / (high / 2 - low / 2);
}

/**
 * The smallest of 1, 2, 5, 10, … that is no smaller than `least`.
 * @param {number} least
 */
function tickStep(least) {
  const power = 10 ** Math.floor(Math.log10(least));
  return power * ([1, 2, 5].find((factor) => factor * power >= 0.999 * least) ?? 10);
}

/**
 * @param {number} value
 * @param {number} step
 */
function tickText(value, step) {
  const decimals = -Math.floor(Math.log10(step) + 1e-9);
  const size = Math.max(Math.abs(value), step);
  if (Math.abs(value) < step / 2) return "0";
  if (size >= 1e6 || size < 1e-4) {
    return exponential(value, Math.max(0, Math.floor(Math.log10(size)) + decimals));
  }
  const digits = Math.max(0, decimals);
  return value.toLocaleString("en-US",
    { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/**
 * @param {number} value
 * @param {number} decimals
 */
function exponential(value, decimals) {
  return value.toExponential(Math.min(decimals, 15)).replace(/(\.\d*?)0+e/, "$1e")
    .replace(/\.?e\+?/, "e");
}

/**
 * A number in a few digits.
 * @param {number} value
 */
function shortNumber(value, digits = 3) {
  const size = Math.abs(value);
  if (size >= 1e6 || (size > 0 && size < 1e-4)) return exponential(value, digits - 1);
  const whole = size < 1 ? 0 : Math.floor(Math.log10(size)) + 1;
  return (value + 0).toLocaleString("en-US", { maximumSignificantDigits: Math.max(digits, whole) });
}

/**
 * Numbers in as many digits as tell them apart.
 * @param {number[]} numbers
 */
function textsApart(numbers) {
  /** @type {string[]} */
  let texts = [];
  for (let digits = 3; digits < 10 && new Set(texts).size < numbers.length; digits += 1) {
    texts = numbers.map((number) => shortNumber(number, digits));
  }
  return texts;
}

/**
 * The ends of a range and its middle.
 * @param {TensorRange | undefined} range
 */
function rangeTexts([low, high] = [null, null]) {
  if (low === null || high === null) return ["no finite value"];
  return low === high ? [shortNumber(low)] : textsApart([low, low / 2 + high / 2, high]);
}

/** @param {TensorRange | undefined} range */
function rangeText(range) {
  const texts = rangeTexts(range);
  if (texts.length > 1) return `${texts[0]} to ${texts[2]}`;
  return range?.[0] === null || !range ? texts[0] : `all ${texts[0]}`;
}

/**
 * The colours of viridis with texts from its dark to its bright end.
 * @param {string[]} texts
 */
function colourBar(texts) {
  const colours = h("span", { class: "cw-viridis", "aria-hidden": "true" });
  colours.style.background = texts.length === 1 ? SCALE[0]
    : `linear-gradient(to right, ${SCALE.join(", ")})`;
  return h("div", { class: "cw-colourbar" }, [
    colours, h("span", { class: "cw-colour-texts" }, texts.map((text) => h("span", {}, text))),
  ]);
}
