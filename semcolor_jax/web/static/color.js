// Mixes a photo's lightness with small planes of colour, as `semcolor_jax.inference.strips.merge` does at full size:
// the same constants, the same enlargement, the same way into the gamut. Lab is CIE's, of D65.

const XYZ = [
  [0.412453 / 0.95047, 0.35758 / 0.95047, 0.180423 / 0.95047],
  [0.212671, 0.71516, 0.072169],
  [0.019334 / 1.08883, 0.119193 / 1.08883, 0.950227 / 1.08883],
];
const RGB = inverse(XYZ);
const BEND = 0.2068966;
const TOLERANCE = 1e-4;
const AIM = TOLERANCE / 2;
const STEPS = 6;
const LEVELS = 65535;

const toLinear = (v) => (v > 0.04045 ? ((v + 0.055) / 1.055) ** 2.4 : v / 12.92);
const fromLinear = (v) => (v > 0.0031308 ? 1.055 * v ** (1 / 2.4) - 0.055 : v * 12.92);
const f = (t) => (t > 0.008856 ? Math.cbrt(t) : 7.787 * t + 16 / 116);
const inverseF = (v) => (v > BEND ? v * v * v : (v - 16 / 116) / 7.787);
const inverseFSlope = (v) => (v > BEND ? 3 * v * v : 1 / 7.787);

const LINEAR = Float64Array.from({ length: 256 }, (_, i) => toLinear(i / 255));
// The luminance of a grey, by the row of the matrix, whose sum is 1 but for its six digits.
const Y = LINEAR.map((v) => v * (XYZ[1][0] + XYZ[1][1] + XYZ[1][2]));
const F_Y = Y.map(f);
const ENCODED = Uint8Array.from({ length: LEVELS + 1 }, (_, i) => Math.round(255 * fromLinear(i / LEVELS)));

/** Returns the RGBA bytes of grey values (height x width) with colours ab, interleaved, of the planes' height x width. */
export function mix(grey, height, width, ab, rows, columns, inside = () => true) {
  const out = new Uint8ClampedArray(4 * height * width);
  const left = new Int32Array(width);
  const right = new Int32Array(width);
  const across = new Float64Array(width);
  const coloured = new Uint8Array(width);
  for (let x = 0; x < width; x++) {
    const place = clamp(((x + 0.5) * columns) / width - 0.5, 0, columns - 1);
    left[x] = 2 * Math.floor(place);
    right[x] = 2 * Math.min(Math.floor(place) + 1, columns - 1);
    across[x] = place - Math.floor(place);
    coloured[x] = inside(null, (x + 0.5) / width) ? 1 : 0;
  }
  const row = new Float64Array(2 * columns);
  const rgb = new Float64Array(3);
  for (let y = 0, at = 0; y < height; y++) {
    const place = clamp(((y + 0.5) * rows) / height - 0.5, 0, rows - 1);
    const above = 2 * columns * Math.floor(place);
    const below = 2 * columns * Math.min(Math.floor(place) + 1, rows - 1);
    const share = inside((y + 0.5) / height, null) ? 1 : 0;
    const down = place - Math.floor(place);
    for (let i = 0; i < 2 * columns; i++) row[i] = share * ((1 - down) * ab[above + i] + down * ab[below + i]);
    for (let x = 0; x < width; x++, at += 4) {
      const g = grey[y * width + x];
      const w = across[x];
      const on = coloured[x];
      const a = on * ((1 - w) * row[left[x]] + w * row[right[x]]);
      const b = on * ((1 - w) * row[left[x] + 1] + w * row[right[x] + 1]);
      toRgb(Y[g], F_Y[g], a / 500, b / 200, rgb);
      out[at] = encode(rgb[0]);
      out[at + 1] = encode(rgb[1]);
      out[at + 2] = encode(rgb[2]);
      out[at + 3] = 255;
    }
  }
  return out;
}

/** Returns "#rrggbb" of a colour at the lightness of a grey value 0..255; outside sRGB it loses chroma. */
export function hexOf(grey, a, b) {
  const rgb = new Float64Array(3);
  toRgb(Y[grey], F_Y[grey], a / 500, b / 200, rgb);
  return "#" + [...rgb].map((v) => encode(v).toString(16).padStart(2, "0")).join("");
}

function toRgb(y, fY, da, db, rgb) {
  linear(y, fY, da, db, 1, rgb);
  if (excessOf(rgb) > TOLERANCE) linear(y, fY, da, db, chromaFactor(y, fY, da, db), rgb);
}

function linear(y, fY, da, db, t, rgb) {
  const x = inverseF(fY + t * da);
  const z = inverseF(fY - t * db);
  for (let i = 0; i < 3; i++) rgb[i] = RGB[i][0] * x + RGB[i][1] * y + RGB[i][2] * z;
}

const excessOf = (rgb) => Math.max(Math.max(rgb[0], rgb[1], rgb[2]) - 1, -Math.min(rgb[0], rgb[1], rgb[2]));

/** Newton's method, kept between what is known to be inside and outside: `semcolor_jax.color.gamut.chroma_factor`. */
function chromaFactor(y, fY, da, db) {
  let inside = 0;
  let outside = 1;
  let t = 1;
  const rgb = new Float64Array(3);
  for (let step = 0; step < STEPS; step++) {
    linear(y, fY, da, db, t, rgb);
    const xSlope = da * inverseFSlope(fY + t * da);
    const zSlope = -db * inverseFSlope(fY - t * db);
    let excess = -Infinity;
    let slope = 0;
    for (let i = 0; i < 3; i++) {
      const change = RGB[i][0] * xSlope + RGB[i][2] * zSlope;
      const high = rgb[i] > 0.5;
      const far = high ? rgb[i] - 1 : -rgb[i];
      if (far > excess) {
        excess = far;
        slope = high ? change : -change;
      }
    }
    if (excess <= AIM) inside = t;
    else outside = t;
    const newton = t - (excess - AIM) / slope;
    t = newton >= inside && newton <= outside ? newton : (inside + outside) / 2;
  }
  linear(y, fY, da, db, t, rgb);
  return excessOf(rgb) <= (AIM + TOLERANCE) / 2 ? t : inside;
}

const encode = (v) => ENCODED[Math.round(LEVELS * clamp(v, 0, 1))];
const clamp = (v, low, high) => Math.min(Math.max(v, low), high);

function inverse([[a, b, c], [d, e, g], [h, i, j]]) {
  const det = a * (e * j - g * i) - b * (d * j - g * h) + c * (d * i - e * h);
  return [
    [(e * j - g * i) / det, (c * i - b * j) / det, (b * g - c * e) / det],
    [(g * h - d * j) / det, (a * j - c * h) / det, (c * d - a * g) / det],
    [(d * i - e * h) / det, (b * h - a * i) / det, (a * e - b * d) / det],
  ];
}
