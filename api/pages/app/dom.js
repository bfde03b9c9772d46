// Makes elements. Texts are always set as text, never as HTML.

/** An element. `attributes`: `class`, `text`, `on` (listeners by event); null and false leave one out, true gives it empty. */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) set(element, name, value);
  element.append(...children.filter(child => child !== null));
  return element;
}

function set(element, name, value) {
  if (name === "text") element.textContent = value;
  else if (name === "on") for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
  else if (value === true) element.setAttribute(name, "");
  else if (value !== null && value !== false) element.setAttribute(name, value);
}

export const at = id => document.getElementById(id);

export const button = (text, click, attributes = {}) => el("button", { type: "button", text, on: { click }, ...attributes });

/** Say something to users of screen readers. */
export function announce(text) {
  at("live").textContent = text;
}

/** An unguessable name. `crypto.randomUUID` exists on https and localhost only. */
export function uniqueId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), byte => byte.toString(16).padStart(2, "0")).join("");
}

