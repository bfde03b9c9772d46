// The outline of a mask as a path, so that it is smooth at every zoom.

import { gridOf, LEVEL } from "./grid.js";

/** A ring with fewer points keeps its corners; in a longer one, each point becomes the mean of some before and after it. */
const MIN_POINTS = 60;
const MIN_REACH = 3;
/** The model's masks have 64 cells a side, so a step of a cell is this share of a ring or less. */
const CELL = 1 / 200;
/** Cells by which a simpler line may differ. Drawing takes as long as there are points. */
const TOLERANCE = 0.1;
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
  const grid = gridOf(runs, height);
  if (!grid) return [];
  // The grid is transposed, so its rings run the other way round.
  return trace(grid).map(ring => simplified(rounded(ring)).map(grid.toPixels).reverse());
}

/** Marching squares: the lines where the values cross the level, joined to rings of [cell, line]. */
function trace({ values, lines, length }) {
  const next = new Map();
  for (let y = 0; y < lines - 1; y++)
    for (let x = 0; x < length - 1; x++) {
      const i = y * length + x;
      const corners = (values[i] >= LEVEL) + 2 * (values[i + 1] >= LEVEL) + 4 * (values[i + length + 1] >= LEVEL) + 8 * (values[i + length] >= LEVEL);
      const crossed = LINES[corners];
      for (let k = 0; k < crossed.length; k += 2) next.set(side(crossed[k], i, length), side(crossed[k + 1], i, length));
    }
  return joined(next).map(ring => ring.map(id => crossing(id, values, length)));
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

/** Where the edge is nearly level, pixels make long flat steps, which the smoothing of the grid leaves. */
function rounded(ring) {
  if (ring.length < MIN_POINTS) return ring;
  const { length } = ring, reach = Math.max(MIN_REACH, Math.round(length * CELL)), number = 2 * reach + 1;
  return ring.map((_, index) => {
    let x = 0, y = 0;
    for (let k = index - reach; k <= index + reach; k++) {
      const point = ring[(k + length) % length];
      x += point[0];
      y += point[1];
    }
    return [x / number, y / number];
  });
}

/** Without the points that are nearly on the line between those that stay (Douglas and Peucker, 1973). */
function simplified(ring) {
  const isKept = new Uint8Array(ring.length), half = ring.length >> 1;
  const waiting = [[0, half], [half, ring.length]];
  while (waiting.length) {
    const [from, to] = waiting.pop(), at = farthest(ring, from, to);
    isKept[from] = 1;
    if (at) waiting.push([from, at], [at, to]);
  }
  return ring.filter((_, index) => isKept[index]);
}

/** The point between two others that is farthest from their line; 0 if none is farther than the tolerance. */
function farthest(ring, from, to) {
  const [x, y] = ring[from], [u, v] = ring[to % ring.length];
  const span = Math.hypot(u - x, v - y) || 1;
  let found = 0, most = TOLERANCE * span;
  for (let index = from + 1; index < to; index++) {
    const away = Math.abs((ring[index][0] - x) * (v - y) - (ring[index][1] - y) * (u - x));
    if (away > most) [found, most] = [index, away];
  }
  return found;
}
