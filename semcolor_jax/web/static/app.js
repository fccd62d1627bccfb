// The page: its photos, its controls, and what they do.

import * as explain from "./explain.js";
import { save, watchDrops } from "./files.js";
import * as hints from "./hints.js";
import { Photo } from "./photo.js";
import * as server from "./server.js";
import { draw, Stage } from "./stage.js";

const $ = (id) => document.getElementById(id);
const SLIDERS = ["saturation", "share", "temperature"];
const HEARTBEAT = 5 * 60 * 1000; // milliseconds
const PATIENCE = 120; // milliseconds that a control rests before the server is asked
const THUMB = 132; // pixels, of the longer side

const known = await server.about().catch((error) => say(error.message, true));
const photos = [];
let current = null;
let mode = "compare";
let planned = 0; // the next picture, mixed here
let spreading = 0; // the next picture, whose hints the server spreads
let underWay = false;
let stale = false; // whether that picture is of settings that have changed
const stage = new Stage({ point: pointed, take: taken, drawing, drawn: (points) => hint(current, points) });

// Photos come in.

function add(files) {
  const chosen = [...files];
  for (const file of chosen) {
    if (file.size > known.limits.bytes) {
      say(`${file.name} has more than the ${known.limits.bytes / 2 ** 20} MiB that are taken.`, true);
      continue;
    }
    const photo = new Photo(file, known.settings, known.scale);
    photo.tile = tileOf(photo);
    photos.push(photo);
    $("strip").append(photo.tile);
  }
  if (photos.length) {
    $("welcome").hidden = true;
    $("workspace").hidden = false;
  }
  if (!current && photos.length) show(photos[0]);
  arrange();
  work();
}

let working = false;
async function work() {
  if (working) return;
  working = true;
  for (let photo; (photo = photos.find((one) => one.state === "waiting")); ) {
    photo.state = "loading";
    try {
      await load(photo);
    } catch (error) {
      photo.state = "failed";
      photo.reason = error.message;
      say(error.message, true);
    }
    refreshTile(photo);
    if (photo === current) show(photo);
    arrange();
  }
  working = false;
}

async function load(photo) {
  try {
    await photo.load();
  } catch (error) {
    if (error.code !== "session_gone") throw error;
    server.startOver();
    await photo.load();
  }
}

/** Does what needs the server; where that has forgotten the photos, sends them again first. */
async function asking(photo, work) {
  try {
    return await work();
  } catch (error) {
    if (error.code !== "session_gone" && error.code !== "no_photo") throw error;
    if (error.code === "session_gone") server.startOver();
    await load(photo);
    return work();
  }
}

// One photo is shown.

function show(photo) {
  delete $("frame").dataset.working;
  if (photo !== current) explain.forgetPlace();
  current = photo;
  for (const one of photos) one.tile.firstChild.setAttribute("aria-current", one === photo);
  const ready = photo.state === "ready";
  $("busy").hidden = ready;
  $("busy").firstChild.textContent = photo.state === "failed" ? photo.reason : "Looking at the photo";
  $("busy").classList.toggle("failed", photo.state === "failed");
  $("title").textContent = photo.name;
  $("facts").textContent = ready ? `${photo.width} × ${photo.height}` : "";
  $("notes").replaceChildren(
    ...(photo.notes || []).map((note) => Object.assign(document.createElement("li"), { textContent: `The file ${note}.` })),
  );
  for (const id of [...SLIDERS, "format", "download", "reset", "apply"]) $(id).disabled = !ready;
  showSettings();
  $("variants-part").hidden = true;
  for (const id of ["variants", "hints", "markers", "strokes"]) $(id).replaceChildren();
  stage.clearOverlay();
  if (!ready) return;
  const both = photo.branches.length === 2;
  $("share-field").hidden = !both;
  $("temperature-field").hidden = !photo.branches.includes("soft");
  stage.show(photo);
  if (photo.settings.hints.length) repaint();
  hints.showHints(photo, known, repaint);
  showVariants(photo);
  if (mode === "explain") showExplanation(photo);
}

function showSettings() {
  const { settings } = current;
  for (const id of SLIDERS) {
    $(id).value = settings[id];
    showValue(id);
  }
  $("format").value = settings.format;
}

function showValue(id) {
  const value = current.settings[id];
  const text = id === "saturation" ? `${Math.round(100 * value)} %` : value.toFixed(2);
  document.querySelector(`output[for=${id}]`).textContent = text;
}

/** Mixes the colours again with the next picture of the screen. */
function repaint() {
  cancelAnimationFrame(planned);
  clearTimeout(spreading);
  if (current.settings.hints.length) {
    $("frame").dataset.working = "true";
    stale = true;
    spreading = setTimeout(spread, PATIENCE);
    return;
  }
  delete $("frame").dataset.working;
  planned = requestAnimationFrame(() => {
    if (current?.state !== "ready") return;
    stage.paint(current.picture());
    refreshTile(current);
  });
}

/** Has the server spread the hints: one picture at a time, and again if something has changed meanwhile. */
async function spread() {
  if (underWay) return;
  underWay = true;
  while (stale && current?.state === "ready" && current.settings.hints.length) {
    stale = false;
    const photo = current;
    try {
      const picture = await asking(photo, () => photo.painted());
      if (stale || photo !== current || !photo.settings.hints.length) continue;
      stage.paint(picture);
      const tile = photo.tile.querySelector("canvas");
      tile.getContext("2d").drawImage($("colour"), 0, 0, tile.width, tile.height);
    } catch (error) {
      say(error.message, true);
    }
    if (!stale) delete $("frame").dataset.working;
  }
  underWay = false;
}

let resting = 0;
function changed(id) {
  const photo = current;
  photo.settings[id] = Number($(id).value);
  showValue(id);
  if (id !== "temperature") return repaint();
  clearTimeout(resting);
  $("frame").dataset.working = "true";
  resting = setTimeout(refetch, PATIENCE, photo);
}

/** Fetches what the temperature changes, and mixes again. */
async function refetch(photo) {
  $("frame").dataset.working = "true";
  await asking(photo, () => photo.fetchPlanes()).catch((error) => say(error.message, true));
  if (photo === current) repaint();
}

// Variants.

async function showVariants(photo) {
  if (!photo.branches.includes("soft")) return;
  try {
    await asking(photo, () => photo.fetchVariants());
  } catch (error) {
    return say(error.message, true);
  }
  if (photo !== current) return;
  $("variants-part").hidden = mode !== "compare" || photo.shifts.length === 0;
  $("variants").replaceChildren(
    ...Array.from({ length: photo.shifts.length + 1 }, (_, variant) => {
      const label = document.createElement("label");
      const input = Object.assign(document.createElement("input"), { type: "radio", name: "variant", value: variant });
      input.checked = photo.settings.variant === variant;
      input.setAttribute("aria-label", variant ? `Variant ${variant}` : "The usual colours");
      input.addEventListener("change", () => {
        photo.settings.variant = variant;
        repaint();
      });
      const canvas = document.createElement("canvas");
      draw(canvas, photo.picture({ ...photo.usual, variant }, shrinkOf(photo)));
      label.append(input, canvas);
      return label;
    }),
  );
}

// The strip of photos.

function tileOf(photo) {
  const tile = document.createElement("li");
  const button = Object.assign(document.createElement("button"), { type: "button", title: photo.name });
  button.setAttribute("aria-label", photo.name);
  button.append(document.createElement("canvas"));
  button.addEventListener("click", () => show(photo));
  tile.append(button);
  tile.dataset.state = "loading";
  return tile;
}

function refreshTile(photo) {
  photo.tile.dataset.state = photo.state;
  if (photo.state !== "ready") return;
  draw(photo.tile.querySelector("canvas"), photo.picture(photo.settings, shrinkOf(photo)));
}

const shrinkOf = (photo) => Math.max(1, Math.ceil(Math.max(photo.greyHeight, photo.greyWidth) / THUMB));

function arrange() {
  const ready = photos.filter((photo) => photo.state === "ready").length;
  $("zip").hidden = ready < 2;
  $("apply").hidden = ready < 2;
  $("strip").parentElement.hidden = photos.length < 2;
}

function removeCurrent() {
  const index = photos.indexOf(current);
  if (current.path) server.remove(current.path).catch(() => {});
  current.tile.remove();
  photos.splice(index, 1);
  current = null;
  if (photos.length) show(photos[Math.min(index, photos.length - 1)]);
  $("welcome").hidden = photos.length > 0;
  $("workspace").hidden = photos.length === 0;
  arrange();
}

// The explain view.

async function showExplanation(photo) {
  if (photo.classes) await asking(photo, () => photo.fetchClasses()).catch((error) => say(error.message, true));
  if (photo !== current) return;
  explain.showLists(photo, known.classes, (index) => (index === null ? stage.clearOverlay() : stage.highlight(photo, index)));
}

function pointed(place) {
  if (!place || mode !== "explain" || current?.state !== "ready") return stage.clearOverlay();
  const index = current.classAt(place.x, place.y);
  if (index === null) return;
  stage.highlight(current, index);
  stage.tip(explain.title(known.classes[index]));
}

async function taken(place, joined) {
  const photo = current;
  if (photo?.state !== "ready") return;
  if (mode === "hints") return hint(photo, [[place.x, place.y]], joined);
  const [rows, columns] = photo.planes;
  const at = 2 * (Math.min(Math.floor(place.y * rows), rows - 1) * columns + Math.min(Math.floor(place.x * columns), columns - 1));
  const ab = photo.ab();
  const index = photo.classAt(place.x, place.y);
  const name = index === null ? "" : known.classes[index];
  await asking(photo, () => explain.showPlace(photo, place, name, [ab[at], ab[at + 1]])).catch((error) => say(error.message, true));
}

function drawing(points) {
  if (current?.state === "ready") hints.showDrawn(current, known, points && { points, color: shownAt(...points[0]) });
}

/** Adds a hint, or joins it to the last one; its colour is at first the one that is shown. */
async function hint(photo, points, joined = false) {
  if (photo?.state !== "ready") return;
  const last = joined ? photo.settings.hints.pop() : null;
  const more = last ? { points: [...last.points, ...points], color: last.color } : { points, color: shownAt(...points[0]) };
  const added = hints.addHint(photo, known, more, say);
  if (!added && last) photo.settings.hints.push(last);
  hintsChanged();
  if (!added || !photo.branches.includes("soft")) return;
  await asking(photo, () => hints.offer(photo, known, repaint)).catch((error) => say(error.message, true));
}

function hintsChanged() {
  hints.showHints(current, known, repaint);
  repaint();
}

/** Returns the colour that is shown at a place. */
function shownAt(x, y) {
  const { width, height } = $("colour");
  const at = (share, size) => Math.min(Math.floor(share * size), size - 1);
  const shown = $("colour").getContext("2d").getImageData(at(x, width), at(y, height), 1, 1).data;
  return "#" + [...shown.slice(0, 3)].map((v) => v.toString(16).padStart(2, "0")).join("");
}

function setMode(wanted) {
  mode = wanted;
  stage.mode = mode;
  $("explain-part").hidden = mode !== "explain";
  $("hints-part").hidden = mode !== "hints";
  $("mix").hidden = mode !== "compare";
  $("variants-part").hidden = mode !== "compare" || current?.state !== "ready" || !current.shifts?.length;
  if (mode === "hints" && current?.classes) asking(current, () => current.fetchClasses()).catch(() => {});
  if (mode === "explain" && current?.state === "ready") showExplanation(current);
}

// Photos go out.

function saveOne() {
  const photo = current;
  save($("download"), () => asking(photo, () => server.post(`${photo.path}/download`, photo.settings)), say);
}

function saveAll() {
  const ready = photos.filter((photo) => photo.state === "ready");
  save($("zip"), async () => {
    for (const photo of ready) await asking(photo, () => photo.fetchVariants()); // also finds what the server forgot
    return server.post("/api/zip", ready.map((photo) => ({ id: photo.id, ...photo.settings })));
  }, say);
}

function say(text, bad = false) {
  const line = document.createElement("p");
  line.textContent = text;
  line.classList.toggle("bad", bad);
  $("messages").append(line);
  setTimeout(() => line.remove(), bad ? 12_000 : 6_000);
}

// The controls.

for (const id of ["add", "choose"]) $(id).addEventListener("click", () => $("files").click());
$("files").addEventListener("change", () => {
  add($("files").files);
  $("files").value = "";
});
for (const id of SLIDERS) $(id).addEventListener("input", () => changed(id));
$("format").addEventListener("change", () => (current.settings.format = $("format").value));
$("download").addEventListener("click", saveOne);
$("zip").addEventListener("click", saveAll);
$("remove").addEventListener("click", removeCurrent);
$("reset").addEventListener("click", async () => {
  const photo = current;
  Object.assign(photo.settings, photo.usual, { variant: 0, hints: [] });
  await refetch(photo);
  if (photo === current) show(photo);
});
for (const [id, kept] of [["undo", -1], ["clear", 0]])
  $(id).addEventListener("click", () => {
    current.settings.hints = current.settings.hints.slice(0, kept);
    hintsChanged();
  });
addEventListener("keydown", (event) => {
  if (mode !== "hints" || !current?.settings.hints.length || event.key !== "z" || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  $("undo").click();
});
$("apply").addEventListener("click", async () => {
  const { saturation, share, temperature, format } = current.settings;
  for (const photo of photos) {
    Object.assign(photo.settings, { saturation, share, temperature, format });
    if (photo.state !== "ready") continue;
    await asking(photo, () => photo.fetchPlanes()).catch((error) => say(error.message, true));
    refreshTile(photo);
  }
  say("All photos have these settings now.");
});
for (const input of document.querySelectorAll("input[name=mode]")) input.addEventListener("change", () => setMode(input.value));

watchDrops(add);
addEventListener("pagehide", (event) => event.persisted || server.end());
setInterval(() => document.hidden || server.alive()?.catch(() => {}), HEARTBEAT);
arrange();
document.documentElement.dataset.ready = "true";
