// Draws a picture and its objects on a canvas: tint, and a light and a dark line that are visible on any ground.

/** `context` draws in pixels of the image. `line`: width of lines in these pixels. */
export function paint(context, bitmap, image, objects, { opacity, line, highlighted = null }) {
  if (bitmap) context.drawImage(bitmap, 0, 0, image.width, image.height);
  for (const object of objects) if (object !== highlighted) paintObject(context, object, opacity, line, false);
  if (highlighted && objects.includes(highlighted)) paintObject(context, highlighted, opacity, line, true);
}

function paintObject(context, { path, runs, colour }, opacity, line, isHighlighted) {
  context.lineJoin = "round";
  stroke(context, path, "#000c", 4.5 * line);
  stroke(context, path, "#fff", 3.2 * line);
  stroke(context, path, colour, (isHighlighted ? 2.6 : 1.6) * line);
  if (!runs) return;
  context.globalAlpha = isHighlighted ? Math.min(1, opacity + 0.25) : opacity;
  context.fillStyle = colour;
  context.fill(path, "evenodd");
  context.globalAlpha = 1;
}

function stroke(context, path, style, width) {
  context.strokeStyle = style;
  context.lineWidth = width;
  context.stroke(path);
}
