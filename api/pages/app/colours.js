// Colours for objects, by the same rule as api/drawing/palette.py: far from what lies under them, and from each other.

/** Okabe and Ito, Color Universal Design (2008), without black. */
export const PALETTE = ["#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7"];

/** A colour for each object. `means`: the mean colour under each, [r, g, b] in 0..255; `boxes`: [x0, y0, x1, y1]. */
export function coloursOf(boxes, means, margin) {
  const chosen = [];
  boxes.forEach((box, index) => {
    const near = chosen.filter((_, other) => meet(box, boxes[other], margin));
    const mean = oklab(means[index]);
    const ranks = PALETTE.map(colour => rank(colour, mean, near, chosen));
    chosen.push(PALETTE[ranks.reduce((best, each, at) => (isBetter(each, ranks[best]) ? at : best), 0)]);
  });
  return chosen;
}

/** First the difference from what lies under it and from all other colours, then how seldom it is used. */
function rank(colour, mean, near, chosen) {
  const own = oklab(rgbOf(colour)), fromMean = distance(own, mean);
  const gap = Math.min(fromMean, ...chosen.map(other => distance(own, oklab(rgbOf(other)))));
  return [gap, -times(near, colour), -times(chosen, colour), fromMean];
}

const distance = (one, other) => Math.hypot(...one.map((value, axis) => value - other[axis]));

const times = (colours, colour) => colours.filter(each => each === colour).length;

function isBetter(one, other) {
  const first = one.findIndex((value, index) => value !== other[index]);
  return first >= 0 && one[first] > other[first];
}

const meet = (box, other, margin) => [0, 1].every(axis => box[axis] - margin < other[axis + 2] && other[axis] - margin < box[axis + 2]);

export const rgbOf = hex => [1, 3, 5].map(start => parseInt(hex.slice(start, start + 2), 16));

/** sRGB 0..255 as OKLab (Björn Ottosson, 2020). */
export function oklab(rgb) {
  const [r, g, b] = rgb.map(value => linear(value / 255));
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  return [
    0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
  ];
}

const linear = value => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
