// COCO run lengths, as shared/domain/coco_rle.py reads them: column by column, outside first.

/** Unpack COCO's compressed string to run lengths in pixels. */
export function countsToRuns(counts) {
  const runs = [];
  let value = 0, shift = 0;
  for (let index = 0; index < counts.length; index++) {
    const bits = counts.charCodeAt(index) - 48;
    value += (bits & 0x1f) * 2 ** shift;
    shift += 5;
    if (bits & 0x20) continue;
    if (bits & 0x10) value -= 2 ** shift;
    runs.push(runs.length > 2 ? value + runs[runs.length - 2] : value);
    value = shift = 0;
  }
  return runs;
}

/** Call `paint(x, y0, y1)` for every stretch of the mask within a column; y1 is exclusive. */
export function eachStretch(runs, height, paint) {
  let position = 0;
  runs.forEach((run, index) => {
    const end = position + run;
    while (index % 2 && position < end) {
      const x = Math.floor(position / height), y = position - x * height;
      const stretch = Math.min(end - position, height - y);
      paint(x, y, y + stretch);
      position += stretch;
    }
    position = end;
  });
}

/** [x0, y0, x1, y1] around the mask, ends exclusive; null if it is empty. */
export function boundsOf(runs, height) {
  let x0 = Infinity, y0 = Infinity, x1 = 0, y1 = 0;
  eachStretch(runs, height, (x, top, bottom) => {
    x0 = Math.min(x0, x);
    x1 = Math.max(x1, x + 1);
    y0 = Math.min(y0, top);
    y1 = Math.max(y1, bottom);
  });
  return x1 ? [x0, y0, x1, y1] : null;
}

/** The mask as white pixels on black. */
export function imageOf(runs, [height, width]) {
  const image = new ImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer).fill(0xff000000);
  eachStretch(runs, height, (x, y0, y1) => {
    for (let y = y0; y < y1; y++) pixels[y * width + x] = 0xffffffff;
  });
  return image;
}
