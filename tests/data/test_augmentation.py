import jax
import jax.numpy as jnp
import numpy as np
import pytest

from semcolor_jax.config import default
from semcolor_jax.data import augment as tf_augment
from semcolor_jax.data.augmentation import (
    Crop,
    Draws,
    Options,
    add_border,
    augment,
    draw,
    pack,
    place_keys,
    tone,
    warp,
)
from semcolor_jax.data.cpu_tf import tf

NOTHING = Draws(geometry=jnp.full(7, 0.5), tone=jnp.full(2, 0.5))


def _photo(height, width, seed=0):
    """A smooth photo, and labels in patches."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width][..., None]
    waves = np.sin(rng.uniform(0, 0.4, 3) * x + rng.uniform(0, 0.4, 3) * y + rng.uniform(0, 6, 3))
    image = (127 + 120 * waves).astype(np.uint8)
    labels = np.kron(rng.integers(0, 183, (height // 5 + 1, width // 5 + 1)), np.ones((5, 5)))
    return image, labels[:height, :width].astype(np.uint8)


def test_photo_and_labels_are_the_four_bytes_of_a_number():
    rng = np.random.default_rng(0)
    image, labels = (rng.integers(0, 256, shape).astype(np.uint8) for shape in ((5, 7, 3), (5, 7)))
    pixels = pack(image, labels)
    assert pixels.dtype == np.uint32
    red, green, blue, label = (pixels // 256**byte % 256 for byte in range(4))
    np.testing.assert_array_equal(np.stack([red, green, blue], axis=-1), image)
    np.testing.assert_array_equal(label, labels)


def _lookup_in(pixels):
    return lambda row, column: pixels[row, column]


def _augment(image, labels, draws, **sizes_and_options):
    pixels = jnp.asarray(pack(image, labels))
    size = jnp.array(labels.shape)
    return jax.jit(lambda: augment(_lookup_in(pixels), size, draws, **sizes_and_options))()


def _tf_draws(seed):
    """The draws that the two ops of `training_ops` make of a seed, in their order."""
    geometry, tone = tf.unstack(tf.random.split(seed, 3))[:2]
    return Draws(
        geometry=jnp.asarray(tf.random.stateless_uniform([7], geometry)),
        tone=(jnp.asarray(tf.random.stateless_uniform([2], tone, minval=-1.0, maxval=1.0)) + 1) / 2,
    )


@pytest.mark.parametrize("shape", [(40, 40), (47, 61), (70, 42), (55, 52)])
def test_for_given_draws_it_is_the_augmentation_of_tf_data(shape):
    config = default()
    config.data.short_side, config.data.image_size = 40, 32
    image, labels = _photo(*shape)
    example = {"image": image, "labels": labels, "scene_index": np.zeros(5, np.int32), "scene_prob": np.zeros(5)}
    op = tf_augment.training_ops(config)
    for place in range(6):
        seed = tf.constant((3, place), tf.int64)
        expected = op({key: tf.constant(value) for key, value in example.items()}, seed)
        crop = _augment(image, labels, _tf_draws(seed), side=32, short_side=40, options=Options.of(config))
        levels = np.abs(np.asarray(crop.image, int) - np.asarray(expected["image"], int))
        assert levels.max() <= 1
        # A label may fall to the other side only where a place is halfway between two pixels.
        assert np.mean(np.asarray(crop.labels) != np.asarray(expected["labels"])) < 0.002


def test_a_photo_of_the_crops_size_without_augmentation_stays_as_it_is():
    image, labels = _photo(32, 32)
    crop = _augment(image, labels, NOTHING, side=32, short_side=32, options=Options())
    np.testing.assert_array_equal(crop.image, image)
    np.testing.assert_array_equal(crop.labels, labels)


def test_mirroring_mirrors_photo_and_labels():
    image, labels = _photo(32, 32)
    crop = _augment(image, labels, NOTHING, side=32, short_side=32, options=Options(flip=1.0))
    np.testing.assert_array_equal(crop.image, image[:, ::-1])
    np.testing.assert_array_equal(crop.labels, labels[:, ::-1])


def test_what_lies_outside_is_reflected():
    image, labels = _photo(8, 8)
    shift = jnp.array([[1.0, 0, -3], [0, 1, 0]])
    crop = warp(_lookup_in(jnp.asarray(pack(image, labels))), jnp.array([8, 8]), shift, side=8)
    np.testing.assert_array_equal(crop.image, np.pad(image, ((0, 0), (3, 0), (0, 0)), mode="symmetric")[:, :8])
    np.testing.assert_array_equal(crop.labels, np.pad(labels, ((0, 0), (3, 0)), mode="symmetric")[:, :8])


def test_contrast_then_brightness():
    image, _ = _photo(20, 30)
    mean = image.mean(axis=(0, 1))
    expected = np.clip((image - mean) * 1.3 + mean - 9, 0, 255)
    result = tone(jnp.asarray(image), factor=jnp.array(1.3), shift=jnp.array(-9.0))
    np.testing.assert_allclose(np.asarray(result, float), expected, atol=0.51)


def test_draws_are_a_function_of_seed_and_place():
    places = jnp.arange(6, dtype=jnp.uint32)
    draws = jax.vmap(draw)(place_keys(7, places))
    again = jax.vmap(draw)(place_keys(7, places[3:]))
    np.testing.assert_array_equal(draws.geometry[3:], again.geometry)
    numbers = np.concatenate([draws.geometry.ravel(), draws.tone.ravel(), draw(place_keys(8, places)[0]).geometry])
    assert len(np.unique(numbers)) == len(numbers)
    assert numbers.min() >= 0
    assert numbers.max() < 1


def test_a_border_is_one_grey_and_ignored_and_leaves_the_rest():
    image, labels = _photo(40, 40)
    bordered = 0
    for key in place_keys(0, jnp.arange(20, dtype=jnp.uint32)):
        crop = add_border(Crop(jnp.asarray(image), jnp.asarray(labels)), key, chance=1.0)
        outside = np.asarray(crop.labels) == 255
        assert len(np.unique(np.asarray(crop.image)[outside])) <= 1
        np.testing.assert_array_equal(np.asarray(crop.image)[~outside], image[~outside])
        assert not outside[8:32, 8:32].any()
        bordered += outside.any()
    assert bordered >= 15
    crop = add_border(Crop(jnp.asarray(image), jnp.asarray(labels)), jax.random.key(0), chance=0.0)
    np.testing.assert_array_equal(crop.image, image)
    np.testing.assert_array_equal(crop.labels, labels)
