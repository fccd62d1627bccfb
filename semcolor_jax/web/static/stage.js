// The photo on the page: before and after, a place to point at, and what lies over it.

import { watchStrokes } from "./strokes.js";

const $ = (id) => document.getElementById(id);
const STEP = 0.01; // of the photo that an arrow key moves the place by; five times as much with Shift
const HELP = {
  hints: "Click or draw. By keyboard: arrow keys and Enter; Shift+Enter draws a line from the last hint.",
  explain: "Point at the photo, and click for the colours of a place. By keyboard: arrow keys and Enter.",
};

export class Stage {
  /**
   * @param {{point: function, take: function, drawing: function, drawn: function}} listeners told of the place pointed
   * at; of the place taken, and whether it is to be joined to the last one; and of strokes, as `watchStrokes` tells.
   */
  constructor(listeners) {
    this.listeners = listeners;
    this.frame = $("frame");
    this.place = { x: 0.5, y: 0.5 };
    $("split").addEventListener("input", () => this.split());
    const cross = $("cross");
    watchStrokes(cross, {
      wanted: () => this.frame.dataset.mode === "hints",
      placeOf: (event) => this.placeOf(event),
      drawing: listeners.drawing,
      drawn: listeners.drawn,
    });
    cross.addEventListener("pointermove", (event) => this.point(this.placeOf(event), event));
    cross.addEventListener("pointerleave", () => this.listeners.point(null));
    cross.addEventListener("click", (event) => {
      if (event.detail) this.point(this.placeOf(event)); // else of the keyboard: where the cross is
      this.listeners.take(this.place, event.shiftKey);
    });
    cross.addEventListener("keydown", (event) => this.move(event));
    cross.addEventListener("focus", () => cross.matches(":focus-visible") && this.point(this.place));
    this.split();
  }

  set mode(mode) {
    this.frame.dataset.mode = mode;
    $("keys").hidden = mode === "compare";
    $("keys").textContent = HELP[mode] || "";
    this.clearOverlay();
  }

  show(photo) {
    this.frame.style.setProperty("--aspect", `${photo.greyWidth} / ${photo.greyHeight}`);
    this.frame.style.setProperty("--ratio", photo.greyWidth / photo.greyHeight);
    draw($("before"), photo.before());
    this.paint(photo.picture());
  }

  paint(picture) {
    draw($("colour"), picture);
  }

  split() {
    this.frame.style.setProperty("--split", `${$("split").value}%`);
    $("split").setAttribute("aria-valuetext", `${Math.round($("split").value)} percent before`);
  }

  placeOf(event) {
    const box = this.frame.getBoundingClientRect();
    const share = (v, low, size) => Math.min(Math.max((v - low) / size, 0), 1);
    return { x: share(event.clientX, box.left, box.width), y: share(event.clientY, box.top, box.height) };
  }

  point(place) {
    this.place = place;
    this.frame.style.setProperty("--x", `${100 * place.x}%`);
    this.frame.style.setProperty("--y", `${100 * place.y}%`);
    this.listeners.point(place);
  }

  move(event) {
    const step = event.shiftKey ? 5 * STEP : STEP;
    const by = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key];
    if (!by) return;
    event.preventDefault();
    const kept = (v) => Math.min(Math.max(v, 0), 1);
    this.point({ x: kept(this.place.x + by[0]), y: kept(this.place.y + by[1]) });
  }

  /** Lays a tint over the places of one class, or over all others where `dim` is asked for. */
  highlight(photo, wanted) {
    if (!photo.classMap) return;
    const [rows, columns] = photo.classes;
    const image = new ImageData(columns, rows);
    for (let i = 0; i < photo.classMap.length; i++) if (photo.classMap[i] !== wanted) image.data[4 * i + 3] = 165;
    draw($("overlay"), image);
    $("overlay").classList.add("on");
  }

  clearOverlay() {
    $("overlay").classList.remove("on");
    this.tip(null);
  }

  tip(text) {
    $("tip").hidden = !text;
    $("tip").textContent = text || "";
    $("tip").classList.toggle("left", this.place.x > 0.6);
  }
}

export function draw(canvas, image) {
  if (canvas.width !== image.width || canvas.height !== image.height) {
    canvas.width = image.width;
    canvas.height = image.height;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}
