// The request of a card as commands that repeat it elsewhere.

import { addressOf, keys } from "./api.js";

const inShell = text => `'${text.replaceAll("'", `'\\''`)}'`;
const inPython = text => JSON.stringify(text);
const inCurlForm = name => `"${name.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;

/** `curl -F` would read a file for a prompt that begins with @ or <, so texts are sent with --form-string. */
export function asCurl({ prompt, name, modelId }, url) {
  const image = url ? `--form-string ${inShell(`image_url=${url}`)}` : `-F ${inShell(`image_file=@${inCurlForm(name)}`)}`;
  return [
    `curl ${inShell(addressOf("segment/"))}`,
    "-H 'Prefer: wait=30'",
    ...(keys.value ? [`-H "Authorization: Bearer $MASKQ_API_KEY"`] : []),
    image,
    `--form-string ${inShell(`prompt=${prompt}`)}`,
    ...(modelId ? [`--form-string ${inShell(`model_id=${modelId}`)}`] : []),
  ].join(" \\\n  ");
}

/** For the Python client of this project. It reads the API key from MASKQ_API_KEY. */
export function asPython({ prompt, name, modelId }, url) {
  const model = modelId ? `, model_id=${inPython(modelId)}` : "";
  return [
    "from maskq import Client",
    "",
    `with Client(${inPython(addressOf("").replace(/\/$/, ""))}) as maskq:`,
    `    result = maskq.segment(${inPython(url || name)}, ${inPython(prompt)}${model})`,
    "    for found in result:",
    "        print(found.label, found.score, found.box)",
    '    result.overlay().save("overlay.png")',
    "",
  ].join("\n");
}

/** Put a text on the clipboard. Pages without https may not use the newer way. */
export async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "visually-hidden";
  document.body.append(field);
  field.select();
  const isCopied = document.execCommand("copy");
  field.remove();
  if (!isCopied) throw new Error("This browser does not let the page copy.");
}
