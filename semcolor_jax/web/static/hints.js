// Colour hints: the list of them, their marks on the photo, and colours that are likely at a place.

import * as explain from "./explain.js";
import * as server from "./server.js";

const $ = (id) => document.getElementById(id);
const LIKELY = 8; // colours that are offered
const APART = 18; // CIE units, at least, between them
const SVG = "http://www.w3.org/2000/svg";

/** Shows the hints of a photo; `changed` is told when one has changed. */
export function showHints(photo, known, changed) {
  const { hints } = photo.settings;
  $("likely").hidden = true;
  $("hints").replaceChildren(...hints.map((hint, index) => line(photo, known, hint, index, changed)));
  $("markers").replaceChildren(...hints.map((hint, index) => mark(hint, index)));
  $("strokes").setAttribute("viewBox", `0 0 ${photo.greyWidth} ${photo.greyHeight}`);
  $("strokes").replaceChildren(...hints.map((hint) => stroke(photo, known, hint)));
  $("hints-end").hidden = hints.length === 0;
}

/** Adds a hint to a photo; says what is wrong where it would be too much, and returns whether it was added. */
export function addHint(photo, known, hint, say) {
  const { count, points, length } = known.hints;
  const all = [...photo.settings.hints, hint];
  const sum = (of) => all.reduce((total, one) => total + of(one), 0);
  const refused =
    all.length > count ? `There are ${count} hints; a photo takes no more.`
    : sum((one) => one.points.length) > points || sum(lengthOf) > length ? "The strokes of this photo are too long together; take one back first."
    : null;
  if (refused) say(refused, true);
  else photo.settings.hints = all;
  return !refused;
}

const lengthOf = ({ points }) =>
  points.slice(1).reduce((total, [x, y], i) => total + Math.hypot(x - points[i][0], y - points[i][1]), 0);

/** Shows a stroke that is being drawn; null when it is no more. */
export function showDrawn(photo, known, hint) {
  $("strokes").querySelector(".drawn")?.remove();
  if (!hint) return;
  const group = stroke(photo, known, hint);
  group.classList.add("drawn");
  $("strokes").append(group);
}

function line(photo, known, hint, index, changed) {
  const item = document.createElement("li");
  const colour = Object.assign(document.createElement("input"), { type: "color", value: hint.color });
  const place = photo.classAt(...hint.points[0]);
  const label = document.createElement("label");
  const name = document.createElement("span");
  const what = place === null ? (hint.points.length > 1 ? "stroke" : "point") : explain.title(known.classes[place]);
  name.textContent = `${index + 1}: ${what}`;
  colour.addEventListener("input", () => {
    hint.color = colour.value;
    for (const shown of [$("markers"), $("strokes")]) shown.children[index].style.setProperty("--colour", hint.color);
    changed();
  });
  label.append(colour, name);
  const remove = Object.assign(document.createElement("button"), { type: "button", textContent: "×" });
  remove.setAttribute("aria-label", `Remove hint ${index + 1}`);
  remove.addEventListener("click", () => {
    photo.settings.hints.splice(index, 1);
    showHints(photo, known, changed);
    changed();
  });
  item.append(label, remove);
  return item;
}

function mark(hint, index) {
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: index + 1 });
  button.setAttribute("aria-label", `Hint ${index + 1}: choose its colour`);
  const [x, y] = hint.points[0];
  button.style.setProperty("--at-x", `${100 * x}%`);
  button.style.setProperty("--at-y", `${100 * y}%`);
  button.style.setProperty("--colour", hint.color);
  button.addEventListener("click", () => {
    const colour = $("hints").children[index].querySelector("input");
    colour.focus();
    colour.showPicker?.();
  });
  return button;
}

/** Returns the line of a hint, as wide as it is spread from: a rim, and the colour in it. */
function stroke(photo, known, hint) {
  const group = document.createElementNS(SVG, "g");
  const points = hint.points.map(([x, y]) => `${x * photo.greyWidth},${y * photo.greyHeight}`).join(" ");
  const width = 2 * known.hints.radius * Math.max(photo.greyHeight, photo.greyWidth);
  for (const [name, rim] of [["rim", 0.8 * width], ["ink", 0]]) {
    const shape = document.createElementNS(SVG, "polyline");
    shape.setAttribute("class", name);
    shape.setAttribute("points", points);
    shape.setAttribute("stroke-width", width + rim);
    group.append(shape);
  }
  group.style.setProperty("--colour", hint.color);
  return group;
}

/** Offers the colours that the network holds likely where the last hint begins. */
export async function offer(photo, known, changed) {
  const hint = photo.settings.hints.at(-1);
  const [x, y] = hint.points[0];
  const { bins } = await server.json(`${photo.path}/distribution?x=${x}&y=${y}`);
  if (photo.settings.hints.at(-1) !== hint) return;
  const chosen = [];
  for (const [a, b] of bins)
    if (chosen.length < LIKELY && chosen.every((one) => Math.hypot(one[0] - a, one[1] - b) >= APART)) chosen.push([a, b]);
  $("likely-colours").replaceChildren(
    ...chosen.map(([a, b]) => {
      const colour = photo.hexAt(x, y, a, b);
      const button = Object.assign(document.createElement("button"), { type: "button" });
      button.style.setProperty("--colour", colour);
      button.setAttribute("aria-label", `Use the colour ${colour}`);
      button.addEventListener("click", () => {
        hint.color = colour;
        showHints(photo, known, changed);
        $("likely").hidden = false;
        changed();
      });
      return button;
    }),
  );
  $("likely").hidden = false;
}
