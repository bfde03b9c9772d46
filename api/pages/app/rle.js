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

/** What any of these masks covers, as white pixels on black. */
export function imageOf(masks, [height, width]) {
  const columns = new Uint8Array(width * height);  // like the run lengths; filling rows would take ten times as long
  for (const runs of masks) fillRuns(columns, runs);
  const image = new ImageData(width, height), pixels = new Uint32Array(image.data.buffer);
  for (let y = 0, i = 0; y < height; y++)
    for (let x = 0; x < width; x++, i++) pixels[i] = columns[x * height + y] ? 0xffffffff : 0xff000000;
  return image;
}

function fillRuns(columns, runs) {
  let position = 0;
  runs.forEach((run, index) => {
    if (index % 2) columns.fill(1, position, position + run);
    position += run;
  });
}
