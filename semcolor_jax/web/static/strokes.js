// A stroke of the mouse, a pen or a finger over an element.

const STILL = 5; // CSS pixels: less is a click, or a finger that trembles
const STEP = 3; // CSS pixels between the points of a stroke, at least

/**
 * Tells of strokes over an element.
 * @param {HTMLElement} element
 * @param {{wanted: function, placeOf: function, drawing: function, drawn: function}} listeners `wanted` says whether
 * strokes count now; `placeOf` returns the place of an event; `drawing` is told of the points so far, null when the
 * stroke is given up; `drawn` of the finished ones. After that the click that ends the stroke is no click.
 */
export function watchStrokes(element, { wanted, placeOf, drawing, drawn }) {
  let pointer = null;
  let last = null; // [x, y] of the last point, in CSS pixels
  let points = [];
  let moved = false;
  let swallow = false;

  const add = (event) => {
    const { x, y } = placeOf(event);
    points.push([round(x), round(y)]);
    last = [event.clientX, event.clientY];
  };
  const giveUp = () => {
    if (moved) drawing(null);
    pointer = null;
    moved = false;
  };

  element.addEventListener("pointerdown", (event) => {
    swallow = false;
    if (pointer !== null) return giveUp(); // a second finger
    if (!wanted() || event.button !== 0 || !event.isPrimary) return;
    pointer = event.pointerId;
    points = [];
    add(event);
  });
  element.addEventListener("pointermove", (event) => {
    if (event.pointerId !== pointer) return;
    const seen = event.getCoalescedEvents?.() ?? [];
    for (const one of seen.length ? seen : [event]) {
      const far = Math.hypot(one.clientX - last[0], one.clientY - last[1]);
      if (far < (moved ? STEP : STILL)) continue;
      if (!moved) element.setPointerCapture(pointer);
      moved = true;
      add(one);
    }
    if (moved) drawing(points);
  });
  element.addEventListener("pointerup", (event) => {
    if (event.pointerId !== pointer) return;
    if (moved) {
      swallow = true;
      drawing(null);
      drawn(points);
    }
    pointer = null;
    moved = false;
  });
  element.addEventListener("pointercancel", giveUp);
  element.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !moved) return;
    swallow = true;
    giveUp();
  });
  element.addEventListener(
    "click",
    (event) => {
      if (swallow && event.detail) event.stopImmediatePropagation();
      swallow = false;
    },
    { capture: true },
  );
}

const round = (share) => Math.round(1e4 * share) / 1e4;
