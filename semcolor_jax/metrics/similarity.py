"""Measures how similar coloured photos are to their originals (eqs. 21 to 24 of the paper), and how colourful.

"We computed these metrics on every channel and obtained the average result", the paper says. The field pools the
channels in one mean instead. PSNR and L2ab come in both forms: `channels` is the paper's, `pooled` the field's.

All functions take uint8 sRGB images (B, H, W, 3) and `sizes`, (B, 2): the true height and width of each pair, in the
upper left corner of its array; by default the whole array. They return float64 arrays (B,). `of_pair` computes every
number of one pair.

Accelerators compute in float32, in which a mean over a whole image loses digits. So the device returns partial sums
over pixels, as integers where the summands are integers, and the host adds them in float64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float64, Int, UInt8

from semcolor_jax.backend import barrier
from semcolor_jax.color.lab import rgb_planes_to_ab
from semcolor_jax.metrics.valid_area import Sizes, bucket, keep_inside

Images: TypeAlias = UInt8[Any, "B H W 3"]
PerImage: TypeAlias = Float64[np.ndarray, " B"]

PSNR_CEILING = float(10 * np.log10(255**2 * 12))
"""PSNR of nothing but the rounding to 8 bits (mean squared error 1/12), 58.9 dB.

An 8-bit image is known only up to its rounding, so agreement above this is indistinguishable from perfect, and one grey
photo does not make a mean infinite. Leaving identical images out would average the methods over different photos.
"""

MAX_ERROR = 150
"""ab distances are counted in steps of 1 up to here, in CIE units; sRGB's largest is 253, from green to blue."""

SSIM_WINDOW = 11
_SSIM_SIGMA = 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_PIECE = 1024
"""Pixels in a partial sum: 1024 squares of at most 510 stay far below 2^31."""


class Psnr(NamedTuple):
    """Peak signal-to-noise ratios in dB (eqs. 21 and 22), at most `PSNR_CEILING`.

    Attributes:
      channels: mean of the PSNRs of R, G and B, the paper's form.
      pooled: of the squared error averaged over pixels and channels, the field's form.
    """

    channels: PerImage
    pooled: PerImage


class AbErrors(NamedTuple):
    """Distances in the ab plane, in CIE units.

    Attributes:
      mean: the mean Euclidean distance over pixels.
      channels: eq. 23 as printed, the norm of the difference over 2P with P pixels; mean over a and b.
      pooled: eq. 23 of both channels together. Both shrink as 1 / sqrt(P) when the same error is spread over a larger
        image, so compare them only at one size; `mean` has no such dependence.
      histogram: (B, MAX_ERROR + 2) pixels whose distance, rounded up, is 0, 1, ... MAX_ERROR, or more.
    """

    mean: PerImage
    channels: PerImage
    pooled: PerImage
    histogram: Int[np.ndarray, "B bins"]


class Colourfulness(NamedTuple):
    """Colourfulness M3 of Hasler and Süsstrunk (2003), in two forms: 0 none, 33 moderate, 109 extreme.

    Attributes:
      absolute: from absolute opponent channels, as in the code of CT2 and DDColor, for comparison with the
            colourization literature.
      signed: from signed opponent channels, as published.
    """

    absolute: PerImage
    signed: PerImage


def of_pair(truth: UInt8[np.ndarray, "h w 3"], prediction: UInt8[np.ndarray, "h w 3"]) -> dict[str, float]:
    """Returns every number of one pair by its name in reports; the colourfulness is the prediction's.

    Raises:
      ValueError: the images are not uint8 (H, W, 3), or differ in size.
    """
    for image in (truth, prediction):
        if image.ndim != 3:
            raise ValueError(f"Expected a uint8 (H, W, 3) image, got {image.dtype} {image.shape}.")
    if truth.shape != prediction.shape:
        raise ValueError(f"The images differ in size: {truth.shape} and {prediction.shape}.")
    height, width = truth.shape[:2]
    rows, columns = bucket(height, width)  # few shapes, so that few programs are compiled
    pad = ((0, rows - height), (0, columns - width), (0, 0))
    pair = [np.pad(image, pad)[None] for image in (truth, prediction)]
    sizes = np.array([[height, width]], np.int32)
    decibels, errors = psnr(*pair, sizes=sizes), ab_errors(*pair, sizes=sizes)
    values = {
        "psnr_channels": decibels.channels,
        "psnr": decibels.pooled,
        "ssim": ssim(*pair, sizes=sizes),
        "ab_distance": errors.mean,
        "l2_ab_channels": errors.channels,
        "l2_ab": errors.pooled,
        "colourfulness": colourfulness(pair[1], sizes=sizes).absolute,
    }
    return {name: float(value[0]) for name, value in values.items()}


def psnr(truth: Images, prediction: Images, *, sizes: np.ndarray | None = None) -> Psnr:
    """Returns the PSNR in both forms.

    Raises:
      ValueError: the images are not uint8, differ in size, or do not have these sizes.
    """
    sizes = _sizes(truth, prediction, sizes)
    errors = _total(_squared_errors(truth, prediction, sizes)) / _pixels(sizes)[:, None]
    return Psnr(channels=np.mean(_decibels(errors), axis=1), pooled=_decibels(np.mean(errors, axis=1)))


def _decibels(squared_error: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.minimum(10 * np.log10(255**2 / squared_error), PSNR_CEILING)


def ssim(truth: Images, prediction: Images, *, sizes: np.ndarray | None = None) -> PerImage:
    """Returns the structural similarity (-1..1), computed on each RGB channel and averaged.

    The standard index of Wang et al. (2004): 11x11 Gaussian window of sigma 1.5, population covariance, data range
    255, the product of the two terms (the "+" of eq. 24 is a misprint). An image narrower than the window is first
    mirrored at its edges up to 11 pixels.

    Raises:
      ValueError: as `psnr`.
    """
    sizes = _sizes(truth, prediction, sizes)
    if sizes.min() < SSIM_WINDOW:
        (truth, prediction), sizes = _mirror_to_window((truth, prediction), sizes)
    return 1 - _total(_ssim_losses(truth, prediction, sizes)) / (3 * _pixels(sizes - SSIM_WINDOW + 1))


def _mirror_to_window(batches: tuple[Images, ...], sizes: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Returns the images with sides of at least `SSIM_WINDOW`, and their sizes."""
    grown = np.maximum(sizes, SSIM_WINDOW)
    result = []
    for images in batches:
        images = np.asarray(images)
        canvas = np.zeros((len(images), *np.maximum(images.shape[1:3], SSIM_WINDOW), 3), np.uint8)
        for image, target, (height, width), (rows, columns) in zip(images, canvas, sizes, grown, strict=True):
            missing = rows - height, columns - width
            pad = [(n // 2, n - n // 2) for n in missing] + [(0, 0)]
            target[:rows, :columns] = np.pad(image[:height, :width], pad, mode="symmetric")
        result.append(canvas)
    return result, grown


def ab_errors(truth: Images, prediction: Images, *, sizes: np.ndarray | None = None) -> AbErrors:
    """Returns the mean distance, eq. 23 in both forms, and the histogram of the distances.

    Raises:
      ValueError: as `psnr`.
    """
    sizes = _sizes(truth, prediction, sizes)
    distances, squares, rounded_up = _ab_distances(truth, prediction, sizes)
    pixels = _pixels(sizes)
    padding = rounded_up.shape[1] * rounded_up.shape[2] - pixels
    histogram = np.stack([np.bincount(image.ravel(), minlength=MAX_ERROR + 2) for image in np.asarray(rounded_up)])
    histogram[:, 0] -= padding.astype(histogram.dtype)
    of_channels = _total(squares)
    return AbErrors(
        mean=_total(distances) / pixels,
        channels=np.mean(np.sqrt(of_channels), axis=1) / (2 * pixels),
        pooled=np.sqrt(np.sum(of_channels, axis=1)) / (2 * pixels),
        histogram=histogram,
    )


def colourfulness(images: Images, *, sizes: np.ndarray | None = None) -> Colourfulness:
    """Returns both forms of colourfulness. Raises ValueError as `psnr`."""
    sizes = _sizes(images, images, sizes)
    pixels = _pixels(sizes)
    sums = {name: _total(value) / pixels for name, value in _opponent_sums(images, sizes).items()}

    def form(kind: str) -> PerImage:
        means = [sums[f"red_green {kind}"], sums[f"yellow_blue {kind}"] / 2]
        squares = [sums["red_green squares"], sums["yellow_blue squares"] / 4]
        variances = [np.maximum(square - mean**2, 0) for square, mean in zip(squares, means, strict=True)]
        return np.sqrt(variances[0] + variances[1]) + 0.3 * np.hypot(*means)

    return Colourfulness(absolute=form("absolute"), signed=form("signed"))


@jax.jit
def _squared_errors(truth: Array, prediction: Array, sizes: Sizes) -> Array:
    """Returns sums for each channel, (B, 3, h, pieces)."""
    squares = keep_inside(jnp.square(truth.astype(jnp.int32) - prediction.astype(jnp.int32)), sizes)
    return jnp.stack([_pieces(squares[..., channel, None]) for channel in range(3)], axis=1)


@jax.jit
def _ssim_losses(truth: Array, prediction: Array, sizes: Sizes) -> Array:
    """Returns sums of 1 - SSIM over the windows inside the images.

    The terms need var x + var y and cov alone: with the sum s and the difference d of both images they are
    (var s + var d) / 2 and (var s - var d) / 4.

    E[s^2] - E[s]^2 would lose its digits in float32 where an image is flat. The variance in a window is instead the
    mean of its columns' variances plus the variance of their means, sums of squares all.
    """
    batch, height, _, channels = truth.shape
    # Channels are joined with columns: rows are then long, and the compiler vectorises them.
    x, y = (images.astype(jnp.float32).reshape(batch, height, -1) for images in (truth, prediction))
    mean_sum, var_sum = _window_moments(x + y, channels=channels)
    mean_difference, var_difference = _window_moments(x - y, channels=channels)
    squares, products = (jnp.square(mean_sum) + sign * jnp.square(mean_difference) for sign in (1, -1))
    luminance = (products / 2 + _C1) / (squares / 2 + _C1)
    structure = ((var_sum - var_difference) / 2 + _C2) / ((var_sum + var_difference) / 2 + _C2)
    losses = (1 - luminance * structure).reshape(batch, height - SSIM_WINDOW + 1, -1, channels)
    return _pieces(keep_inside(losses, sizes - SSIM_WINDOW + 1))


def _window_moments(x: Array, *, channels: int) -> tuple[Array, Array]:
    """Returns the weighted mean and variance of every window of images (B, H, W * channels)."""
    mean_of_columns, variance_in_columns = _moments(x, axis=1, step=1)
    mean, variance_of_columns = _moments(mean_of_columns, axis=2, step=channels)
    return mean, variance_of_columns + _window_sum(lambda s: variance_in_columns[s], axis=2, step=channels, like=x)


def _moments(x: Array, *, axis: int, step: int) -> tuple[Array, Array]:
    """Returns weighted mean and variance in windows along one axis."""
    # Fused into its consumers, the mean would be computed eleven times.
    mean = barrier(_window_sum(lambda s: x[s], axis=axis, step=step, like=x))
    variance = _window_sum(lambda s: jnp.square(x[s] - mean), axis=axis, step=step, like=x)
    return mean, barrier(variance)


def _window_sum(term: Callable[[Any], Any], *, axis: int, step: int, like: Array) -> Any:
    """Returns the Gaussian-weighted sum of `term(slice)` over slices that slide along the axis in steps of `step`."""
    taps = np.exp(-0.5 * np.square(np.arange(-(SSIM_WINDOW // 2), SSIM_WINDOW // 2 + 1) / _SSIM_SIGMA))
    taps = (taps / taps.sum()).astype(np.float32)
    length = like.shape[axis] - (SSIM_WINDOW - 1) * step
    before = (slice(None),) * axis
    slices = [(*before, slice(index * step, index * step + length)) for index in range(SSIM_WINDOW)]
    return sum(tap * term(place) for tap, place in zip(taps, slices, strict=True))


@jax.jit
def _ab_distances(truth: Array, prediction: Array, sizes: Sizes) -> tuple[Array, Array, Array]:
    """Returns sums of distances, sums of squares for a and b, (B, 2, h, pieces), and the distances rounded up."""
    true_ab, ab = (rgb_planes_to_ab(*(images[..., c] for c in range(3))) for images in (truth, prediction))
    squares = [keep_inside(jnp.square(x - y)[..., None], sizes) for x, y in zip(true_ab, ab, strict=True)]
    squares = barrier(squares)  # once for all three below
    distances = jnp.sqrt(squares[0] + squares[1])
    rounded_up = jnp.clip(jnp.ceil(distances), 0, MAX_ERROR + 1).astype(jnp.uint8)
    return _pieces(distances), jnp.stack([_pieces(square) for square in squares], axis=1), rounded_up[..., 0]


@jax.jit
def _opponent_sums(images: Array, sizes: Sizes) -> dict[str, Array]:
    """Returns sums of R - G and of R + G - 2 B (twice the yellow-blue channel), exact as integers."""
    red, green, blue = jnp.split(keep_inside(images, sizes).astype(jnp.int32), 3, axis=-1)
    sums = {}
    for name, channel in (("red_green", red - green), ("yellow_blue", red + green - 2 * blue)):
        sums[f"{name} signed"] = _pieces(channel)
        sums[f"{name} absolute"] = _pieces(jnp.abs(channel))
        sums[f"{name} squares"] = _pieces(jnp.square(channel))
    return sums


def _pieces(x: Array) -> Array:
    """Returns partial sums of at most `_PIECE` pixels of a row, (B, h, pieces)."""
    x = jnp.sum(x, axis=-1)
    missing = -x.shape[-1] % min(_PIECE, x.shape[-1])
    x = jnp.pad(x, ((0, 0), (0, 0), (0, missing)))
    return jnp.sum(x.reshape(*x.shape[:2], -1, min(_PIECE, x.shape[-1])), axis=-1)


def _total(pieces: Array) -> np.ndarray:
    return np.sum(np.asarray(pieces, np.float64), axis=(-2, -1))


def _pixels(sizes: np.ndarray) -> PerImage:
    return np.prod(sizes, axis=1, dtype=np.float64)


def _sizes(truth: Any, prediction: Any, sizes: np.ndarray | None) -> np.ndarray:
    for images in (truth, prediction):
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
            raise ValueError(f"Expected uint8 images (B, H, W, 3), got {images.dtype} {images.shape}.")
    if truth.shape != prediction.shape:
        raise ValueError(f"The images differ in size: {truth.shape} and {prediction.shape}.")
    whole = np.int32(truth.shape[1:3])
    sizes = np.broadcast_to(whole, (len(truth), 2)) if sizes is None else np.asarray(sizes, np.int32)
    if sizes.shape != (len(truth), 2) or (sizes > whole).any() or sizes.min() < 1:
        raise ValueError(f"Sizes {sizes.tolist()} do not fit images of the shape {truth.shape}.")
    return sizes
