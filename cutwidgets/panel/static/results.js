// ----------------------------------------------------------------- what is known of the slice

// Each tab is {id, label, element, refresh(), close?()}. `at` is what they all know: at.model,
// at.network, at.selection(), at.result() (that of the selection, or undefined), at.offline(),
// at.range() and at.ask(kind, trait, details, buffers).

// What the kernel answered to a tab, if it belongs to the selection that is shown.
function answerOf(at, trait) {
  const answer = at.model.get(trait);
  return answer?.count && !answer.failed && same(answer.selection, at.selection()) ? answer : null;
}

function empty(text) {
  return h("p", { class: "cw-empty" }, text);
}

function noSlice(at) {
  if (!at.selection().length) return empty("No slice yet: choose its start and its end.");
  return at.result()?.rows || at.offline() ? null : empty("There is no slice.");
}

const NEEDS_PYTHON = "This needs Python: it was not computed before the page was saved.";

function createSummaryTab(at) {
  const element = h("div", { "data-part": "summary" });
  let details, shown, drawn;

  function refresh() {
    const result = at.result()?.rows ? at.result() : localSummary(at);
    if (!result?.rows) {
      drawn = null;
      const text = at.selection().length ? "" : "No slice yet: choose its start and its end.";
      element.replaceChildren(empty(text));
      return;
    }
    if (drawn === result) return showText();
    drawn = result;
    shown = at.selection();
    const wasOpen = details?.open;
    const pre = h("pre", { tabindex: "0", ...OWN_KEYS }, at.offline() ? NEEDS_PYTHON : "…");
    details = h("details", {}, [h("summary", {}, "Layer by layer, as Keras prints it"), pre]);
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

  const ask = () => at.ask("text", "_text");
  const shownText = () => answerOf(at, "_text")?.text;
  function showText() {
    if (shownText() && same(shown, at.selection())) {
      details.querySelector("pre").textContent = shownText();
    }
  }
  return { id: "summary", label: "Summary", element, refresh, trait: "_text" };
}

// Who trains with whom, and the switch.
function weightsBox(at, result) {
  const box = h("input", { type: "checkbox", "data-part": "weights", ...OWN_KEYS });
  box.checked = at.model.get("weights") === "copy";
  box.disabled = at.offline();
  box.addEventListener("change", () => at.set({ weights: box.checked ? "copy" : "share" }));
  const copied = at.model.get("weights") === "copy";
  return h("div", { class: "cw-weights" }, [
    h("span", { class: `cw-badge ${copied ? "cw-copied" : "cw-shared"}` },
      copied ? "⧉ own weights" : "⇄ shared weights"),
    h("label", {}, [box, "copy the weights"]),
    h("p", { class: "cw-aside" }, result.sharing ?? "…"),
  ]);
}

// What the page knows by itself, until the kernel answers or where there is none.
function localSummary(at) {
  const range = at.range();
  const { blocks, shared } = at.network;
  const extra = range && at.network.refused[range[0]]?.[range[1]]; // inputs that bypass the start
  if (!range || !at.whole() || extra || at.refused(...range)) return null;
  const chosen = blocks.slice(range[0], range[1] + 1);
  const [start, end] = at.selection();
  const params = chosen.reduce((sum, block) => sum + block.parameters, 0);
  return {
    title: start === end ? start : `${start} to ${end}`,
    facts: [
      ["Input", chosen[0].input],
      ["Output", chosen.at(-1).output],
      ["Layers", at.offline() ? `${chosen.flatMap((block) => block.layers).length}` : "…"],
      ["Parameters", `${shared ? "at most " : ""}${params.toLocaleString("en-US")}`],
    ],
    note: at.offline() ? "As the page knows it; the rest needs Python." : "…",
    sharing: at.offline() ? "" : undefined,
    rows: chosen.map((b) => [b.name, b.shape, b.parameters.toLocaleString("en-US")]),
  };
}

function createRunTab(at) {
  const pictures = createPictures();
  const features = h("div", { "data-part": "features", class: "cw-features" });
  const choice = createPhotoChoice(at);
  const element = h("div", {}, [choice.element, features]);
  const wanted = {}; // channels that a slider asks for while the kernel is at work on others
  let busy = false;
  let drawn;

  function refresh() {
    choice.refresh();
    if (busy) return;
    const answer = answerOf(at, "_features");
    const maps = answerOf(at, "_maps");
    if (answer && drawn === answer) return; // its images may still be loading
    drawn = answer;
    pictures.clear();
    if (!answer || !maps) {
      const text = at.offline()
        ? NEEDS_PYTHON
        : "Run: the head computes the slice's input from the photograph, then the slice runs.";
      features.replaceChildren(noSlice(at) ?? empty(text));
      return;
    }
    const heads = ["Tensor", "Shape", "Dtype", "Least", "Mean", "Largest", "Zeros"];
    const photo = answer.photo && pictures.image(answer.photo, "The photograph");
    features.replaceChildren(
      h("div", { class: "cw-seen" }, [photo, facts(answer.facts)].filter(Boolean)),
      predictionTable(answer.predictions),
      h("div", { class: "cw-grids" }, ["output", "input"].map((which) => grid(which, maps[which]))),
      table(heads, answer.statistics),
    );
  }

  function grid(which, { picture, first, channels, words }) {
    const name = which === "input" ? "Into the slice" : "Out of the slice";
    const alt = `${name}: ${words}, each from its smallest value (dark) to its largest (bright)`;
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

  // The newest wish is sent when the one before it has been answered.
  function slide(which, first) {
    const waiting = Object.keys(wanted).length > 0;
    wanted[which] = first;
    if (!waiting) at.ask("maps", "_maps", { which, first });
  }

  function mapsChanged() {
    const maps = answerOf(at, "_maps");
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
    if (which) at.ask("maps", "_maps", { which, first: wanted[which] });
  }

  function setBusy(now) {
    busy = now;
    drawn = null;
    if (busy) features.replaceChildren(progress("Head and slice are running…"));
    else refresh();
  }
  const close = () => pictures.clear();
  return {
    id: "run", label: "Forward pass", element, refresh, setBusy, mapsChanged, close,
    trait: "_features",
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

// The sample photographs, and one's own.
function createPhotoChoice(at) {
  const select = h("select", { "data-part": "photo", ...OWN_KEYS });
  const file = h("input", {
    type: "file", accept: "image/*", "data-part": "upload", "aria-label": "Your own photograph",
    ...OWN_KEYS,
  });
  const element = h("div", { class: "cw-photo" }, [h("label", {}, ["Photograph ", select]), file]);
  select.addEventListener("change", () => at.ask("photo", "_photo", { name: select.value }));
  file.addEventListener("change", async () => {
    const [chosen] = file.files;
    if (!chosen) return;
    if (chosen.size > LARGEST_UPLOAD) {
      const size = (chosen.size / 1e6).toFixed(1);
      return at.showError(`The file ${JSON.stringify(chosen.name)} has ${size} MB. A photograph ` +
        `may have ${LARGEST_UPLOAD / 1e6} MB: make it smaller, or give its path, ` +
        "as CutPanel(model, photo=…).");
    }
    try {
      const content = await chosen.arrayBuffer();
      at.ask("photo", "_photo", { name: chosen.name }, [content]);
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
