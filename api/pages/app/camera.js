// Takes a picture with the camera. Browsers allow it on https and localhost only; elsewhere a phone offers its own camera app.

import { at } from "./dom.js";

/** Calls `take(file)` with a picture, or `fallBack()` if the page may not use the camera. */
export async function openCamera(take, fallBack) {
  const stream = await navigator.mediaDevices?.getUserMedia({ video: { facingMode: "environment" } }).catch(() => null);
  if (!stream) return fallBack();
  const dialog = at("camera-dialog"), video = at("camera-video");
  video.srcObject = stream;
  dialog.onclose = () => stream.getTracks().forEach(track => track.stop());
  at("camera-close").onclick = () => dialog.close();
  at("camera-take").onclick = async () => {
    take(await frameOf(video));
    dialog.close();
  };
  dialog.showModal();
  await video.play();
}

async function frameOf(video) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  const blob = await new Promise(resolve => canvas.toBlob(resolve, "image/jpeg", 0.92));
  return new File([blob], "camera.jpg", { type: "image/jpeg" });
}
