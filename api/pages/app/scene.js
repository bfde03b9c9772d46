// What a result shows: its objects with their outlines, colours and what the user chose for them.

import { coloursOf } from "./colours.js";
import { pathOf } from "./contour.js";
import { countsToRuns, eachStretch } from "./rle.js";

const SAMPLE_SIDE = 160;
const GREY = [128, 128, 128];

/** The objects of a result: {label, score, area, box, runs, path, colour, isShown}. `choices`: what the user changed, by index. */
export function objectsOf(result, bitmap, choices) {
  const objects = result.objects.map(found => ({ ...found, label: found.label ?? "unknown", ...shapeOf(found) }));
  const means = bitmap ? meansOf(objects, result.image, bitmap) : objects.map(() => GREY);
  const colours = coloursOf(objects.map(each => each.box), means, Math.max(result.image.width, result.image.height) / 50);
  return objects.map((each, index) => ({ ...each, colour: colours[index], isShown: true, ...choices[index] }));
}

function shapeOf(found) {
  const mask = [found.mask, ...found.alternate_masks].find(each => each?.format === "rle");
  if (!mask) return { size: null, runs: null, path: boxPath(found.box) };
  const runs = countsToRuns(mask.counts);
  return { size: mask.size, runs, path: pathOf(runs, mask.size[0]) };
}

function boxPath([x0, y0, x1, y1]) {
  const path = new Path2D();
  path.rect(x0, y0, x1 - x0, y1 - y0);
  return path;
}

/** The mean colour under each object, measured in a small copy of the picture. */
function meansOf(objects, image, bitmap) {
  const scale = Math.min(1, SAMPLE_SIDE / Math.max(image.width, image.height));
  const width = Math.max(1, Math.round(image.width * scale)), height = Math.max(1, Math.round(image.height * scale));
  const context = new OffscreenCanvas(width, height).getContext("2d");
  context.drawImage(bitmap, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  return objects.map(each => meanOf(each, image, data, width, height));
}

function meanOf({ runs, box }, image, data, width, height) {
  const sum = [0, 0, 0];
  let number = 0;
  const add = (x, y0, y1) => {
    const column = Math.min(width - 1, Math.floor((x / image.width) * width));
    const y = Math.min(height - 1, Math.floor(((y0 + y1) / 2 / image.height) * height));
    const weight = y1 - y0, i = 4 * (y * width + column);
    for (const channel of [0, 1, 2]) sum[channel] += weight * data[i + channel];
    number += weight;
  };
  if (runs) eachStretch(runs, image.height, add);
  else for (let x = box[0]; x < box[2]; x++) add(x, box[1], box[3]);
  return number ? sum.map(value => value / number) : GREY;
}
