// @ts-check
// What anywidget calls. panel/page.py joins this file and all that it imports into one script.
/** @import { Model } from "./types.d.ts" */
import { offlineModel } from "./offline.js";
import { createPanel } from "./panel.js";
import { hidePicture } from "./picture.js";
import { createSizes } from "./sizes.js";

const widget = {
  /** @param {{model: Model, el: HTMLElement}} view */
  render({ model, el }) {
    // Panels, and views of one panel, share a page: ids differ by view. (Each panel has a copy of
    // this script of its own, so counting would not do.)
    const prefix = `cutwidgets-${Math.random().toString(36).slice(2)}-`;
    /** @type {ReturnType<typeof createPanel> | undefined} */
    let panel;
    const sizes = createSizes();
    function draw() {
      panel?.close();
      panel = createPanel(model, prefix, sizes);
      el.replaceChildren(panel.root);
      hidePicture(model, el);
      panel.start();
    }
    draw();
    model.on("change:_network", draw); // another model
    return () => {
      model.off("change:_network", draw);
      panel?.close();
    };
  },
};

export { offlineModel };
export default widget;
