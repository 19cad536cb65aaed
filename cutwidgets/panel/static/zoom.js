// @ts-check

/**
 * How large the diagram is drawn in its box.
 * @param {HTMLElement} box
 * @param {SVGSVGElement} svg
 * @param {() => void} zoomed
 */
export function createZoom(box, svg, zoomed) {
  const { width, height } = svg.viewBox.baseVal;
  let scale = 1;
  let automatic = true;

  /** @param {number} target */
  function set(target) {
    const middle = (box.scrollTop + box.clientHeight / 2) / scale;
    scale = Math.max(0.05, Math.min(4, target));
    svg.style.width = `${width * scale}px`;
    svg.style.height = `${height * scale}px`;
    box.scrollTop = middle * scale - box.clientHeight / 2;
    zoomed();
  }
  /** @param {number} factor */
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
