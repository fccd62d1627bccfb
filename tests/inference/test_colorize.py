import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.color import rgb2lab
from stub_network import Stripes, photo_of

from semcolor_jax.errors import UserError
from semcolor_jax.inference.branches import ColorChoice
from semcolor_jax.inference.colorize import Colorizer, top_scenes
from semcolor_jax.inference.strips import merge
from semcolor_jax.models import Predictions
from semcolor_jax.taxonomy.label_sets import PLACES365


@pytest.fixture
def colorizer():
    return Colorizer(Stripes(), side=16, choice=ColorChoice("reg"))


@pytest.mark.parametrize(("height", "width"), [(40, 60), (37, 23), (1, 1), (1, 50), (9, 400), (16, 16)])
def test_the_output_has_the_size_of_the_photo(colorizer, height, width):
    result = colorizer(photo_of(height, width))
    assert result.rgb.shape == (height, width, 3)
    assert result.rgb.dtype == np.uint8
    assert result.ab.dtype == np.float32
    assert result.segmentation.shape == result.ab.shape[:2]
    assert (result.segmentation == 7).all()


@pytest.mark.parametrize(
    ("photo", "network"),
    [
        ((40, 60), (16, 24)),
        ((60, 40), (24, 16)),
        ((8, 12), (8, 12)),
        ((20, 640), (2, 64)),
        ((10, 64), (10, 64)),
    ],
)
def test_the_network_sees_a_bounded_size_and_nothing_enlarged(photo, network):
    predictor = Stripes()
    Colorizer(predictor, side=16, choice=ColorChoice("reg"))(photo_of(*photo))
    assert predictor.shapes == [(1, *network, 1)]


def test_the_lightness_is_kept(colorizer):
    photo = photo_of(61, 83)
    change = np.abs(rgb2lab(colorizer(photo).rgb) - rgb2lab(photo))[..., 0]
    assert change.max() < 1
    assert np.median(change) < 0.2


def test_the_colour_is_the_networks(colorizer):
    result = colorizer(np.full((30, 60, 3), 128, np.uint8))
    lab = rgb2lab(result.rgb)
    np.testing.assert_allclose(lab[:, :25, 2], 25, atol=1)
    np.testing.assert_allclose(lab[:, 35:, 2], -25, atol=1)
    np.testing.assert_allclose(lab[..., 1], 0, atol=1)


def test_the_photos_own_colours_do_not_leak(colorizer):
    photo = photo_of(30, 40)
    grey = np.rint(photo @ [0.2126, 0.7152, 0.0722])[..., None].repeat(3, axis=-1).astype(np.uint8)
    np.testing.assert_array_equal(colorizer(photo).ab, colorizer(grey).ab)


@settings(max_examples=25, deadline=None)
@given(height=st.integers(1, 23), width=st.integers(1, 17), strip_pixels=st.integers(1, 400))
def test_strips_give_the_same_as_one_piece(height, width, strip_pixels):
    photo = photo_of(height, width)
    ab = np.random.default_rng(1).uniform(-40, 40, (max(1, height // 3), max(1, width // 2), 2)).astype(np.float32)
    whole = merge(photo, ab, strip_pixels=height * width)
    np.testing.assert_array_equal(merge(photo, ab, strip_pixels=strip_pixels), whole)


@pytest.mark.parametrize(
    ("small", "large"), [((4, 6), (17, 31)), ((5, 3), (5, 3)), ((1, 1), (6, 4)), ((7, 9), (14, 9))]
)
def test_ab_is_enlarged_bilinearly(small, large):
    # Compared after the way through uint8, at colours that a mid-grey of this lightness can take.
    ab = np.random.default_rng(2).uniform(-15, 15, (*small, 2)).astype(np.float32)
    photo = np.full((*large, 3), 128, np.uint8)
    expected = jax.image.resize(ab, (*large, 2), "bilinear")
    np.testing.assert_allclose(rgb2lab(merge(photo, ab))[..., 1:], expected, atol=0.8)


def test_top_scenes_by_hand():
    logits = np.full(365, -np.inf, np.float32)
    logits[[10, 20, 30, 40, 50]] = np.log([0.1, 0.4, 0.3, 0.05, 0.15])
    names, probabilities = zip(*top_scenes(logits), strict=True)
    assert names == tuple(PLACES365[i] for i in (20, 30, 50, 10, 40))
    np.testing.assert_allclose(probabilities, [0.4, 0.3, 0.15, 0.1, 0.05], rtol=1e-5)


def test_branches_that_are_off_give_none():
    def predict(lightness):
        return Predictions(ab=jnp.zeros((*lightness.shape[:3], 2)))

    result = Colorizer(predict, choice=ColorChoice("reg"))(photo_of(8, 8))
    assert result.scenes is None
    assert result.segmentation is None


def test_a_missing_branch_is_named():
    with pytest.raises(UserError, match=r"no branch 'soft'; it has: reg"):
        Colorizer(Stripes(), choice=ColorChoice("soft"))(photo_of(8, 8))


@pytest.mark.parametrize(
    ("setting", "word"),
    [
        ({"branch": "seg"}, "branch"),
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": 1e-38}, "temperature"),
        ({"share": 1.5}, "share"),
        ({"saturation": 0.0}, "saturation"),
    ],
)
def test_wrong_choices_are_refused(setting, word):
    with pytest.raises(UserError, match=word):
        ColorChoice(**setting)


def test_a_wrong_side_is_refused():
    with pytest.raises(UserError, match="side"):
        Colorizer(Stripes(), side=0)


def test_both_branches_are_mixed_and_saturated():
    colors = {"reg": np.full((2, 2), 10.0), "soft": np.full((2, 2), 50.0)}
    assert np.all(ColorChoice("both", share=0.25, saturation=1.5).apply(colors) == 30)
    assert np.all(ColorChoice("soft", saturation=0.5).apply(colors) == 25)
    with pytest.raises(UserError, match="no branch 'soft'"):
        Colorizer(Stripes(), choice=ColorChoice("both"))(photo_of(8, 8))
