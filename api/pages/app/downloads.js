// Files made of a card, in the browser: cut-out, mask, overlay, JSON. COCO is made by the service.

import * as api from "./api.js";
import { el } from "./dom.js";
import { paint } from "./painting.js";
import { imageOf } from "./rle.js";

/** The visible objects on nothing, at full size. */
export async function cutOut({ blob, image, objects }) {
  const { canvas, context } = blank(image);
  for (const { path } of objects) context.fill(path, "evenodd");
  context.globalCompositeOperation = "source-in";
  context.drawImage(await createImageBitmap(blob), 0, 0, image.width, image.height);
  return pngOf(canvas);
}

/** One mask of all visible objects: white inside, black outside, exactly the pixels of the result. */
export async function maskOf({ image, objects }) {
  const { canvas, context } = blank(image);
  const masks = objects.filter(each => each.runs).map(each => each.runs);
  context.putImageData(imageOf(masks, [image.height, image.width]), 0, 0);
  return pngOf(canvas);
}

/** The picture with the masks as the card shows them, at full size. */
export async function overlay({ blob, image, objects, opacity }) {
  const { canvas, context } = blank(image);
  const line = Math.max(1, Math.max(image.width, image.height) / 800);
  paint(context, await createImageBitmap(blob), image, objects, { opacity, line });
  return pngOf(canvas);
}

export const json = async ({ job }) => new Blob([JSON.stringify(job, null, 2)], { type: "application/json" });
export const coco = ({ job }) => api.coco(job.id);

/** Make the browser save a file. */
export function save(blob, name) {
  const link = el("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function blank({ width, height }) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  return { canvas, context: canvas.getContext("2d") };
}

async function pngOf(canvas) {
  const blob = await new Promise(resolve => canvas.toBlob(resolve, "image/png"));
  if (!blob) throw new Error("This browser cannot make a picture of this size.");
  return blob;
}
