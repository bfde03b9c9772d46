// All cards: one for each record, newest first. Makes records, and keeps them in the history.

import { at } from "./dom.js";
import { Jobs, isActive, newRecord } from "./jobs.js";
import { ResultCard } from "./result_card.js";

export class Cards {
  #cards = new Map();

  constructor(history) {
    this.history = history;
    this.jobs = new Jobs(history);
    this.jobs.addEventListener("changed", event => this.#cards.get(event.detail.id)?.update());
    at("clear").addEventListener("click", () => this.#clear());
    addEventListener("keydown", event => this.#press(event));
  }

  /** Show the records of earlier visits, and go on with those that have not ended. */
  async restore() {
    for (const record of await this.history.records()) {
      this.#show(record);
      if (isActive(record)) void this.jobs.run(record);
    }
  }

  /** Ask for a phrase in a picture. The same question that is asked or answered already is shown instead of repeated. */
  ask(picture, prompt, modelId) {
    const isSame = ({ record }) => record.pictureId === picture.id && record.prompt === prompt && record.modelId === modelId && record.state !== "failed" && record.state !== "canceled";
    const card = [...this.#cards.values()].find(isSame) ?? this.#begin(picture, prompt, modelId);
    card.element.scrollIntoView({ block: "nearest" });
  }

  #begin(picture, prompt, modelId) {
    const record = newRecord(picture, prompt, modelId);
    const card = this.#show(record, picture);
    void this.#keepAndRun(picture, record);
    return card;
  }

  async #keepAndRun(picture, record) {
    await this.history.keep(record);
    await this.history.keepPicture(picture);
    await this.jobs.run(record);
  }

  #show(record, picture = null) {
    const card = new ResultCard(record, this.history, {
      cancel: () => this.jobs.cancel(record),
      retry: () => this.jobs.retry(record),
      remove: () => this.#remove(record),
      keep: () => this.history.keep(record),
      ask: phrase => this.#askAgain(record, phrase),
    }, picture);
    this.#cards.set(record.id, card);
    at("cards").prepend(card.element);
    this.#updateHeading();
    return card;
  }

  async #askAgain(record, phrase) {
    const picture = await this.history.picture(record.pictureId);
    if (picture) this.ask(picture, phrase, record.modelId);
    return Boolean(picture);
  }

  /** A slash goes to the next phrase: of the card with the focus, else of the newest one. */
  #press(event) {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input:not([type=checkbox], [type=range]), select")) return;
    const card = event.target.closest?.(".card") ?? at("cards").firstElementChild;
    if (!card) return;
    event.preventDefault();
    card.querySelector(".phrase input").focus();
  }

  #remove(record) {
    this.jobs.drop(record);
    this.#cards.get(record.id).element.remove();
    this.#cards.delete(record.id);
    this.#updateHeading();
    at("results-heading").focus();
    void this.history.forget(record.id);
  }

  #clear() {
    for (const { record, element } of this.#cards.values()) {
      this.jobs.drop(record);
      element.remove();
    }
    this.#cards.clear();
    this.#updateHeading();
    void this.history.clear();
  }

  #updateHeading() {
    at("results").hidden = !this.#cards.size;
  }
}
