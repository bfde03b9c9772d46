// Mouse, touch and keys on a canvas: zoom, pan, point, pick, compare.

const STEP = 1.3;
const PAN_PX = 60;
const CLICK_PX = 5;

const KEYS = {
  "+": canvas => canvas.zoom(STEP), "=": canvas => canvas.zoom(STEP), "-": canvas => canvas.zoom(1 / STEP),
  "0": canvas => canvas.fit(), "c": canvas => canvas.compare(),
  ArrowLeft: canvas => canvas.pan(PAN_PX, 0), ArrowRight: canvas => canvas.pan(-PAN_PX, 0),
  ArrowUp: canvas => canvas.pan(0, PAN_PX), ArrowDown: canvas => canvas.pan(0, -PAN_PX),
};

export function listenToGestures(canvas) {
  const { element } = canvas;
  const pointers = new Pointers(canvas);
  element.addEventListener("pointerdown", event => pointers.down(event));
  element.addEventListener("pointermove", event => pointers.move(event));
  for (const name of ["pointerup", "pointercancel"]) element.addEventListener(name, event => pointers.up(event));
  element.addEventListener("pointerleave", () => say(canvas, "pointed", null));
  element.addEventListener("dblclick", event => canvas.zoom(canvas.viewport.zoom > 1 ? 1e-6 : 3, event.offsetX, event.offsetY));
  element.addEventListener("wheel", event => turn(canvas, event), { passive: false });
  element.addEventListener("keydown", event => press(canvas, event));
}

const say = (canvas, name, detail) => canvas.dispatchEvent(new CustomEvent(name, { detail }));

function press(canvas, event) {
  const act = KEYS[event.key];
  const pansNothing = event.key.startsWith("Arrow") && canvas.viewport.zoom === 1;  // then the arrow scrolls the page
  if (!act || pansNothing || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  act(canvas);
}

/** The wheel scrolls the page, unless Ctrl is held (as trackpads do for a pinch) or the canvas has the focus. */
function turn(canvas, event) {
  if (!event.ctrlKey && !event.metaKey && document.activeElement !== canvas.element) return;
  event.preventDefault();
  canvas.zoom(Math.exp(-event.deltaY / (event.deltaMode ? 15 : 300)), event.offsetX, event.offsetY);
}

class Pointers {
  #down = new Map();
  #travelled = 0;

  constructor(canvas) {
    this.canvas = canvas;
  }

  down(event) {
    if (event.button) return;
    this.#down.set(event.pointerId, [event.offsetX, event.offsetY]);
    if (this.#down.size === 1) this.#travelled = 0;
    if (this.canvas.viewport.zoom > 1 || this.#down.size > 1) this.canvas.element.setPointerCapture(event.pointerId);
  }

  move(event) {
    const before = this.#down.get(event.pointerId), now = [event.offsetX, event.offsetY];
    if (!before) return say(this.canvas, "pointed", this.canvas.objectAt(...now));
    const others = [...this.#down].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
    this.#down.set(event.pointerId, now);
    this.#travelled += distance(before, now);
    if (others.length) this.#pinch(before, now, others[0]);
    else if (this.canvas.viewport.zoom > 1) this.canvas.pan(now[0] - before[0], now[1] - before[1]);
  }

  #pinch(before, now, other) {
    const factor = distance(now, other) / Math.max(1, distance(before, other));
    this.canvas.zoom(factor, (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
    this.canvas.pan((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
  }

  up(event) {
    const wasDown = this.#down.delete(event.pointerId);
    if (!wasDown || event.type === "pointercancel" || this.#travelled > CLICK_PX) return;
    say(this.canvas, "picked", this.canvas.objectAt(event.offsetX, event.offsetY));
  }
}

const distance = ([x, y], [u, v]) => Math.hypot(x - u, y - v);
