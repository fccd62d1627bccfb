import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from stub_network import Stripes, photo_of

from semcolor_jax.color.bins import AB_BINS
from semcolor_jax.errors import UserError
from semcolor_jax.inference.branches import ColorChoice
from semcolor_jax.inference.colorize import Colorizer
from semcolor_jax.models import Predictions
from semcolor_jax.photos.sources import photo_of as any_photo


class Certain(Stripes):
    """As `Stripes`, and certain of bin 5 in the left half and of bin 300 in the right."""

    def __call__(self, lightness):
        predictions = super().__call__(lightness)
        logits = np.zeros((*lightness.shape[:3], 313), np.float32)
        middle = lightness.shape[2] // 2
        logits[:, :, :middle, 5] = logits[:, :, middle:, 300] = 50
        return dataclasses.replace(predictions, color_logits=jnp.asarray(logits))


@pytest.fixture
def colorizer():
    return Colorizer(Certain(), side=16, choice=ColorChoice("reg"))


def test_paths_images_and_arrays_give_the_same(colorizer, tmp_path):
    array = photo_of(30, 40)
    Image.fromarray(array).save(tmp_path / "a.png")
    results = [colorizer.colorize(source) for source in (array, Image.fromarray(array), tmp_path / "a.png")]
    for result in results[1:]:
        np.testing.assert_array_equal(np.asarray(result.image), np.asarray(results[0].image))
    assert results[0].image.size == (40, 30)
    np.testing.assert_array_equal(array, photo_of(30, 40))  # not coloured in place


def test_what_the_network_saw(colorizer):
    result = colorizer.colorize(photo_of(30, 40))
    assert result.ab.shape == (16, 21, 2)
    assert result.segmentation.classes.shape == (16, 21)
    ((name, share),) = result.segmentation.names.items()
    assert isinstance(name, str)
    assert share == 1
    assert len(result.scenes) == 5


@pytest.mark.parametrize(("x", "bin"), [(0, 5), (19, 5), (20, 300), (39, 300)])
def test_the_distribution_at_a_pixel(colorizer, x, bin):
    distribution = colorizer.colorize(photo_of(30, 40)).distribution(x, 29)
    assert np.argmax(distribution.probabilities) == bin
    np.testing.assert_allclose(distribution.probabilities.sum(), 1, rtol=1e-6)
    np.testing.assert_array_equal(distribution.ab, AB_BINS)


def test_a_pixel_outside_is_refused(colorizer):
    with pytest.raises(UserError, match="outside the photo, which is 40 x 30"):
        colorizer.colorize(photo_of(30, 40)).distribution(40, 0)


def test_a_network_without_distributions_says_so():
    with pytest.raises(UserError, match="no distribution"):
        Colorizer(Stripes(), side=16, choice=ColorChoice("reg")).colorize(photo_of(30, 40)).distribution(0, 0)


def test_settings_of_one_call(colorizer):
    plain, vivid = (colorizer.colorize(photo_of(30, 40), saturation=s).ab for s in (1.0, 2.0))
    np.testing.assert_allclose(vivid, 2 * plain)
    with pytest.raises(UserError, match="saturation"):
        colorizer.colorize(photo_of(30, 40), saturation=-1)


def test_saving_keeps_metadata_and_sixteen_bits(colorizer, tmp_path):
    exif = Image.Exif()
    exif[315] = "Grandfather"
    Image.fromarray(photo_of(30, 40)).save(tmp_path / "a.jpg", exif=exif.tobytes())
    colorizer.colorize(tmp_path / "a.jpg").save(tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as image:
        assert image.getexif()[315] == "Grandfather"
    result = colorizer.colorize(photo_of(30, 40).astype(np.float32) / 255)
    assert result.photo.pixels.dtype == np.uint16
    assert result.image.mode == "RGB"
    with pytest.raises(UserError, match="suffix"):
        result.save(tmp_path / "b.xyz")


def test_mirroring_averages_with_the_mirrored_photo():
    class Left:
        def __call__(self, lightness):
            ab = np.zeros((*lightness.shape[:3], 2), np.float32)
            ab[:, :, : lightness.shape[2] // 2] = 20
            return Predictions(ab=jnp.asarray(ab))

    colorizer = Colorizer(Left(), side=16, choice=ColorChoice("reg"), mirror=True)
    np.testing.assert_allclose(colorizer.colors([photo_of(16, 64)]), 10)


@pytest.mark.parametrize(
    "array",
    [np.zeros((4, 4, 2), np.uint8), np.zeros((4, 4), np.int64), np.full((4, 4), 2.0), np.zeros((0, 4), np.uint8)],
)
def test_arrays_that_are_no_photos_are_refused(array):
    with pytest.raises(UserError, match="A photo's array"):
        any_photo(array)
