// Colour hints: the list of them, their marks on the photo, and colours that are likely at a place.

import * as explain from "./explain.js";
import * as server from "./server.js";

const $ = (id) => document.getElementById(id);
const LIKELY = 8; // colours that are offered
const APART = 18; // CIE units, at least, between them

/** Shows the hints of a photo; `changed` is told when one has changed. */
export function showHints(photo, names, changed) {
  $("likely").hidden = true;
  $("hints").replaceChildren(...photo.settings.hints.map((hint, index) => line(photo, names, hint, index, changed)));
  $("markers").replaceChildren(...photo.settings.hints.map((hint, index) => mark(hint, index)));
}

function line(photo, names, hint, index, changed) {
  const item = document.createElement("li");
  const colour = Object.assign(document.createElement("input"), { type: "color", value: hint.color });
  const place = photo.classAt(hint.x, hint.y);
  const label = document.createElement("label");
  const name = document.createElement("span");
  name.textContent = `${index + 1}${place === null ? "" : `: ${explain.title(names[place])}`}`;
  colour.addEventListener("input", () => {
    hint.color = colour.value;
    $("markers").children[index].style.setProperty("--colour", hint.color);
    changed();
  });
  label.append(colour, name);
  const remove = Object.assign(document.createElement("button"), { type: "button", textContent: "×" });
  remove.setAttribute("aria-label", `Remove hint ${index + 1}`);
  remove.addEventListener("click", () => {
    photo.settings.hints.splice(index, 1);
    showHints(photo, names, changed);
    changed();
  });
  item.append(label, remove);
  return item;
}

function mark(hint, index) {
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: index + 1 });
  button.setAttribute("aria-label", `Hint ${index + 1}: choose its colour`);
  button.style.setProperty("--at-x", `${100 * hint.x}%`);
  button.style.setProperty("--at-y", `${100 * hint.y}%`);
  button.style.setProperty("--colour", hint.color);
  button.addEventListener("click", () => $("hints").children[index].querySelector("input").focus());
  return button;
}

/** Offers the colours that the network holds likely where the last hint is. */
export async function offer(photo, names, changed) {
  const hint = photo.settings.hints.at(-1);
  const { bins } = await server.json(`${photo.path}/distribution?x=${hint.x}&y=${hint.y}`);
  const chosen = [];
  for (const [a, b] of bins)
    if (chosen.length < LIKELY && chosen.every((one) => Math.hypot(one[0] - a, one[1] - b) >= APART)) chosen.push([a, b]);
  $("likely-colours").replaceChildren(
    ...chosen.map(([a, b]) => {
      const colour = photo.hexAt(hint.x, hint.y, a, b);
      const button = Object.assign(document.createElement("button"), { type: "button" });
      button.style.setProperty("--colour", colour);
      button.setAttribute("aria-label", `Use the colour ${colour}`);
      button.addEventListener("click", () => {
        hint.color = colour;
        showHints(photo, names, changed);
        $("likely").hidden = false;
        changed();
      });
      return button;
    }),
  );
  $("likely").hidden = false;
}
