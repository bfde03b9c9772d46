// Pictures: {id, name, blob, url, width, height, addedAt}. Size 0 means that this browser cannot show the file.

const VIEW_SIDE = 2048;

/** A picture of a file. The same bytes have the same id, so the same question is asked once. */
export async function pictureOfBlob(blob, name) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  const { width, height } = await sizeOf(blob);
  return { id: `${bytes.length}-${digest(bytes)}`, name, blob, url: "", width, height, addedAt: Date.now() };
}

/** A picture that the service will download. The page itself may ask no other host. */
export function pictureOfUrl(url) {
  const name = url.startsWith("data:") ? "image" : decoded(new URL(url).pathname.split("/").pop()) || "image";
  return { id: `url-${digest(new TextEncoder().encode(url))}`, name, blob: null, url, width: 0, height: 0, addedAt: Date.now() };
}

/** A bitmap to look at, upright, of at most 2048 pixels a side. */
export async function viewOf(blob) {
  const bitmap = await createImageBitmap(blob);
  const scale = VIEW_SIDE / Math.max(bitmap.width, bitmap.height);
  if (scale >= 1) return bitmap;
  const size = { resizeWidth: Math.round(bitmap.width * scale), resizeHeight: Math.round(bitmap.height * scale), resizeQuality: "high" };
  const small = await createImageBitmap(bitmap, size);
  bitmap.close();
  return small;
}

async function sizeOf(blob) {
  try {
    const bitmap = await createImageBitmap(blob);
    const size = { width: bitmap.width, height: bitmap.height };
    bitmap.close();
    return size;
  } catch {
    return { width: 0, height: 0 };
  }
}

function decoded(name) {
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

/** 53 bits of the bytes (cyrb53). crypto.subtle exists on https and localhost only; here nobody gains by a collision. */
export function digest(bytes) {
  let one = 0xdeadbeef, other = 0x41c6ce57;
  for (const byte of bytes) {
    one = Math.imul(one ^ byte, 2654435761);
    other = Math.imul(other ^ byte, 1597334677);
  }
  one = Math.imul(one ^ (one >>> 16), 2246822507) ^ Math.imul(other ^ (other >>> 13), 3266489909);
  other = Math.imul(other ^ (other >>> 16), 2246822507) ^ Math.imul(one ^ (one >>> 13), 3266489909);
  return (4294967296 * (2097151 & other) + (one >>> 0)).toString(36);
}
