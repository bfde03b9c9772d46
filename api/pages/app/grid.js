// A mask as shares of cells, column by column as its run lengths are.

import { boundsOf, eachStretch } from "./rle.js";

/** The masks of the models have 64 cells a side. */
const MAX_SIDE = 512;
const MARGIN = 2;
export const LEVEL = 0.5;

/** The smoothed grid {values, lines, length, toPixels}: `lines` columns of `length` cells, with two empty cells around the mask.
 * `toPixels` makes [x, y] of the image of [cell, line]. Null if the mask is empty. */
export function gridOf(runs, maskHeight) {
  const bounds = boundsOf(runs, maskHeight);
  if (!bounds) return null;
  const [x0, y0, x1, y1] = bounds;
  const scale = Math.min(1, MAX_SIDE / Math.max(x1 - x0, y1 - y0));
  const lines = Math.ceil((x1 - x0) * scale) + 2 * MARGIN, length = Math.ceil((y1 - y0) * scale) + 2 * MARGIN;
  const values = new Float32Array(lines * length);
  eachStretch(runs, maskHeight, (x, top, bottom) => {
    const left = (x - x0) * scale, right = left + scale, last = Math.ceil(right);
    for (let line = Math.floor(left); line < last; line++) {
      const share = Math.min(right, line + 1) - Math.max(left, line);
      cover(values, (line + MARGIN) * length + MARGIN, (top - y0) * scale, (bottom - y0) * scale, share);
    }
  });
  const toPixels = ([cell, line]) => [(line + 0.5 - MARGIN) / scale + x0, (cell + 0.5 - MARGIN) / scale + y0];
  return { values: smoothed(values, length), lines, length, toPixels };
}

/** Add `share` to the cells from..to of the line that begins at `start`, and its part to those that are covered in part. */
function cover(values, start, from, to, share) {
  const first = Math.floor(from), last = Math.ceil(to) - 1;
  for (let cell = first; cell <= last; cell++) values[start + cell] += share;
  values[start + first] -= share * (from - first);
  values[start + last] -= share * (last + 1 - to);
}

/** Steps of single pixels become slopes. What is thinner than two pixels would vanish, so it keeps a little over half. */
function smoothed(values, length) {
  const along = new Float32Array(values.length), result = new Float32Array(values.length);
  for (let i = 1; i < values.length - 1; i++) along[i] = (values[i - 1] + 2 * values[i] + values[i + 1]) / 4;
  for (let i = length; i < values.length - length; i++) {
    const blurred = (along[i - length] + 2 * along[i] + along[i + length]) / 4;
    result[i] = Math.max(blurred, values[i] * (LEVEL + 0.1));
  }
  return result;
}
