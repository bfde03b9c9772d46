// The inside of a card whose job has succeeded: canvas, tools, objects, downloads.

import * as downloads from "./downloads.js";
import { button, el } from "./dom.js";
import { objectList } from "./object_list.js";
import { objectsOf } from "./scene.js";
import { asCurl, asPython, copy } from "./snippets.js";

const FILES = [
  ["Cut-out PNG", "cutout.png", downloads.cutOut], ["Mask PNG", "mask.png", downloads.maskOf],
  ["Overlay PNG", "overlay.png", downloads.overlay], ["COCO", "coco.json", downloads.coco], ["JSON", "job.json", downloads.json],
];

export class ResultView {
  #filled = null;
  #objects = [];
  #threshold = 0;

  /** `changed(choices)` is called when the user hides or recolours an object; `say(words)` tells them something. */
  constructor(record, canvas, { changed, say }) {
    Object.assign(this, { record, canvas, changed, say, picture: null });
    this.list = el("div");
    this.element = el("div", { class: "result" }, this.#tools(), this.list, this.#files());
    canvas.addEventListener("pointed", event => this.#highlight(event.detail));
    canvas.addEventListener("picked", event => event.detail?.row?.querySelector("input").focus({ preventScroll: true }));
  }

  /** Show the objects over this bitmap; null while the picture is not known. */
  async show(bitmap, picture) {
    const { result } = this.record.job;
    this.picture = picture;
    Object.assign(this.canvas, { bitmap, image: result.image });
    this.canvas.draw();
    this.#filled ??= objectsOf(result, bitmap, this.record.choices).then(objects => this.#fill(objects));
    await this.#filled;
    this.#refresh();
  }

  #fill(objects) {
    this.#objects = objects;
    const on = { highlight: object => this.#highlight(object), change: () => this.#keepChoices(), save: object => this.#save("cutout.png", downloads.cutOut, [object]) };
    this.list.replaceChildren(objectList(objects, on));
  }

  get #shown() {
    return this.#objects.filter(each => each.isShown && each.score >= this.#threshold);
  }

  #refresh() {
    for (const each of this.#objects) each.row.hidden = each.score < this.#threshold;
    this.canvas.objects = this.#shown.sort((one, other) => other.area - one.area);  // small ones in front, so that all can be pointed at
    this.canvas.draw();
  }

  #keepChoices() {
    this.changed(Object.fromEntries(this.#objects.map(({ isShown, colour }, index) => [index, { isShown, colour }])));
    this.#refresh();
  }

  #highlight(object) {
    this.canvas.highlight(object);
    for (const each of this.#objects) each.row.classList.toggle("is-highlighted", each === object);
  }

  #tools() {
    const { canvas } = this;
    const compare = button("Compare", () => canvas.compare(), { "aria-pressed": "false", title: "Show the picture without masks (C)" });
    const original = slider("Original up to", 0, value => canvas.compare(value));
    canvas.addEventListener("compared", () => {
      compare.setAttribute("aria-pressed", canvas.original > 0);
      original.show(canvas.original);
    });
    const opacity = slider("Opacity", canvas.opacity, value => { canvas.opacity = value; canvas.draw(); });
    const threshold = slider("Lowest score", 0, value => { this.#threshold = value; this.#refresh(); });
    return el("div", { class: "tools" },
      button("+", () => canvas.zoom(1.5), { "aria-label": "Zoom in" }), button("−", () => canvas.zoom(1 / 1.5), { "aria-label": "Zoom out" }),
      button("Fit", () => canvas.fit(), { "aria-label": "Show the whole picture" }), compare, original.element, opacity.element, threshold.element);
  }

  #files() {
    const files = FILES.map(([text, name, make]) => button(text, () => this.#save(name, make, this.#shown)));
    const copied = [["Copy as curl", asCurl], ["Copy as Python", asPython]].map(([text, write]) => button(text, () => this.#copy(write)));
    return el("div", { class: "files", role: "group", "aria-label": "Save or copy" }, ...files, ...copied);
  }

  async #save(name, make, objects) {
    try {
      const { job } = this.record;
      const blob = await make({ job, image: job.result.image, objects, opacity: this.canvas.opacity, blob: this.picture?.view ?? this.picture?.blob });
      downloads.save(blob, `${this.record.name.replace(/\.\w+$/, "")}-${name}`);
      this.say(`Saved ${name}.`);
    } catch (error) {
      this.say(error.message);
    }
  }

  async #copy(write) {
    try {
      await copy(write(this.record, this.picture?.url));
      this.say("Copied.");
    } catch (error) {
      this.say(error.message);
    }
  }
}

/** A slider from 0 to 1. `show(value)` shows what something else has set. */
function slider(name, value, set) {
  const range = el("input", { type: "range", min: "0", max: "1", step: "0.05" });
  const shown = el("span", { "aria-hidden": "true" });
  const show = value => {
    range.value = value;
    shown.textContent = value.toFixed(2);
  };
  range.addEventListener("input", () => {
    show(range.valueAsNumber);
    set(range.valueAsNumber);
  });
  show(value);
  return { element: el("label", { class: "slider" }, name, range, shown), show };
}
