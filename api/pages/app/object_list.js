// The objects of a card as a list: point at one to highlight it, hide it, change its colour, save it.

import { button, el } from "./dom.js";
import { count } from "./words.js";

/** `on`: {highlight(object or null), change(), save(object)}. Objects are changed in place. */
export function objectList(objects, on) {
  return el("ul", { class: "objects", "aria-label": "Objects found" }, ...objects.map((each, index) => row(each, `${each.label} ${index + 1}`, on)));
}

/** `name`: the label and a number, because several objects may have the same label. */
function row(object, name, on) {
  const item = el("li", { on: {
    pointerenter: () => on.highlight(object), pointerleave: () => on.highlight(null),
    focusin: () => on.highlight(object), focusout: () => on.highlight(null),
  } });
  const area = object.area ? count(object.area, "pixel") : "box only";
  item.append(
    shownBox(object, name, item, on),
    colourField(object, name, on),
    el("span", { class: "label", text: object.label }),
    el("span", { class: "score", text: object.score.toFixed(2), title: "Score" }),
    el("span", { class: "area", text: area }),
    button("Save", () => on.save(object), { class: "quiet", "aria-label": `Save the cut-out of ${name}` }),
  );
  object.row = item;
  return item;
}

function shownBox(object, name, item, on) {
  const box = el("input", { type: "checkbox", "aria-label": `Show ${name}`, checked: object.isShown });
  item.classList.toggle("is-hidden", !object.isShown);
  box.addEventListener("change", () => {
    object.isShown = box.checked;
    item.classList.toggle("is-hidden", !box.checked);
    on.change();
  });
  return box;
}

function colourField(object, name, on) {
  const field = el("input", { type: "color", value: object.colour.toLowerCase(), "aria-label": `Colour of ${name}` });
  field.addEventListener("input", () => {
    object.colour = field.value;
    on.change();
  });
  return field;
}
