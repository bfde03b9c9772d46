// Runs records: upload, wait, end. A record is plain data, so that it survives a reload:
// {id, key, jobId, etag, pictureId, name, prompt, modelId, createdAt, state, problem, job, choices}.

import * as api from "./api.js";
import { uniqueId } from "./dom.js";
import { Slots } from "./slots.js";

const ENDED = ["succeeded", "failed", "canceled"];
const WAIT_S = 5;
const MAX_PAUSE_MS = 15_000;

export const isActive = record => ["waiting", "uploading", "queued", "processing"].includes(record.state);

export function newRecord(picture, prompt, modelId) {
  const id = uniqueId();
  return { id, key: id, jobId: null, etag: null, pictureId: picture.id, name: picture.name, prompt, modelId,
    createdAt: Date.now(), state: "waiting", problem: null, job: null, choices: {} };
}

/** Events: "changed" (detail: the record). */
export class Jobs extends EventTarget {
  #uploads = new Slots(2);
  #watches = new Slots(3);
  #aborts = new Map();

  constructor(history) {
    super();
    this.history = history;
  }

  /** Bring a record to its end, from wherever it is. A repeated upload with the same key makes no second job. */
  async run(record) {
    const abort = new AbortController();
    this.#aborts.set(record.id, abort);
    try {
      if (!record.jobId) await this.#uploads.run(() => this.#persist(record, abort.signal, () => this.#upload(record, abort.signal)));
      while (isActive(record)) await this.#watches.run(() => this.#persist(record, abort.signal, () => this.#watch(record, abort.signal)));
    } catch (error) {
      this.#stop(record, error);
    } finally {
      this.#aborts.delete(record.id);
    }
  }

  /** Start again what has failed. The key is new if the service has made a job with the old one. */
  retry(record) {
    const isLost = record.jobId !== null;
    this.#change(record, { state: "waiting", problem: null, ...(isLost ? { key: uniqueId(), jobId: null, job: null, etag: null } : {}) });
    return this.run(record);
  }

  async cancel(record) {
    try {
      if (!record.jobId) return this.#cancelUpload(record);
      const { signal } = this.#aborts.get(record.id) ?? new AbortController();
      this.#take(record, await this.#persist(record, signal, () => api.cancel(record.jobId)));
    } catch (error) {
      if (error.type !== "job_ended" && error.name !== "AbortError") this.#change(record, { problem: error.message });
      return;
    }
    this.#aborts.get(record.id)?.abort();
  }

  #cancelUpload(record) {
    this.#change(record, { state: "canceled" });
    this.#aborts.get(record.id)?.abort();
  }

  /** Stop to follow a record that is removed from the page. */
  drop(record) {
    this.#aborts.get(record.id)?.abort();
  }

  async #upload(record, signal) {
    if (!isActive(record)) return;
    this.#change(record, { state: "uploading", progress: 0, problem: null });
    const form = await this.#form(record);
    const job = await api.submit(form, record.key, progress => this.#change(record, { progress }, false), signal);
    this.#take(record, job);
  }

  async #form(record) {
    const picture = await this.history.picture(record.pictureId);
    if (!picture) throw new api.ApiError("lost", 0, "The browser no longer has this picture. Choose it again.");
    const form = new FormData();
    form.append("prompt", record.prompt);
    if (record.modelId) form.append("model_id", record.modelId);
    if (picture.url) form.append("image_url", picture.url);
    else form.append("image_file", picture.blob, picture.name);
    return form;
  }

  async #watch(record, signal) {
    const { job, etag } = await api.job(record.jobId, record.etag, WAIT_S, signal);
    if (job) this.#take(record, job, etag);
    else if (record.state === "queued") this.#take(record, (await api.job(record.jobId, null, 0, signal)).job, etag);
  }

  #take(record, job, etag = null) {
    const problem = job.error ? `The job failed: ${job.error.detail}` : null;
    this.#change(record, { jobId: job.id, etag, job, state: job.status, problem });
  }

  /** Repeat what fails for a while: no connection, a busy service, no key yet. */
  async #persist(record, signal, task) {
    for (let pause_ms = 500; ; pause_ms = Math.min(MAX_PAUSE_MS, pause_ms * 2)) {
      try {
        return await task();
      } catch (error) {
        if (error.status !== 401 && !error.isTemporary) throw error;
        this.#change(record, { problem: error.message, state: record.state === "uploading" ? "waiting" : record.state });
        await pause(error.status === 401 ? null : pause_ms, signal);
      }
    }
  }

  #stop(record, error) {
    if (error.name === "AbortError") return;
    this.#change(record, { state: ENDED.includes(record.state) ? record.state : "failed", problem: error.message });
  }

  #change(record, changes, isKept = true) {
    Object.assign(record, changes);
    if (isKept) void this.history.keep(record);
    this.dispatchEvent(new CustomEvent("changed", { detail: record }));
  }
}

/** Until the time is over, the browser is online again or a key is given. `null`: only the latter two. */
function pause(pause_ms, signal) {
  return new Promise((resolve, reject) => {
    const done = () => resolve();
    if (pause_ms !== null) setTimeout(done, pause_ms);
    addEventListener("online", done, { once: true });
    api.keys.addEventListener("given", done, { once: true });
    signal.addEventListener("abort", () => reject(new DOMException("stopped", "AbortError")), { once: true });
  });
}
