// A card: one picture, one phrase, and how far its job is.

import * as api from "./api.js";
import { MaskCanvas } from "./canvas.js";
import { announce, button, el } from "./dom.js";
import { isActive } from "./jobs.js";
import { viewOf } from "./pictures.js";
import { ResultView } from "./result_view.js";
import { stateInWords } from "./words.js";

export class ResultCard {
  #result = null;
  #picture = null;
  #isNear = false;
  #state = "";

  /** `on`: {cancel(), retry(), remove(), ask(phrase), keep()}. `ask` resolves to whether it could. `picture`: null if the history
   * has it. */
  constructor(record, history, on, picture) {
    this.#picture = picture;
    Object.assign(this, { record, history, on });
    this.canvas = new MaskCanvas(`Picture of ${record.name}, with masks for ${record.prompt}`, "canvas-help");
    this.status = el("p", { class: "status" });
    this.bar = el("progress", { max: "1", "aria-label": `Upload of ${record.name}` });
    this.actions = el("div", { class: "actions" });
    this.note = el("p", { class: "note" });
    this.body = el("div", { class: "body" });
    this.stage = el("div", { class: "stage" }, this.canvas.element);
    this.element = el("article", { class: "card", "aria-label": `${record.prompt} in ${record.name}`, "data-id": record.id },
      el("header", {}, el("h3", { text: record.prompt }), el("span", { class: "name", text: record.name }), this.actions),
      this.stage, el("div", { class: "side" }, this.status, this.bar, this.note, this.body, this.#phraseForm()));
    this.#loadWhenNear();
    this.update();
  }

  /** Show the present state of the record. */
  update() {
    const { record } = this;
    const words = stateInWords(record);
    const isProblem = record.problem && record.state !== "succeeded";
    this.element.dataset.state = record.state;
    this.status.textContent = words;
    this.note.textContent = isProblem && words !== record.problem ? record.problem : "";
    this.note.classList.toggle("is-bad", Boolean(isProblem));
    const { state } = record;
    this.bar.classList.toggle("is-idle", !isActive(record));
    if (state === "uploading") this.bar.value = record.progress ?? 0;
    else this.bar.removeAttribute("value");
    this.#updateActions();
    if (this.#state !== state && ["succeeded", "failed", "canceled"].includes(state)) this.#ended(words);
    this.#state = state;
  }

  #updateActions() {
    const { record, on } = this, isRunning = isActive(record);
    const wanted = isRunning ? "Cancel" : record.state === "succeeded" ? "" : "Try again";
    if (this.actions.dataset.wanted === wanted) return;
    this.actions.dataset.wanted = wanted;
    const isFocused = this.actions.contains(document.activeElement);
    const act = { Cancel: () => on.cancel(), "Try again": () => on.retry() }[wanted];
    const buttons = act ? [button(wanted, act, { "aria-label": `${wanted}: ${record.prompt}` })] : [];
    this.actions.replaceChildren(...buttons, ...(isRunning ? [] : [button("Remove", () => on.remove(), { class: "quiet", "aria-label": `Remove: ${record.prompt}` })]));
    if (isFocused) this.actions.firstElementChild?.focus();
  }

  #ended(words) {
    if (this.#state) announce(`${this.record.prompt}: ${words}`);
    if (this.record.state !== "succeeded") return;
    this.#result = new ResultView(this.record, this.canvas, {
      changed: choices => { this.record.choices = choices; this.on.keep(); },
      say: words => this.#say(words),
    });
    this.body.replaceChildren(this.#result.element);
    if (this.#isNear) void this.#load();
  }

  #say(words) {
    this.note.textContent = words;
    announce(words);
  }

  #phraseForm() {
    const field = el("input", { name: "phrase", placeholder: "Next phrase", "aria-label": "Next phrase for this picture", autocomplete: "off", maxlength: "512" });
    const submit = event => {
      event.preventDefault();
      const phrase = field.value.trim();
      if (!phrase) return field.focus();
      field.value = "";
      void this.#ask(phrase);
    };
    return el("form", { class: "phrase", on: { submit } }, field, el("button", { text: "Cut out" }));
  }

  async #ask(phrase) {
    if (!(await this.on.ask(phrase))) this.#say("The browser no longer has this picture. Choose it again.");
  }

  /** Forty bitmaps of large pictures would need a GB, so only cards near the screen keep theirs. */
  #loadWhenNear() {
    new IntersectionObserver(([entry]) => {
      this.#isNear = entry.isIntersecting;
      this.#isNear ? void this.#load() : this.#unload();
    }, { rootMargin: "600px" }).observe(this.element);
  }

  #unload() {
    this.canvas.bitmap?.close();
    this.canvas.bitmap = null;
    this.canvas.draw();
  }

  async #load() {
    this.#picture = await this.history.picture(this.record.pictureId) ?? this.#picture;
    await this.#fetchPicture();
    const blob = this.#picture?.view ?? this.#picture?.blob;
    const bitmap = blob ? await viewOf(blob).catch(() => null) : null;
    if (!this.#isNear) return bitmap?.close();
    this.#unload();
    if (bitmap) this.canvas.image = { width: bitmap.width, height: bitmap.height };
    this.canvas.bitmap = bitmap;
    this.element.classList.toggle("is-blank", !bitmap);
    this.canvas.draw();
    await this.#result?.show(bitmap, this.#picture);
  }

  /** A picture behind an address, or in a format that this browser cannot show: the service has a PNG of it. */
  async #fetchPicture() {
    const picture = this.#picture;
    if (!picture || picture.width || picture.view || this.record.state !== "succeeded") return;
    try {
      picture.view = await api.pictureOf(this.record.jobId);
      await this.history.keepPicture(picture);
    } catch (error) {
      this.note.textContent = `The picture cannot be shown. ${error.message}`;
    }
  }
}
