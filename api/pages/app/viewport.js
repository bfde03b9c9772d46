// Which part of a picture a canvas shows: zoom and pan, without any drawing.

export const MAX_ZOOM = 16;

export class Viewport {
  zoom = 1;
  /** The point of the picture in the middle, as shares of its sides. */
  x = 0.5;
  y = 0.5;

  /** Scale and offset from pixels of the image to pixels of a canvas of this size. */
  transform(image, width, height) {
    const scale = Math.min(width / image.width, height / image.height) * this.zoom;
    return { scale, left: width / 2 - this.x * image.width * scale, top: height / 2 - this.y * image.height * scale };
  }

  /** Zoom by `factor`; the point (x, y) of the canvas stays where it is. */
  zoomAt(factor, x, y, image, width, height) {
    const before = this.transform(image, width, height);
    const point = [(x - before.left) / before.scale, (y - before.top) / before.scale];
    this.zoom = Math.min(MAX_ZOOM, Math.max(1, this.zoom * factor));
    const after = this.transform(image, width, height);
    this.pan(x - (after.left + point[0] * after.scale), y - (after.top + point[1] * after.scale), image, width, height);
  }

  /** Pan by pixels of the canvas. It stays in sight. */
  pan(dx, dy, image, width, height) {
    const { scale } = this.transform(image, width, height);
    this.x = within(this.x - dx / (image.width * scale), width / 2 / (image.width * scale));
    this.y = within(this.y - dy / (image.height * scale), height / 2 / (image.height * scale));
  }

  reset() {
    Object.assign(this, { zoom: 1, x: 0.5, y: 0.5 });
  }
}

/** `value`, so that `half` the view on each side of it lies within 0..1; the middle if the view is larger. */
const within = (value, half) => (half >= 0.5 ? 0.5 : Math.min(1 - half, Math.max(half, value)));
