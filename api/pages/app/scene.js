// What a result shows: its objects with their outlines, colours and what the user chose for them.

import { coloursOf } from "./colours.js";
import { pathOf } from "./contour.js";
import { countsToRuns, eachStretch } from "./rle.js";

const SAMPLE_SIDE = 160;
const GREY = [128, 128, 128];
/** How long the page may not react while outlines are made. */
const SLICE_MS = 16;

/** The objects of a result: {label, score, area, box, runs, path, colour, isShown}. `choices`: what the user changed, by index.
 * `bitmap` is not used any more once this function has returned its promise. */
export async function objectsOf(result, bitmap, choices) {
  const sample = bitmap && sampleOf(result.image, bitmap);
  const objects = await inSlices(result.objects, found => ({ ...found, label: found.label ?? "unknown", ...shapeOf(found) }));
  const means = objects.map(each => (sample ? meanOf(each, result.image, sample) : GREY));
  const colours = coloursOf(objects.map(each => each.box), means, Math.max(result.image.width, result.image.height) / 50);
  return objects.map((each, index) => ({ ...each, colour: colours[index], isShown: true, ...choices[index] }));
}

/** `list.map(make)`, with pauses in which the page reacts. */
async function inSlices(list, make) {
  const made = [];
  let end_ms = performance.now() + SLICE_MS;
  for (const each of list) {
    if (performance.now() > end_ms) {
      await new Promise(resolve => setTimeout(resolve));
      end_ms = performance.now() + SLICE_MS;
    }
    made.push(make(each));
  }
  return made;
}

function shapeOf(found) {
  const mask = [found.mask, ...found.alternate_masks].find(each => each?.format === "rle");
  if (!mask) return { runs: null, path: boxPath(found.box) };
  const runs = countsToRuns(mask.counts);
  return { runs, path: pathOf(runs, mask.size[0]) };
}

function boxPath([x0, y0, x1, y1]) {
  const path = new Path2D();
  path.rect(x0, y0, x1 - x0, y1 - y0);
  return path;
}

/** A small copy of the picture. */
function sampleOf(image, bitmap) {
  const scale = Math.min(1, SAMPLE_SIDE / Math.max(image.width, image.height));
  const width = Math.max(1, Math.round(image.width * scale)), height = Math.max(1, Math.round(image.height * scale));
  const context = new OffscreenCanvas(width, height).getContext("2d");
  context.drawImage(bitmap, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}

/** The mean colour under an object. */
function meanOf({ runs, box }, image, { data, width, height }) {
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
