// The pictures that the next phrase is for, as thumbnails.

import { button, el } from "./dom.js";

const SIDE = 96;

export class Tray {
  #pictures = new Map();
  #isUsed = false;

  constructor(element, changed) {
    Object.assign(this, { element, changed });
  }

  get pictures() {
    return [...this.#pictures.values()].map(each => each.picture);
  }

  /** After a phrase was sent, the next picture begins a new choice. */
  add(picture) {
    if (this.#isUsed) this.#clear();
    if (this.#pictures.has(picture.id)) return;
    const item = el("li", {}, thumbnail(picture), el("span", { text: picture.name }),
      button("×", () => this.#remove(picture.id), { "aria-label": `Do not use ${picture.name}` }));
    this.#pictures.set(picture.id, { picture, item });
    this.element.append(item);
    this.changed();
  }

  markUsed() {
    this.#isUsed = true;
  }

  #clear() {
    this.#isUsed = false;
    this.#pictures.clear();
    this.element.replaceChildren();
  }

  #remove(id) {
    this.#pictures.get(id).item.remove();
    this.#pictures.delete(id);
    this.changed();
  }
}

function thumbnail(picture) {
  const canvas = el("canvas", { width: SIDE, height: SIDE * 0.75, "aria-hidden": "true" });
  if (picture.width) void drawSmall(canvas, picture.blob);
  return canvas;
}

async function drawSmall(canvas, blob) {
  const bitmap = await createImageBitmap(blob);
  const scale = Math.max(canvas.width / bitmap.width, canvas.height / bitmap.height);
  const width = bitmap.width * scale, height = bitmap.height * scale;
  canvas.getContext("2d").drawImage(bitmap, (canvas.width - width) / 2, (canvas.height - height) / 2, width, height);
  bitmap.close();
}
