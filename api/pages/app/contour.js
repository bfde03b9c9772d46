// The outline of a mask as a path, so that it is smooth at every zoom.

import { boundsOf, eachStretch } from "./rle.js";

const MAX_SIDE = 1024;
const LEVEL = 0.5;
/** A ring with fewer points keeps its corners; in a longer one, each point becomes the mean of this many before and after it. */
const MIN_POINTS = 60;
const REACH = 3;
/** From which to which side of a cell a line goes, by its corners inside: 1 top left, 2 top right, 4 bottom right, 8 bottom
 * left. The inside is to the right. Sides: T, R, B, L. */
const LINES = ["", "TL", "RT", "RL", "BR", "TLBR", "BT", "BL", "LB", "TB", "RTLB", "RB", "LR", "TR", "LT", ""];

/** A Path2D around the mask, in pixels of the image. Holes are holes with the fill rule "evenodd". */
export function pathOf(runs, height) {
  const path = new Path2D();
  for (const ring of ringsOf(runs, height)) {
    ring.forEach(([x, y], index) => (index ? path.lineTo(x, y) : path.moveTo(x, y)));
    path.closePath();
  }
  return path;
}

/** Closed lines around the mask, as lists of [x, y] in pixels. */
export function ringsOf(runs, height) {
  const bounds = boundsOf(runs, height);
  if (!bounds) return [];
  const grid = gridOf(runs, height, bounds);
  const toPixels = ([x, y]) => [(x + 0.5 - grid.margin) / grid.scale + bounds[0], (y + 0.5 - grid.margin) / grid.scale + bounds[1]];
  return trace(smoothed(grid)).map(ring => rounded(ring).map(toPixels));
}

/** The share of each cell that the mask covers, with two empty cells around it. */
function gridOf(runs, maskHeight, [x0, y0, x1, y1]) {
  const scale = Math.min(1, MAX_SIDE / Math.max(x1 - x0, y1 - y0)), margin = 2;
  const width = Math.ceil((x1 - x0) * scale) + 2 * margin, height = Math.ceil((y1 - y0) * scale) + 2 * margin;
  const values = new Float32Array(width * height);
  eachStretch(runs, maskHeight, (x, top, bottom) => {
    const from = (top - y0) * scale, to = (bottom - y0) * scale;
    eachShare((x - x0) * scale, (x - x0 + 1) * scale, (column, across) => {
      eachShare(from, to, (row, down) => { values[(row + margin) * width + column + margin] += across * down; });
    });
  });
  return { values, width, height, scale, margin };
}

/** Call `add(cell, share)` for each cell that the stretch from..to overlaps. */
function eachShare(from, to, add) {
  for (let cell = Math.floor(from); cell < to; cell++) {
    const share = Math.min(to, cell + 1) - Math.max(from, cell);
    if (share > 1e-6) add(cell, share);
  }
}

/** Steps of single pixels become slopes. What is thinner than two pixels would vanish, so it keeps a little over half. */
function smoothed({ values, width, height }) {
  const across = new Float32Array(values.length), result = new Float32Array(values.length);
  for (let i = 1; i < values.length - 1; i++) across[i] = (values[i - 1] + 2 * values[i] + values[i + 1]) / 4;
  for (let i = width; i < values.length - width; i++) {
    const blurred = (across[i - width] + 2 * across[i] + across[i + width]) / 4;
    result[i] = Math.max(blurred, values[i] * (LEVEL + 0.1));
  }
  return { values: result, width, height };
}

/** Marching squares: the lines where the values cross the level, joined to rings. */
function trace({ values, width, height }) {
  const next = new Map();
  for (let y = 0; y < height - 1; y++)
    for (let x = 0; x < width - 1; x++) {
      const i = y * width + x;
      const corners = (values[i] >= LEVEL) + 2 * (values[i + 1] >= LEVEL) + 4 * (values[i + width + 1] >= LEVEL) + 8 * (values[i + width] >= LEVEL);
      const lines = LINES[corners];
      for (let k = 0; k < lines.length; k += 2) next.set(side(lines[k], i, width), side(lines[k + 1], i, width));
    }
  return joined(next).map(ring => ring.map(id => crossing(id, values, width)));
}

/** Where the edge is nearly level, pixels make long flat steps, which the 3x3 blur leaves. */
function rounded(ring) {
  if (ring.length < MIN_POINTS) return ring;
  const { length } = ring, number = 2 * REACH + 1;
  return ring.map((_, index) => {
    let x = 0, y = 0;
    for (let k = index - REACH; k <= index + REACH; k++) {
      const point = ring[(k + length) % length];
      x += point[0];
      y += point[1];
    }
    return [x / number, y / number];
  });
}

/** The number of a cell's side: twice the number of its first corner, plus 1 if it goes down. */
const side = (name, i, width) => ({ T: 2 * i, L: 2 * i + 1, B: 2 * (i + width), R: 2 * (i + 1) + 1 })[name];

function joined(next) {
  const rings = [];
  while (next.size) {
    const ring = [];
    let [id] = next.keys();
    while (next.has(id)) {
      ring.push(id);
      const following = next.get(id);
      next.delete(id);
      id = following;
    }
    rings.push(ring);
  }
  return rings;
}

function crossing(id, values, width) {
  const i = id >> 1, isDown = id & 1;
  const here = values[i], there = values[i + (isDown ? width : 1)];
  const share = (LEVEL - here) / (there - here);
  const x = i % width, y = Math.floor(i / width);
  return isDown ? [x, y + share] : [x + share, y];
}
