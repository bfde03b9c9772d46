// The canvas of a card: draws when something changed, and knows which object is at a point.

import { el } from "./dom.js";
import { listenToGestures } from "./gestures.js";
import { emphasize, paint } from "./painting.js";
import { Viewport } from "./viewport.js";

const LINE = 1.25;
const density = () => devicePixelRatio || 1;

export class MaskCanvas extends EventTarget {
  viewport = new Viewport();
  image = { width: 4, height: 3 };
  bitmap = null;
  objects = [];
  opacity = 0.4;
  highlighted = null;
  /** The share of the picture, from the left, that is shown without masks. */
  original = 0;
  #isWaiting = false;
  /** All but what is highlighted, so that pointing at one of many objects does not draw all. */
  #layer = null;

  /** Events: "pointed" (detail: object or null), "picked" (an object was clicked), "compared". */
  constructor(label, describedBy) {
    super();
    this.element = el("canvas", { tabindex: "0", role: "application", "aria-label": label, "aria-describedby": describedBy });
    new ResizeObserver(() => this.draw()).observe(this.element);
    listenToGestures(this);
  }

  /** Draw all with the next frame. */
  draw() {
    this.#layer = null;
    this.#wait();
  }

  #wait() {
    if (this.#isWaiting) return;
    this.#isWaiting = true;
    requestAnimationFrame(() => {
      this.#isWaiting = false;
      this.#drawNow();
    });
  }

  #drawNow() {
    const { clientWidth, clientHeight } = this.element, { highlighted } = this;
    const [width, height] = [clientWidth, clientHeight].map(side => Math.max(1, Math.round(side * density())));
    Object.assign(this.element, { width, height });
    this.element.classList.toggle("is-zoomed", this.viewport.zoom > 1);
    if (!this.objects.includes(highlighted) || this.original === 1) return this.#paintAll(this.element);
    this.#layer ??= this.#paintAll(new OffscreenCanvas(width, height));
    const context = this.element.getContext("2d");
    context.drawImage(this.#layer, 0, 0);
    emphasize(context, highlighted, LINE / this.#place(context));
  }

  #paintAll(canvas) {
    const context = canvas.getContext("2d"), scale = this.#place(context);
    context.imageSmoothingEnabled = scale < 4;
    const { opacity, original } = this;
    paint(context, this.bitmap, this.image, this.objects, { opacity, original, line: LINE / scale });
    return canvas;
  }

  /** Make a context draw in pixels of the image. Returns the size of one on the screen. */
  #place(context) {
    const { scale, left, top } = this.viewport.transform(this.image, this.element.clientWidth, this.element.clientHeight);
    context.setTransform(scale * density(), 0, 0, scale * density(), left * density(), top * density());
    return scale;
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
    this.#wait();
  }

  /** Show this share of the picture without masks; without a share, all of it or nothing. */
  compare(share = this.original ? 0 : 1) {
    this.original = share;
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
