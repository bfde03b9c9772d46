// The canvas of a card: draws when something changed, and knows which object is at a point.

import { el } from "./dom.js";
import { listenToGestures } from "./gestures.js";
import { paint } from "./painting.js";
import { Viewport } from "./viewport.js";

const LINE = 1.25;

export class MaskCanvas extends EventTarget {
  viewport = new Viewport();
  image = { width: 4, height: 3 };
  bitmap = null;
  objects = [];
  opacity = 0.4;
  highlighted = null;
  isComparing = false;
  #isWaiting = false;

  /** Events: "pointed" (detail: object or null), "picked" (an object was clicked), "compared". */
  constructor(label, describedBy) {
    super();
    this.element = el("canvas", { tabindex: "0", role: "application", "aria-label": label, "aria-describedby": describedBy });
    new ResizeObserver(() => this.draw()).observe(this.element);
    listenToGestures(this);
  }

  /** Draw with the next frame. */
  draw() {
    if (this.#isWaiting) return;
    this.#isWaiting = true;
    requestAnimationFrame(() => {
      this.#isWaiting = false;
      this.#drawNow();
    });
  }

  #drawNow() {
    const { clientWidth: width, clientHeight: height } = this.element;
    const density = devicePixelRatio || 1;
    Object.assign(this.element, { width: Math.round(width * density), height: Math.round(height * density) });
    const context = this.element.getContext("2d");
    const { scale, left, top } = this.viewport.transform(this.image, width, height);
    context.setTransform(scale * density, 0, 0, scale * density, left * density, top * density);
    context.imageSmoothingEnabled = scale < 4;
    const shown = this.isComparing ? [] : this.objects;
    paint(context, this.bitmap, this.image, shown, { opacity: this.opacity, line: LINE / scale, highlighted: this.highlighted });
    this.element.classList.toggle("is-zoomed", this.viewport.zoom > 1);
  }

  /** The topmost object at a point of the canvas, or null. */
  objectAt(x, y) {
    const { scale, left, top } = this.viewport.transform(this.image, this.element.clientWidth, this.element.clientHeight);
    const context = this.element.getContext("2d");
    context.save();
    context.resetTransform();
    const hit = this.objects.findLast(each => context.isPointInPath(each.path, (x - left) / scale, (y - top) / scale, "evenodd"));
    context.restore();
    return hit ?? null;
  }

  highlight(object) {
    if (this.highlighted === object) return;
    this.highlighted = object;
    this.draw();
  }

  compare(isComparing) {
    this.isComparing = isComparing;
    this.dispatchEvent(new Event("compared"));
    this.draw();
  }

  zoom(factor, x = this.element.clientWidth / 2, y = this.element.clientHeight / 2) {
    this.viewport.zoomAt(factor, x, y, this.image, this.element.clientWidth, this.element.clientHeight);
    this.draw();
  }

  pan(dx, dy) {
    this.viewport.pan(dx, dy, this.image, this.element.clientWidth, this.element.clientHeight);
    this.draw();
  }

  fit() {
    this.viewport.reset();
    this.draw();
  }
}
