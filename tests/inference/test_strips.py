import numpy as np
import pytest
from skimage.color import lab2rgb, rgb2lab

from semcolor_jax.color import fit_to_gamut, rgb_to_lab
from semcolor_jax.inference.colorize import shrink
from semcolor_jax.inference.strips import merge


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def enlarged(ab: np.ndarray, *, height: int, width: int) -> np.ndarray:
    """Bilinear interpolation between pixel centres, in float64."""
    for axis, size in ((0, height), (1, width)):
        count = ab.shape[axis]
        places = (np.arange(size) + 0.5) * count / size - 0.5
        ab = np.apply_along_axis(lambda values, p=places, n=count: np.interp(p, np.arange(n), values), axis, ab)
    return ab


def test_every_channel_agrees_with_scikit_image_to_one_step():
    photo = noise(70, 90)
    ab = np.random.default_rng(1).uniform(-60, 60, (7, 9, 2)).astype(np.float32)
    lightness = rgb2lab(photo)[..., :1]
    lab = np.concatenate([lightness, enlarged(ab, height=70, width=90)], axis=-1).astype(np.float32)
    expected = lab2rgb(np.asarray(fit_to_gamut(lab), np.float64)) * 255
    assert np.abs(merge(photo, ab) - expected).max() < 0.6


def test_no_colour_is_grey_and_keeps_grey_photos_to_the_bit():
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=-1)
    np.testing.assert_array_equal(merge(grey, np.zeros((2, 2, 2), np.float32)), grey)


def test_in_place_gives_the_same_in_the_photos_own_memory():
    photo = noise(33, 21)
    ab = np.random.default_rng(2).uniform(-60, 60, (5, 4, 2)).astype(np.float32)
    expected = merge(photo, ab)
    assert merge(photo, ab, in_place=True) is photo
    np.testing.assert_array_equal(photo, expected)


@pytest.mark.parametrize("strip_pixels", [1, 5000, 2**14, 2**19])
def test_a_wide_photo_does_not_depend_on_the_strips(strip_pixels):
    photo, ab = noise(40, 1100), np.random.default_rng(3).uniform(-90, 90, (11, 300, 2)).astype(np.float32)
    np.testing.assert_array_equal(merge(photo, ab, strip_pixels=strip_pixels), merge(photo, ab))


@pytest.mark.parametrize(
    ("photo", "network"),
    [
        ((3000, 4000), (256, 352)),
        ((4000, 3000), (352, 256)),
        ((3000, 4010), (256, 352)),
        ((800, 1200), (256, 384)),
        ((200, 300), (192, 288)),  # smaller than the side: not enlarged
        ((256, 5000), (52, 1024)),
        ((60, 40), (60, 40)),
    ],
)
def test_photos_of_many_sizes_share_few_network_shapes(photo, network):
    assert shrink(np.zeros((*photo, 3), np.uint8), side=256).shape[:2] == network


def test_the_lightness_of_saturated_colours_stays():
    photo = noise(64, 64)
    lightness = rgb_to_lab(photo, xp=np)[..., 0]
    coloured = merge(photo, np.full((1, 1, 2), 100, np.float32))
    assert np.abs(rgb2lab(coloured)[..., 0] - lightness).max() < 1
