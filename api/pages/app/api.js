// Requests to the service. Every failure is an ApiError with words for the user.

import { describe, OFFLINE } from "./words.js";

const KEY = "maskq-api-key";
const TEMPORARY = new Set(["server_busy", "store_unavailable", "store_unconfirmed", "share_exceeded", "rate_limited"]);

export class ApiError extends Error {
  /** `type`: as in docs/errors.md, or "offline", or "" if a proxy answered. */
  constructor(type, status, message) {
    super(message);
    Object.assign(this, { type, status });
  }

  get isTemporary() {
    return this.type === "offline" || TEMPORARY.has(this.type);
  }
}

/** The API key. The browser forgets it when this tab is closed. Events: "needed", "given". */
class Keys extends EventTarget {
  get value() {
    return sessionStorage.getItem(KEY) ?? "";
  }

  give(value) {
    sessionStorage.setItem(KEY, value.trim());
    this.dispatchEvent(new Event("given"));
  }

  get headers() {
    return this.value ? { "X-API-Key": this.value } : {};
  }
}

export const keys = new Keys();

export const addressOf = path => new URL(path, document.baseURI).href;

async function ask(path, { headers, ...options } = {}) {
  const given = keys.value;
  const request = { cache: "no-store", ...options, headers: { ...headers, ...keys.headers } };
  const response = await fetch(addressOf(path), request).catch(failed);
  if (response.ok || response.status === 304) return response;
  throw errorOf(response.status, await response.text(), given);
}

function failed(error) {
  throw error.name === "AbortError" ? error : new ApiError("offline", 0, OFFLINE);
}

function errorOf(status, text, given) {
  const problem = problemIn(text);
  if (status === 401) keys.dispatchEvent(new CustomEvent("needed", { detail: given }));
  const isAway = !problem && [502, 503, 504].includes(status);
  return new ApiError(isAway ? "offline" : problem?.type ?? "", status, describe(status, problem, Boolean(given)));
}

function problemIn(text) {
  try {
    const problem = JSON.parse(text);
    return problem?.type ? problem : null;
  } catch {
    return null;
  }
}

export const models = async () => (await ask("models")).json();
export const cancel = async jobId => (await ask(`jobs/${jobId}/cancel`, { method: "POST" })).json();
export const coco = async jobId => (await ask(`jobs/${jobId}/result?format=coco`)).blob();
export const pictureOf = async jobId => (await ask(`jobs/${jobId}/picture.png`)).blob();

/** The job, when its state differs from that of `etag` or after `wait_s` seconds; `job` is null if it is the same. */
export async function job(jobId, etag, wait_s, signal) {
  const headers = etag ? { "If-None-Match": etag } : {};
  const response = await ask(`jobs/${jobId}${wait_s && etag ? `?wait=${wait_s}` : ""}`, { headers, signal });
  return { etag: response.headers.get("ETag"), job: response.status === 304 ? null : await response.json() };
}

/** Submit a form. `onProgress` gets the share that is sent, 0..1. Only XMLHttpRequest tells it. */
export function submit(form, idempotencyKey, onProgress, signal) {
  const given = keys.value;
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", addressOf("segment/"));
    request.setRequestHeader("Idempotency-Key", idempotencyKey);
    for (const [name, value] of Object.entries(keys.headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = event => event.lengthComputable && onProgress(event.loaded / event.total);
    request.onerror = () => reject(new ApiError("offline", 0, OFFLINE));
    request.onabort = () => reject(new DOMException("stopped", "AbortError"));
    request.onload = () => {
      if (request.status < 300) resolve(JSON.parse(request.responseText));
      else reject(errorOf(request.status, request.responseText, given));
    };
    signal.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}
