// One photo of the page: what the server knows of it, its settings, and its colours mixed here.

import { hexOf, mix } from "./color.js";
import * as server from "./server.js";

export class Photo {
  constructor(file, usual, scale) {
    this.file = file;
    this.name = file.name;
    this.usual = usual;
    this.scale = scale;
    this.settings = { ...usual, variant: 0, format: "", hints: [] };
    this.state = "waiting"; // then "ready", or "failed" with a reason
    this.planesOf = null; // the temperature of the planes that are here
  }

  /** Sends the file, and fetches what colours are mixed from. */
  async load() {
    const known = await server.upload(this.file);
    Object.assign(this, known);
    this.path = `/api/photos/${known.id}`;
    [this.greyHeight, this.greyWidth] = known.grey;
    this.grey = new Uint8Array(await server.bytes(`${this.path}/grey`));
    this.planesOf = null;
    this.shifts = this.classMap = null;
    await this.fetchPlanes();
    this.state = "ready";
  }

  /** Fetches the colours of the branches at the temperature that is set, unless they are here. */
  async fetchPlanes() {
    const { temperature } = this.settings;
    if (this.planesOf === temperature) return;
    const all = this.floats(await server.bytes(`${this.path}/planes?temperature=${temperature}`));
    this.planesOf = temperature;
    const size = all.length / this.branches.length;
    this.colors = Object.fromEntries(this.branches.map((name, i) => [name, all.subarray(i * size, (i + 1) * size)]));
  }

  /** Fetches what makes the other colourings, once. */
  async fetchVariants() {
    if (this.shifts) return;
    const all = this.floats(await server.bytes(`${this.path}/variants`));
    const size = 2 * this.planes[0] * this.planes[1];
    this.shifts = Array.from({ length: all.length / size }, (_, i) => all.subarray(i * size, (i + 1) * size));
  }

  async fetchClasses() {
    this.classMap ??= new Uint8Array(await server.bytes(`${this.path}/classes`));
  }

  floats(buffer) {
    return Float32Array.from(new Int16Array(buffer), (value) => value / this.scale);
  }

  /** Returns the colours that the settings make, as `semcolor_jax.web.settings.mixed_ab`. */
  ab(settings = this.settings) {
    const { reg, soft } = this.colors;
    const share = reg && soft ? settings.share : soft ? 1 : 0;
    const shift = settings.variant && this.shifts ? this.shifts[settings.variant - 1] : null;
    const saturation = settings.saturation;
    const shifted = saturation / this.usual.saturation;
    return Float32Array.from(reg || soft, (_, i) => {
      const own = (reg ? (1 - share) * reg[i] : 0) + (soft ? share * soft[i] : 0);
      return saturation * own + (shift ? shifted * shift[i] : 0);
    });
  }

  /** Returns the picture that the settings make, smaller by a whole number where that is asked for. */
  picture(settings = this.settings, shrink = 1) {
    const height = Math.ceil(this.greyHeight / shrink);
    const width = Math.ceil(this.greyWidth / shrink);
    let grey = this.grey;
    if (shrink > 1) {
      grey = new Uint8Array(height * width);
      for (let y = 0; y < height; y++)
        for (let x = 0; x < width; x++) grey[y * width + x] = this.grey[y * shrink * this.greyWidth + x * shrink];
    }
    const [top, bottom, left, right] = this.part;
    const inside = (y, x) =>
      (y === null || (y * this.height >= top && y * this.height < bottom)) &&
      (x === null || (x * this.width >= left && x * this.width < right));
    const ab = this.ab(settings);
    return new ImageData(mix(grey, height, width, ab, this.planes[0], this.planes[1], inside), width, height);
  }

  /** Returns the picture with the hints spread, which the server does. */
  async painted() {
    const answer = await server.post(`${this.path}/painted`, this.settings);
    const bitmap = await createImageBitmap(await answer.blob());
    const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(bitmap, 0, 0);
    return context.getImageData(0, 0, bitmap.width, bitmap.height);
  }

  before() {
    const out = new Uint8ClampedArray(4 * this.grey.length);
    for (let i = 0; i < this.grey.length; i++) {
      out[4 * i] = out[4 * i + 1] = out[4 * i + 2] = this.grey[i];
      out[4 * i + 3] = 255;
    }
    return new ImageData(out, this.greyWidth, this.greyHeight);
  }

  /** Returns the grey value at a place, shares of width and height. */
  greyAt(x, y) {
    const column = Math.min(Math.floor(x * this.greyWidth), this.greyWidth - 1);
    const row = Math.min(Math.floor(y * this.greyHeight), this.greyHeight - 1);
    return this.grey[row * this.greyWidth + column];
  }

  classAt(x, y) {
    if (!this.classMap) return null;
    const [rows, columns] = this.classes;
    return this.classMap[Math.min(Math.floor(y * rows), rows - 1) * columns + Math.min(Math.floor(x * columns), columns - 1)];
  }

  hexAt(x, y, a, b) {
    return hexOf(this.greyAt(x, y), a, b);
  }
}
