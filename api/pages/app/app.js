// The page: puts its parts together.

import { keys, models } from "./api.js";
import { Cards } from "./cards.js";
import { announce, at, button, el } from "./dom.js";
import { History } from "./history.js";
import { listenForImages } from "./intake.js";
import { pictureOfBlob } from "./pictures.js";
import { blobOf, knowledgeOf, previewOf } from "./samples.js";
import { Tray } from "./tray.js";
import { count } from "./words.js";

const REFRESH_MS = 15_000;
const REVEAL_MS = 1_000;

function say(words) {
  at("message").textContent = words;
}

function listenForKeys() {
  keys.addEventListener("needed", event => {
    if (at("key-form").hidden) show(at("key-form"), at("key"));
    at("key-words").textContent = event.detail ? "The service does not accept this API key." : "This service needs an API key.";
  });
  at("key-form").addEventListener("submit", event => {
    event.preventDefault();
    at("key-form").hidden = true;
    keys.give(at("key").value);
  });
}

function show(form, field) {
  form.hidden = false;
  field.focus();
}

class App {
  #served = [];
  #model = null;
  #sampled = new Map();

  async start() {
    listenForKeys();
    this.cards = new Cards(await new History().open());
    this.tray = new Tray(at("tray"), () => say(""));
    listenForImages({ addFiles: files => this.#addFiles(files), addPicture: picture => this.#add(picture), fail: say });
    at("ask").addEventListener("submit", event => this.#ask(event));
    at("models").addEventListener("change", () => this.#showModel());
    setTimeout(() => this.#reveal(), REVEAL_MS);
    await Promise.all([this.cards.restore(), this.#refreshModels()]);
    this.#reveal();
    for (const change of ["online", "offline"]) addEventListener(change, () => this.#refreshModels());
    setInterval(() => document.hidden || this.#refreshModels(), REFRESH_MS);
  }

  /** Nothing is shown before its place is known, so nothing jumps. */
  #reveal() {
    at("main").classList.remove("is-starting");
  }

  async #addFiles(files) {
    for (const file of files) this.#add(await pictureOfBlob(file, file.name));
  }

  #add(picture) {
    this.tray.add(picture);
    announce(`${picture.name} is chosen`);
    at("prompt").focus();
  }

  #ask(event) {
    event.preventDefault();
    const prompt = at("prompt").value.trim(), { pictures } = this.tray;
    if (!pictures.length) return this.#miss("choose", "Choose an image first: a file, the camera, an address, or a sample.");
    if (!prompt) return this.#miss("prompt", "Say what to cut out, such as “red circle”.");
    say("");
    for (const picture of pictures) this.cards.ask(picture, prompt, this.#modelId);
    this.tray.markUsed();
  }

  #miss(id, words) {
    say(words);
    at(id).focus();
  }

  /** The model that the user chose; null for the default. */
  get #modelId() {
    return at("models").selectedIndex > 0 ? at("models").value : null;
  }

  async #refreshModels() {
    try {
      this.#served = await models();
    } catch (error) {
      at("serving").textContent = error.message;
      at("serving").classList.add("is-bad");
      return;
    }
    const field = at("models");
    if (field.options.length !== this.#served.length) field.replaceChildren(...this.#served.map(({ id }) => el("option", { value: id, text: id })));
    field.hidden = at("models-label").hidden = this.#served.length < 2;
    this.#showModel();
  }

  #showModel() {
    const model = this.#served[Math.max(0, at("models").selectedIndex)];
    at("model").textContent = model.id;
    const workers = model.live_workers;
    at("serving").textContent = workers ? `${count(workers, "worker")} live` : "no worker is live: nothing is cut out until one starts";
    at("serving").classList.toggle("is-bad", !workers);
    if (this.#model === model.id) return;
    this.#model = model.id;
    this.#showKnowledge(knowledgeOf(model));
  }

  #showKnowledge({ text, names = [], prompts, scenes }) {
    at("about").textContent = text;
    at("names").hidden = !names.length;
    at("names-list").textContent = names.join(", ");
    at("prompt").placeholder = prompts[0];
    at("suggestions").replaceChildren(...prompts.map(prompt => button(prompt, () => { at("prompt").value = prompt; at("prompt").focus(); })));
    at("samples").replaceChildren(...scenes.map(scene => this.#sample(scene)));
    at("samples-section").hidden = !scenes.length;
  }

  #sample(scene) {
    const picture = previewOf(scene);
    picture.setAttribute("aria-hidden", "true");
    const ask = prompt => this.#askSample(scene, prompt);
    const first = button("", () => ask(scene.prompts[0]), { class: "picture", "aria-label": `Cut out “${scene.prompts[0]}” from the sample ${scene.name}` });
    first.append(picture);
    return el("li", {}, first, el("div", { class: "chips" }, ...scene.prompts.map(prompt => button(prompt, () => ask(prompt)))));
  }

  /** Each sample is drawn once, so quick clicks ask the same question. */
  async #askSample(scene, prompt) {
    if (!this.#sampled.has(scene)) this.#sampled.set(scene, blobOf(scene).then(blob => pictureOfBlob(blob, scene.file ?? `${scene.name}.png`)));
    this.cards.ask(await this.#sampled.get(scene), prompt, this.#modelId);
  }
}

void new App().start();
