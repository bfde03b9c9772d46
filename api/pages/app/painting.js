// Draws a picture and its objects on a canvas: tint, and a light and a dark line that are visible on any ground.

/** Widths of the coloured line. */
const NORMAL = 1.6, WIDE = 2.6;
/** Opacity of what is drawn again. */
const STRONGER = 0.35;

/** `context` draws in pixels of the image. `line`: width of lines in these pixels. `original`: the share of the picture, from the
 * left, that has no masks. */
export function paint(context, bitmap, image, objects, { opacity, line, original = 0 }) {
  if (bitmap) context.drawImage(bitmap, 0, 0, image.width, image.height);
  if (original === 1) return;
  context.save();
  if (original) clipTo(context, image, original * image.width, line);
  for (const object of objects) paintObject(context, object, opacity, line, NORMAL);
  context.restore();
}

/** Draw one object again, in front of all others and stronger. */
export function emphasize(context, object, line) {
  paintObject(context, object, STRONGER, line, WIDE);
}

/** Draw only to the right of x, and a line there. */
function clipTo(context, { width, height }, x, line) {
  const border = new Path2D(`M${x} 0V${height}`), right = new Path2D();
  stroke(context, border, "#000c", 4.5 * line);
  stroke(context, border, "#fff", 2 * line);
  right.rect(x, -height, width, 3 * height);
  context.clip(right);
}

function paintObject(context, { path, runs, colour }, opacity, line, width) {
  context.lineJoin = "round";
  stroke(context, path, "#000c", 4.5 * line);
  stroke(context, path, "#fff", 3.2 * line);
  stroke(context, path, colour, width * line);
  if (!runs) return;
  context.globalAlpha = opacity;
  context.fillStyle = colour;
  context.fill(path, "evenodd");
  context.globalAlpha = 1;
}

function stroke(context, path, style, width) {
  context.strokeStyle = style;
  context.lineWidth = width;
  context.stroke(path);
}
