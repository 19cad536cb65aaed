// ----------------------------------------------------------------- the summary, the forward pass

// Each tab is {id, label, element, refresh(), close?()}. They share `at`: at.model, at.network,
// at.selection(), at.result() (that of the selection, or undefined), at.offline(), at.range() and
// at.ask(question, details, buffers).

// The kernel's answer to a question, if it belongs to the current selection.
function answerOf(at, question) {
  const answer = at.model.get(`_${question}`);
  return answer?.count && !answer.failed && same(answer.selection, at.selection()) ? answer : null;
}

function empty(text) {
  return h("p", { class: "cw-empty" }, text);
}

function noSlice(at) {
  if (!at.selection().length) return empty(NO_SELECTION);
  if (at.result()?.rows || at.offline()) return null;
  return empty(at.result() ? "This cut is not possible (see above)." : "Waiting for the kernel…");
}

const NO_SELECTION = "No slice yet: choose a start and an end.";
const NEEDS_PYTHON = "This needs Python: it was not computed before the page was saved.";

function createSummaryTab(at) {
  const element = h("div", { "data-part": "summary" });
  let details, shown, drawn;

  function refresh() {
    const result = at.result()?.rows ? at.result() : localSummary(at);
    if (!result?.rows) {
      drawn = null;
      element.replaceChildren(noSlice(at) ?? empty(""));
      return;
    }
    if (drawn === result) return showText();
    drawn = result;
    shown = at.selection();
    const wasOpen = details?.open;
    const pre = h("pre", { tabindex: "0", ...OWN_KEYS }, at.offline() ? NEEDS_PYTHON : "…");
    details = h("details", {}, [h("summary", {}, "Keras summary()"), pre]);
    details.addEventListener("toggle", () => details.open && !shownText() && ask());
    details.open = Boolean(wasOpen);
    const note = result.exact === undefined ? "" : result.exact ? "cw-exact" : "cw-inexact";
    element.replaceChildren(
      h("h3", {}, result.title),
      facts(result.facts),
      h("p", { class: `cw-note ${note}` }, result.note ?? "…"),
      weightsBox(at, result),
      table(["Block", "Output", "Parameters"], result.rows),
      details,
    );
    showText();
  }

  const ask = () => at.ask("text");
  const shownText = () => answerOf(at, "text")?.text;
  function showText() {
    if (shownText() && same(shown, at.selection())) {
      details.querySelector("pre").textContent = shownText();
    }
  }
  return { id: "summary", label: "Summary", element, refresh, question: "text" };
}

// Whether slice and model share their weights, and the switch.
function weightsBox(at, result) {
  const box = h("input", { type: "checkbox", "data-part": "weights", ...OWN_KEYS });
  box.checked = at.model.get("weights") === "copy";
  box.disabled = at.offline();
  box.addEventListener("change", () => at.set({ weights: box.checked ? "copy" : "share" }));
  const copied = at.model.get("weights") === "copy";
  return h("div", { class: "cw-weights" }, [
    h("span", { class: `cw-badge ${copied ? "cw-copied" : "cw-shared"}` },
      copied ? "⧉ Own weights" : "⇄ Shared weights"),
    h("label", {}, [box, "Copy the weights"]),
    h("p", { class: "cw-aside" }, result.sharing ?? "…"),
  ]);
}

// A summary by the page itself, until the kernel answers or where there is none.
function localSummary(at) {
  const range = at.range();
  const { blocks, shared } = at.network;
  const extra = range && at.network.refused[range[0]]?.[range[1]]; // inputs that bypass the start
  if (!range || !at.whole() || extra || at.refused(...range)) return null;
  const chosen = blocks.slice(range[0], range[1] + 1);
  const [start, end] = at.selection();
  const params = chosen.reduce((sum, block) => sum + block.parameters, 0);
  return {
    title: titleOf([start, end]),
    facts: [
      ["Input", chosen[0].input],
      ["Output", chosen.at(-1).output],
      ["Layers", at.offline() ? `${chosen.flatMap((block) => block.layers).length}` : "…"],
      ["Parameters", `${shared ? "at most " : ""}${params.toLocaleString("en-US")}`],
    ],
    note: at.offline() ? "This page has no Python, so it shows only what it knows itself." : "…",
    sharing: at.offline() ? "" : undefined,
    rows: chosen.map((b) => [b.name, b.shape, b.parameters.toLocaleString("en-US")]),
  };
}

function createRunTab(at) {
  const pictures = createPictures();
  const features = h("div", { "data-part": "features", class: "cw-features" });
  const choice = createPhotoChoice(at);
  const element = h("div", {}, [choice.element, features]);
  const wanted = {}; // channels that a slider asks for while the kernel still draws others
  let busy = false;
  let drawn;

  function refresh() {
    choice.refresh();
    if (busy) return;
    const answer = answerOf(at, "run");
    const maps = answerOf(at, "maps");
    if (answer && drawn === answer) return; // its images may still be loading
    drawn = answer;
    pictures.clear();
    if (!answer || !maps) {
      const text = at.offline()
        ? NEEDS_PYTHON
        : "Click Run: the head computes the slice's input from the photograph; the slice runs on it.";
      features.replaceChildren(noSlice(at) ?? empty(text));
      return;
    }
    const heads = ["Tensor", "Shape", "Dtype", "Min", "Mean", "Max", "Zeros"];
    const photo = answer.photo && pictures.image(answer.photo, "The photograph");
    features.replaceChildren(
      h("div", { class: "cw-seen" }, [photo, facts(answer.facts)].filter(Boolean)),
      predictionTable(answer.predictions),
      h("div", { class: "cw-grids" }, ["input", "output"].map((which) => grid(which, maps[which]))),
      table(heads, answer.statistics),
    );
  }

  function grid(which, { picture, first, channels, words }) {
    const name = which === "input" ? "Slice input" : "Slice output";
    const alt = `${name}: ${words}, each scaled from its minimum (dark) to its maximum (bright)`;
    const window = Math.min(channels, 32);
    const slider = channels > window && h("input", {
      type: "range", min: 0, max: channels - window, step: 1, value: first,
      "data-part": `channels-${which}`, "aria-label": `${name}: first channel`, ...OWN_KEYS,
    });
    if (slider) slider.disabled = at.offline();
    if (slider) slider.addEventListener("input", () => slide(which, Number(slider.value)));
    return h("figure", { "data-maps": which }, [
      h("figcaption", {}, [h("strong", {}, name), ` ${words}`]),
      pictures.image(picture, alt),
      slider || null,
    ].filter(Boolean));
  }

  // The latest position is sent once the previous one has been answered.
  function slide(which, first) {
    const waiting = Object.keys(wanted).length > 0;
    wanted[which] = first;
    if (!waiting) at.ask("maps", { [which]: first });
  }

  function mapsChanged() {
    const maps = answerOf(at, "maps");
    for (const which of Object.keys(wanted)) {
      if (!maps || maps[which]?.first === wanted[which]) delete wanted[which];
    }
    const [which] = Object.keys(wanted);
    for (const figure of maps ? features.querySelectorAll("figure") : []) {
      const { picture, words } = maps[figure.dataset.maps];
      const image = figure.querySelector("img");
      image.replaceWith(pictures.image(picture, image.alt));
      if (image.complete) pictures.release(image.src);
      figure.querySelector("figcaption").lastChild.textContent = ` ${words}`;
    }
    if (which) at.ask("maps", { [which]: wanted[which] });
  }

  function setBusy(now) {
    busy = now;
    drawn = null;
    if (busy) features.replaceChildren(progress("Running head and slice…"));
    else refresh();
  }
  const close = () => pictures.clear();
  return {
    id: "run", label: "Forward pass", element, refresh, setBusy, mapsChanged, close,
  };
}

function predictionTable(predictions) {
  if (!predictions?.length) return "";
  return table(["Class", "Probability"], predictions.map(([name, probability]) =>
    [name, h("span", { class: "cw-cost" }, [probability.toFixed(3), bar(probability)])]),
  { "data-part": "predictions" });
}

function bar(share) {
  const filled = h("span", { class: "cw-bar", "aria-hidden": "true" });
  filled.style.width = `${Math.max(1, 100 * share)}%`;
  return filled;
}

// The sample photographs, and an upload.
function createPhotoChoice(at) {
  const select = h("select", { "data-part": "photo", ...OWN_KEYS });
  const file = h("input", {
    type: "file", accept: "image/*", "data-part": "upload", "aria-label": "Upload a photograph",
    ...OWN_KEYS,
  });
  const element = h("div", { class: "cw-photo" }, [h("label", {}, ["Photograph ", select]), file]);
  select.addEventListener("change", () => at.ask("photo", { name: select.value }));
  file.addEventListener("change", async () => {
    const [chosen] = file.files;
    if (!chosen) return;
    if (chosen.size > LARGEST_UPLOAD) {
      const size = (chosen.size / 1e6).toFixed(1);
      return at.showError(`The file ${JSON.stringify(chosen.name)} has ${size} MB; the limit is ` +
        `${LARGEST_UPLOAD / 1e6} MB. Make it smaller, or pass its path: ` +
        "CutPanel(model, photo=…).");
    }
    try {
      const content = await chosen.arrayBuffer();
      at.ask("photo", { name: chosen.name }, [content]);
    } catch (problem) {
      at.showError(`Cannot read ${JSON.stringify(chosen.name)}: ${problem.message}`);
    }
    file.value = ""; // so that the same file can be chosen again
  });

  function refresh() {
    const { name, names } = at.model.get("_photo");
    const all = names.includes(name) ? names : [...names, name];
    select.replaceChildren(...all.map((one) => h("option", { value: one }, one)));
    select.value = name;
    const disabled = at.offline() || !at.network.images;
    element.hidden = disabled;
  }
  return { element, refresh };
}
