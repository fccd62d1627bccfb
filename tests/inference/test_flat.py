import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage.color import rgb2lab
from stub_network import Stripes

from semcolor_jax.inference.branches import ColorChoice
from semcolor_jax.inference.colorize import Colorizer
from semcolor_jax.inference.flat import coloured_part


def noise(height, width, seed=0):
    grey = np.random.default_rng(seed).integers(0, 256, (height, width, 1), np.uint8)
    return np.repeat(grey, 3, axis=-1)


def framed(picture, tone, sides):
    top, bottom, left, right = sides
    return np.pad(picture, ((top, bottom), (left, right), (0, 0)), constant_values=tone)


@settings(max_examples=40, deadline=None)
@given(tone=st.integers(0, 255), sides=st.tuples(*[st.integers(0, 20)] * 4), deep=st.booleans())
def test_borders_are_found_to_the_pixel(tone, sides, deep):
    picture = framed(noise(80, 90), tone, sides)
    part = coloured_part(picture.astype(np.uint16) * 257 if deep else picture)
    top, bottom, left, right = sides
    assert (part.top, part.left) == (top, left)
    assert (part.bottom, part.right) == (picture.shape[0] - bottom, picture.shape[1] - right)


@pytest.mark.parametrize("tone", [0, 64, 128, 200])
def test_borders_that_end_inside_a_block_of_a_jpeg_are_found_to_the_block(tone):
    file = io.BytesIO()
    Image.fromarray(framed(noise(81, 93), tone, (50, 43, 21, 37))).save(file, format="JPEG", quality=85)
    part = coloured_part(np.asarray(Image.open(file).convert("RGB")))
    np.testing.assert_allclose((part.top, part.bottom, part.left, part.right), (50, 131, 21, 114), atol=8)


@pytest.mark.parametrize("tone", [0, 64, 128, 200, 255])
def test_blank_pages_and_borders_of_any_grey_stay_grey(tone):
    colorizer = Colorizer(Stripes(), side=16, choice=ColorChoice("reg"))
    page = np.full((40, 60, 3), tone, np.uint8)
    assert chroma(colorizer.colorize(page)).max() < 1
    photo = colorizer.colorize(framed(noise(60, 60), tone, (10, 10, 10, 10)))
    result = chroma(photo)
    assert max(result[:10].max(), result[-10:].max(), result[:, :10].max(), result[:, -10:].max()) < 1
    assert result[10:-10, 10:-10].mean() > 3


def chroma(result):
    return np.hypot(*np.moveaxis(rgb2lab(np.asarray(result.image))[..., 1:], -1, 0))


def sky(height=120, width=160, drift=30, grain=1.0):
    """A sky that brightens downwards, above a rugged horizon."""
    rng = np.random.default_rng(0)
    grey = 170 + drift * np.linspace(0, 1, height)[:, None] + grain * rng.standard_normal((height, width))
    horizon = (height * (0.5 + 0.2 * np.sin(np.arange(width) / 9))).astype(int)
    ground = np.arange(height)[:, None] > horizon
    grey = np.where(ground, rng.integers(20, 90, grey.shape), grey)
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=-1)


@pytest.mark.parametrize("drift", [0, 5, 30, 80])
@pytest.mark.parametrize("grain", [0.0, 1.0, 4.0])
def test_skies_keep_their_colour(drift, grain):
    part = coloured_part(sky(drift=drift, grain=grain))
    assert (part.top, part.left) == (0, 0)


def test_toned_prints_are_read_as_lightness():
    """Sepia of the same lightness gets the same colours (to its 8 bits)."""
    from semcolor_jax.color import lab_to_rgb

    lightness = np.linspace(20, 80, 60)[None, :, None].repeat(40, 0)
    grey, sepia = (
        np.rint(lab_to_rgb(np.concatenate([lightness, np.broadcast_to(ab, (40, 60, 2))], -1), xp=np) * 255).astype("u1")
        for ab in ((0, 0), (8, 18))
    )
    colorizer = Colorizer(Stripes(), side=16, choice=ColorChoice("reg"))
    difference = rgb2lab(np.asarray(colorizer.colorize(sepia).image)) - rgb2lab(
        np.asarray(colorizer.colorize(grey).image)
    )
    assert np.abs(difference).mean() < 0.6
