// What the network saw: scenes, classes, and the colours that it holds possible at a place.

import { hexOf } from "./color.js";
import * as server from "./server.js";

const $ = (id) => document.getElementById(id);
const LIGHTNESS = 155; // grey value at which the colours of a place are drawn: most lie inside sRGB there
const REACH = 115; // CIE units from the middle of the plane to its edge
const LEAST_SHARE = 0.01; // of the photo, for a class to be listed

export const title = (name) => name.replaceAll("_", " ").replaceAll("-", " ");

/** Fills the lists; `onClass` is told of a class that is pointed at, null when no more. */
export function showLists(photo, names, onClass) {
  const bars = (photo.scenes || []).map(([name, share]) => bar(title(name), share));
  $("scenes").replaceChildren(...bars);
  const counts = new Map();
  for (const index of photo.classMap || []) counts.set(index, (counts.get(index) || 0) + 1);
  const total = photo.classMap?.length || 1;
  const largest = [...counts].sort((a, b) => b[1] - a[1]).filter(([, count]) => count / total >= LEAST_SHARE);
  $("classes").replaceChildren(
    ...largest.slice(0, 8).map(([index, count]) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(bar(title(names[index]), count / total));
      for (const event of ["pointerenter", "focus"]) button.addEventListener(event, () => onClass(index));
      for (const event of ["pointerleave", "blur"]) button.addEventListener(event, () => onClass(null));
      button.addEventListener("click", () => onClass(index)); // a finger
      return button;
    }),
  );
}

function bar(name, share) {
  const line = document.createElement("span");
  line.className = "bar";
  line.style.setProperty("--share", `${100 * share}%`);
  const label = document.createElement("span");
  label.textContent = name;
  const value = document.createElement("span");
  value.textContent = `${(100 * share).toFixed(share < 0.095 ? 1 : 0)} %`;
  line.append(label, value);
  return line;
}

/** Draws the colours of a place: discs whose area says how likely, and a cross at the colour that is mixed from them. */
export async function showPlace(photo, place, name, shown) {
  const { bins } = await server.json(`${photo.path}/distribution?x=${place.x}&y=${place.y}`);
  const canvas = $("plane");
  const context = canvas.getContext("2d");
  const middle = canvas.width / 2;
  const at = (a, b) => [middle + (a / REACH) * middle, middle - (b / REACH) * middle];
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.strokeStyle = "#8886";
  context.lineWidth = 2;
  context.beginPath();
  context.moveTo(middle, 0);
  context.lineTo(middle, canvas.height);
  context.moveTo(0, middle);
  context.lineTo(canvas.width, middle);
  context.stroke();
  const most = bins[0][2];
  for (const [a, b, p] of bins) {
    context.beginPath();
    context.arc(...at(a, b), Math.max(2, 24 * Math.sqrt(p / most)), 0, 2 * Math.PI);
    context.fillStyle = hexOf(LIGHTNESS, a, b);
    context.fill();
  }
  const [x, y] = at(...shown);
  for (const [colour, width, reach] of [["#fff", 8, 18], ["#111", 4, 15]]) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.beginPath();
    context.moveTo(x - reach, y);
    context.lineTo(x + reach, y);
    context.moveTo(x, y - reach);
    context.lineTo(x, y + reach);
    context.stroke();
  }
  canvas.hidden = false;
  $("place-title").textContent = name ? `Colours of a place: ${title(name)}` : "Colours of a place";
  $("place-help").textContent =
    `Discs: how likely each colour is, by area (right: red, left: green, up: yellow, down: blue). ` +
    `The likeliest has ${(100 * most).toFixed(0)} %. Cross: the network's choice, by your sliders.`;
}

export function forgetPlace() {
  $("plane").hidden = true;
  $("place-title").textContent = "Colours of a place";
  $("place-help").textContent = "Click the photo to see which colours the network holds possible there.";
}
