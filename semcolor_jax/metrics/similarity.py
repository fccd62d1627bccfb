"""Similarity of a coloured photo to the original: eqs. 21 to 24 of the paper, and the field's colourfulness.

Every function takes uint8 sRGB images and returns a Python float. Images of different sizes are refused,
never broadcast.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8
from skimage.metrics import structural_similarity

from semcolor_jax.color import rgb_to_lab

PSNR_CEILING = float(10 * np.log10(255**2 * 12))
"""PSNR of nothing but the rounding to 8 bits (mean squared error 1/12), 58.9 dB."""

_SSIM_WINDOW = 11


def psnr(truth: UInt8[np.ndarray, "h w 3"], prediction: UInt8[np.ndarray, "h w 3"]) -> float:
    """Returns the peak signal-to-noise ratio in dB (eqs. 21 and 22).

    The squared error is averaged over pixels and channels. Identical images give infinity; for averages over
    images see `capped_psnr`.

    Raises:
      ValueError: the images differ in size.
    """
    _check(truth, prediction)
    error = np.mean(np.square(truth.astype(np.float64) - prediction))
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def capped_psnr(truth: UInt8[np.ndarray, "h w 3"], prediction: UInt8[np.ndarray, "h w 3"]) -> float:
    """Returns `psnr`, but at most `PSNR_CEILING`, so that one grey photo does not make a mean infinite.

    An 8-bit image is known only up to its rounding, so no agreement above the ceiling can be told from a
    perfect one. Leaving identical images out instead would average the methods over different photos.
    """
    return min(psnr(truth, prediction), PSNR_CEILING)


def ssim(truth: UInt8[np.ndarray, "h w 3"], prediction: UInt8[np.ndarray, "h w 3"]) -> float:
    """Returns the structural similarity (-1..1), computed on each RGB channel and averaged.

    The standard index of Wang et al. (2004): 11x11 Gaussian window of sigma 1.5, population covariance, data
    range 255, the product of the two terms (the "+" of eq. 24 is a misprint). An image narrower than the
    window is first mirrored at its edges up to 11 pixels.

    Raises:
      ValueError: the images differ in size.
    """
    _check(truth, prediction)
    index = structural_similarity(
        _mirror_to_window(truth),
        _mirror_to_window(prediction),
        data_range=255,
        channel_axis=-1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    return float(np.asarray(index))


def l2_ab_printed(truth: UInt8[np.ndarray, "h w 3"], prediction: UInt8[np.ndarray, "h w 3"]) -> float:
    """Returns eq. 23 as it is printed: the norm of the whole ab difference over 2P, P the number of pixels.

    It shrinks as 1 / sqrt(P) when the same error is spread over a larger image, so compare it only at one
    size; `ab_distance` has no such dependence.

    Raises:
      ValueError: the images differ in size.
    """
    difference = _ab_difference(truth, prediction)
    pixels = difference.shape[0] * difference.shape[1]
    return float(np.sqrt(np.sum(np.square(difference))) / (2 * pixels))


def ab_distance(truth: UInt8[np.ndarray, "h w 3"], prediction: UInt8[np.ndarray, "h w 3"]) -> float:
    """Returns the mean over the pixels of the Euclidean distance in the ab plane, in CIE units.

    Raises:
      ValueError: the images differ in size.
    """
    return float(np.mean(np.linalg.norm(_ab_difference(truth, prediction), axis=-1)))


def colourfulness(image: UInt8[np.ndarray, "h w 3"]) -> float:
    """Returns the colourfulness M3 of Hasler and Süsstrunk (2003): 0 none, 33 moderate, 109 extreme.

    The opponent channels enter by their absolute values, as in the code of CT2 and DDColor, so that numbers
    compare with the colourization literature; the original paper's are signed.
    """
    red, green, blue = np.moveaxis(image.astype(np.float64), -1, 0)
    red_green = np.abs(red - green)
    yellow_blue = np.abs((red + green) / 2 - blue)
    spread = np.hypot(red_green.std(), yellow_blue.std())
    offset = np.hypot(red_green.mean(), yellow_blue.mean())
    return float(spread + 0.3 * offset)


def _ab_difference(truth: np.ndarray, prediction: np.ndarray) -> Float[np.ndarray, "h w 2"]:
    _check(truth, prediction)
    return np.float64(rgb_to_lab(truth, xp=np)[..., 1:]) - rgb_to_lab(prediction, xp=np)[..., 1:]


def _mirror_to_window(image: np.ndarray) -> np.ndarray:
    missing = [max(0, _SSIM_WINDOW - side) for side in image.shape[:2]]
    return np.pad(image, [(n // 2, n - n // 2) for n in missing] + [(0, 0)], mode="symmetric")


def _check(truth: np.ndarray, prediction: np.ndarray) -> None:
    for image in (truth, prediction):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
            raise ValueError(f"Expected a uint8 (H, W, 3) image, got {image.dtype} {image.shape}.")
    if truth.shape != prediction.shape:
        raise ValueError(f"The images differ in size: {truth.shape} and {prediction.shape}.")
