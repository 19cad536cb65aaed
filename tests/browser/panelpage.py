"""A plain page in Chromium with a view of a real CutPanel, without JupyterLab."""

import base64
import json

import ipywidgets
from axe_playwright_python.sync_playwright import Axe

from cutwidgets.panel.page import as_text

# What anywidget gives to render(): get, set, save_changes, send, on, off. `kernel` is the CutPanel.
FAKE_MODEL = r"""
async ({ esm, state }) => {
  const module = `${esm}\nexport { fromText };`;
  const url = URL.createObjectURL(new Blob([module], { type: "text/javascript" }));
  const { default: widget, fromText } = await import(url);
  const listeners = {};
  let changed = {};
  const raw = { ...state };
  const values = fromText(state);
  const encoded = (buffer) => {
    let text = "";
    for (const byte of new Uint8Array(buffer)) text += String.fromCharCode(byte);
    return btoa(text);
  };
  window.model = {
    held: null, // a list, while answers of the kernel are held back
    get: (key) => values[key],
    on: (event, f) => (listeners[event] ??= new Set()).add(f),
    off: (event, f) => listeners[event].delete(f),
    listening: () => Object.values(listeners).reduce((n, set) => n + set.size, 0),
    set(key, value) {
      if (JSON.stringify(raw[key]) === JSON.stringify(value)) return;
      changed[key] = value;
      this.receive({ [key]: value });
    },
    receive(news) {
      const keys = Object.keys(news)
        .filter((key) => JSON.stringify(raw[key]) !== JSON.stringify(news[key]));
      for (const key of keys) {
        raw[key] = news[key];
        values[key] = fromText(news[key]);
      }
      for (const key of keys) for (const f of [...(listeners["change:" + key] ?? [])]) f();
    },
    async ask(message) {
      const answer = await window.kernel(message);
      if (this.held) this.held.push(answer);
      else this.receive(answer);
    },
    save_changes() {
      if (Object.keys(changed).length) this.ask({ state: changed });
      changed = {};
    },
    send(content, _callbacks, buffers = []) {
      this.ask({ content, buffers: buffers.map(encoded) });
    },
  };
  window.show = () => {
    const el = document.body.appendChild(document.createElement("div"));
    return widget.render({ model: window.model, el });
  };
}
"""


class PanelPage:
    """A page with a view of a panel."""

    def __init__(self, page, panel) -> None:
        self.page = page
        self.panel = panel
        page.expose_function("kernel", self.kernel)
        page.set_content(
            f'<!doctype html><html lang="en"><title>panel</title><style>{panel._css}</style>'
            "<body><h1 hidden>panel</h1>"
        )
        page.evaluate(FAKE_MODEL, {"esm": panel._esm, "state": self.state()})
        self.show()

    def state(self) -> dict:
        """The panel's state as JSON, with bytes as text."""
        state = self.panel.get_state()
        names = state.keys() - {"_esm", "_css"} - set(ipywidgets.DOMWidget.class_trait_names())
        return json.loads(json.dumps(as_text({name: state[name] for name in names})))

    def kernel(self, message: dict) -> dict:
        if "state" in message:
            self.panel.set_state(message["state"])
        else:
            buffers = [base64.b64decode(text) for text in message["buffers"]]
            self.panel._handle_custom_msg(message["content"], buffers)
            if message["content"]["ask"] in self.panel._jobs.keys() - {"lab"}:
                self.panel._thread.join()
        return self.state()

    def show(self) -> None:
        self.page.evaluate("() => { window.close = window.show(); }")

    def update(self) -> None:
        """Send to the page what was changed in Python."""
        self.page.evaluate("state => model.receive(state)", self.state())

    def block(self, name: str, view: int = 0):
        return self.page.locator(f'[data-block="{name}"]').nth(view)

    def part(self, name: str, view: int = 0):
        return self.page.locator(f"[data-part={name}]").nth(view)

    def begin(self, experiment: str) -> None:
        """Begin an experiment in the tab Lab."""
        lab = self.tab("lab")
        lab.locator("select").select_option(experiment)
        before = self.page.evaluate("model.get('_lab').count ?? 0")
        lab.get_by_role("button", name="Run experiment").click()
        self.page.wait_for_function(
            "before => model.get('_progress').lab || model.get('_lab').count > before",
            arg=before,
        )

    def finish(self) -> None:
        """Wait for the end of an experiment."""
        self.panel._thread.join()
        self.update()

    def tab(self, name: str):
        self.page.locator(f"[data-tab={name}]").click()
        return self.part(name) if name != "run" else self.part("features")

    def choose(self, start: str, end: str) -> None:
        self.block(start).click()
        self.block(end).click()
        self.wait_for(start, end)

    def wait_for(self, start: str, end: str) -> None:
        self.page.wait_for_selector(f'.cutwidgets[data-selection="{start}..{end}"]')

    def selected(self) -> list[str]:
        options = self.page.locator("[role=option][aria-selected=true]")
        return options.evaluate_all("all => all.map(one => one.dataset.block)")

    def shown(self) -> str | None:
        return self.page.locator(".cutwidgets").first.get_attribute("data-selection")

    def live(self) -> str:
        return self.page.locator("[aria-live=polite]").first.text_content()

    def colour(self, scheme: str) -> None:
        """Show the page in the scheme `"light"` or `"dark"`."""
        self.page.emulate_media(color_scheme=scheme)
        background = {"light": "#ffffff", "dark": "#161b22"}[scheme]
        self.page.add_style_tag(content=f"body {{ background: {background} }}")

    def violations(self) -> list[str]:
        """What axe finds wrong with the panel as it is shown."""
        self.page.wait_for_timeout(200)  # until what fades has faded
        found = Axe().run(self.page, context=".cutwidgets").response["violations"]
        nodes = {one["id"]: [node["html"][:120] for node in one["nodes"]][:3] for one in found}
        return [f"{name}: {where}" for name, where in nodes.items()]
