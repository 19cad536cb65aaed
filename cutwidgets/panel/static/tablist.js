// @ts-check
/** @import { Tab } from "./types.d.ts" */
/** @import { Store } from "./store.js" */
import { button, h, scrollBox } from "./dom.js";

/**
 * A list of tabs and their panels; a single tab has no list.
 * @param {Store} store
 * @param {Tab[]} tabs
 * @param {string} prefix
 */
export function createTabs(store, tabs, prefix) {
  const buttons = tabs.map(createTabButton);
  const several = tabs.length > 1;
  const panels = tabs.map(({ id, label, element }) => scrollBox({
    class: "cw-tabpanel", role: several ? "tabpanel" : "group", id: `${prefix}panel-${id}`,
    ...(several ? { "aria-labelledby": `${prefix}tab-${id}` } : { "aria-label": label }),
  }, [element]));
  const list = h("div", { class: "cw-tabs", role: "tablist", "aria-label": "The slice" }, buttons);

  /** @param {Tab} tab @param {number} i */
  function createTabButton({ id, label }, i) {
    const tab = button(label, "", () => store.show(id));
    tab.removeAttribute("title");
    const own = { role: "tab", id: `${prefix}tab-${id}`, "aria-controls": `${prefix}panel-${id}`, "data-tab": id };
    for (const [name, value] of Object.entries(own)) tab.setAttribute(name, value);
    tab.addEventListener("keydown", (event) => {
      /** @type {Record<string, number>} */
      const keys = { ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: tabs.length - 1 };
      const to = keys[event.key];
      if (to === undefined) return;
      event.preventDefault();
      event.stopPropagation();
      const next = (to + tabs.length) % tabs.length;
      store.show(tabs[next].id);
      buttons[next].focus();
    });
    return tab;
  }
  function refresh() {
    tabs.forEach((tab, i) => {
      const isCurrent = tab.id === store.tab();
      buttons[i].setAttribute("aria-selected", String(isCurrent));
      buttons[i].setAttribute("tabindex", isCurrent ? "0" : "-1");
      panels[i].hidden = !isCurrent;
      if (isCurrent) tab.refresh();
    });
  }
  return { list: several ? list : null, panels, refresh };
}
