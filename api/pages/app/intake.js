// Every way to give an image: picker, drop, paste, camera, address.

import { openCamera } from "./camera.js";
import { at } from "./dom.js";
import { pictureOfUrl } from "./pictures.js";

/** Calls `addFiles(files)` and `addPicture(picture)`; `fail(words)` says what cannot be used. */
export function listenForImages({ addFiles, addPicture, fail }) {
  at("files").addEventListener("change", event => {
    addFiles([...event.target.files]);
    event.target.value = "";  // the same file can be chosen again
  });
  at("camera-file").addEventListener("change", event => addFiles([...event.target.files]));
  at("choose").addEventListener("click", () => at("files").click());
  at("camera").addEventListener("click", () => openCamera(file => addFiles([file]), () => at("camera-file").click()));
  listenForDrops(addFiles, fail);
  listenForPastes(addFiles, addPicture);
  listenForAddress(addPicture, fail);
}

function listenForDrops(addFiles, fail) {
  const zone = at("drop");
  let depth = 0;
  const mark = change => zone.classList.toggle("is-over", (depth = Math.max(0, depth + change)) > 0);
  addEventListener("dragenter", () => mark(1));
  addEventListener("dragleave", () => mark(-1));
  addEventListener("dragover", event => event.preventDefault());
  addEventListener("drop", event => {
    event.preventDefault();  // else the browser opens the file in place of this page
    mark(-Infinity);
    depth = 0;
    const files = [...event.dataTransfer.files];
    files.length ? addFiles(files) : fail("What you dropped is not a file. Drop image files, or paste an address.");
  });
}

function listenForPastes(addFiles, addPicture) {
  addEventListener("paste", event => {
    const files = [...event.clipboardData.files];
    const text = event.clipboardData.getData("text").trim();
    const isInField = event.target.closest?.("input, textarea");
    if (files.length) addFiles(files);
    else if (!isInField && isAddress(text)) addPicture(pictureOfUrl(text));
    else return;
    event.preventDefault();
  });
}

function listenForAddress(addPicture, fail) {
  at("address-form").addEventListener("submit", event => {
    event.preventDefault();
    const text = at("address").value.trim();
    if (!isAddress(text)) return fail("Give the whole address of an image, with https:// in front.");
    at("address").value = "";
    addPicture(pictureOfUrl(text));
  });
}

function isAddress(text) {
  return URL.canParse(text) && ["http:", "https:", "data:"].includes(new URL(text).protocol);
}
