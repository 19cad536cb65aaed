// ------------------------------------------------------------------------------- experiments

// Viridis (van der Walt and Smith 2015): steps of even lightness, for the colour-blind too.
const SCALE = ["#440154", "#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39",
  "#fde725"];

// The colour of a share from 0 to 1, and black or white, whichever can be read on it.
function colourOf(share) {
  const place = Math.max(0, Math.min(1, share)) * (SCALE.length - 1);
  const i = Math.min(Math.floor(place), SCALE.length - 2);
  const [from, to] = [SCALE[i], SCALE[i + 1]].map((colour) =>
    [1, 3, 5].map((k) => parseInt(colour.slice(k, k + 2), 16)));
  const mixed = from.map((part, k) => Math.round(part + (place - i) * (to[k] - part)));
  // Relative luminance, as WCAG 2 defines it.
  const [r, g, b] = mixed.map((part) =>
    part > 10 ? ((part / 255 + 0.055) / 1.055) ** 2.4 : part / 255 / 12.92);
  const luminance = 0.2126 * r + 0.7152 * g + 0.0722 * b;
  return { fill: `rgb(${mixed.join(", ")})`, ink: luminance > 0.179 ? "#000000" : "#ffffff" };
}

function createLabTab(at) {
  const { studies } = at.model.get("_experiments");
  const hasDiagram = at.model.get("_parts").includes("diagram");
  const options = studies.map(({ name, label, missing }) => {
    const option = h("option", { value: name }, label);
    option.disabled = Boolean(missing);
    return option;
  });
  const select = h("select", { "data-part": "experiment", ...OWN_KEYS }, options);
  const run = button("Run experiment", "Run the experiment, and colour the diagram by its result",
    () => at.ask("lab", { study: select.value }));
  const stop = button("Stop", "Stop the experiment", () => {
    if (ending()) return;
    stopping = true;
    refresh();
    at.model.send({ ask: "stop" }, undefined, []);
  });
  const colours = button("", "", () => {
    coloured = !coloured;
    refresh();
    at.draw();
  });
  const about = h("p", { class: "cw-aside" });
  const meter = h("progress", { "aria-label": "Progress of the experiment" });
  const step = h("span", {});
  const under = h("div", { class: "cw-progress", hidden: "" }, [meter, step]);
  const outcome = h("div", {});
  const tools = h("div", { class: "cw-tools" }, [
    h("label", {}, ["Experiment ", select]), run, stop,
  ]);
  const element = h("div", { "data-part": "lab" }, [tools, about, under, outcome]);
  let coloured = true;
  let asked = false; // no answer yet
  let stopping = false;
  let drawn;

  const progressOf = () => (at.offline() ? undefined : at.model.get("_progress"));
  const running = () => asked || Boolean(progressOf()?.label);
  const ending = () => stopping || Boolean(progressOf()?.stopping);
  const answer = () => {
    const result = at.model.get("_lab");
    return !running() && result?.values ? result : null;
  };
  select.addEventListener("change", refresh);

  function refresh() {
    const now = running();
    const focused = document.activeElement;
    tools.hidden = at.offline();
    about.hidden = at.offline();
    select.disabled = now;
    run.disabled = now;
    if (!now) stopping = false;
    stop.disabled = !now;
    stop.setAttribute("aria-disabled", ending()); // a disabled one would lose the focus
    if (now && focused === run) stop.focus();
    if (!now && focused === stop) run.focus();
    showAbout();
    showProgress(now);
    showOutcome(now);
  }

  function showAbout() {
    const { on, dropped } = at.model.get("_experiments");
    const { about: words } = studies.find(({ name }) => name === select.value);
    const missing = [...new Set(studies.map((study) => study.missing))].filter(Boolean);
    const lines = [`${words} Uses ${on}.`, dropped, ...missing].filter(Boolean);
    // Code is not broken across lines.
    const parts = (line) => line.split(/(CutPanel\(.*\))/)
      .map((part, i) => (i % 2 ? h("code", {}, part) : part));
    about.replaceChildren(...lines.map((line) => h("span", {}, parts(line))));
  }

  function showProgress(now) {
    under.hidden = !now;
    const { done, total, label } = progressOf() ?? {};
    if (total) [meter.max, meter.value] = [total, done];
    else meter.removeAttribute("value");
    step.textContent = ending() ? "Stopping…"
      : total ? `${label}: ${done} of ${total}` : `${label ?? "Starting"}…`;
  }

  function showOutcome(now) {
    const result = at.model.get("_lab");
    const key = now ? "running" : result?.count;
    colours.textContent = coloured ? "Clear colours" : "Colour the diagram";
    if (drawn === key && key !== undefined) return;
    drawn = key;
    if (now) outcome.replaceChildren();
    else if (result?.stopped) outcome.replaceChildren(empty("Stopped."));
    else if (result?.failed) outcome.replaceChildren(empty("The experiment failed (see above)."));
    else if (!result?.values) outcome.replaceChildren(empty(at.offline() ? NEEDS_PYTHON : ""));
    else outcome.replaceChildren(...drawResult(result));
    at.draw();
  }

  function drawResult(result) {
    const most = Math.max(...result.values) || 1;
    const names = at.network.blocks.map((block) => block.name);
    const first = (name, text) => h("span", { class: "cw-cost" },
      [text, bar(result.values[names.indexOf(name)] / most)]);
    const rows = result.rows.map(([name, text, ...others]) => [name, first(name, text), ...others]);
    coloured = true;
    colours.textContent = "Clear colours";
    return [
      h("p", { "data-part": "finding" }, result.finding),
      h("p", { class: "cw-aside" }, `Measured on ${result.on}.`),
      hasDiagram && h("div", { class: "cw-colours" }, [legend(result), colours]),
      table(result.columns, rows),
      listing(result.code),
    ].filter(Boolean);
  }

  // What the diagram shows: for each block a number on its colour, or null.
  function values() {
    const result = answer();
    if (!result || !coloured || !at.visible("lab")) return null;
    const finite = result.values.filter((value) => value !== null);
    const [low, high] = [Math.min(...finite), Math.max(...finite)];
    return result.values.map((value, i) => value === null ? null : {
      ...colourOf((value - low) / (high - low || 1)),
      text: result.texts[i],
      words: `${result.title}: ${result.texts[i]}.`,
    });
  }

  function setBusy(now) {
    asked = now;
    refresh();
  }
  return {
    id: "lab", label: "Lab", element, refresh, setBusy, values,
    announcement: () => answer()?.finding ?? (at.model.get("_lab")?.stopped ? "Stopped." : ""),
  };
}

function legend({ title, low, high }) {
  const scale = h("span", { class: "cw-scale" });
  scale.style.background = `linear-gradient(to right, ${SCALE.join(", ")})`;
  const label = `Colour scale of the diagram: ${title}, from ${low} (dark) to ${high} (bright)`;
  return h("div", { class: "cw-legend", "data-part": "legend", role: "img", "aria-label": label }, [
    h("strong", {}, title), h("span", {}, low), scale, h("span", {}, high),
  ]);
}
