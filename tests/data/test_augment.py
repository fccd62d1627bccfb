from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from semcolor_jax.config import default
from semcolor_jax.data import augment
from semcolor_jax.data.cpu_tf import tf
from semcolor_jax.data.warp import warp
from semcolor_jax.errors import UserError

SEED = (1, 2)


def _example(height=48, width=64):
    """A photo of four flat quarters whose red channel is 60 times the label; smooth in blue."""
    rows, columns = np.mgrid[:height, :width]
    labels = (2 * (rows >= height // 2) + (columns >= width // 2)).astype(np.uint8)
    image = np.stack([60 * labels, np.full_like(labels, 7), (columns * 255 // width).astype(np.uint8)], axis=-1)
    return {
        "image": tf.constant(image),
        "labels": tf.constant(labels),
        "scene_index": tf.range(5),
        "scene_prob": tf.fill([5], 0.2),
    }


def _run(op, example=None, seed=SEED):
    result = op(example or _example(), tf.constant(seed, tf.int64))
    return {key: np.asarray(value) for key, value in result.items()}


def _run_often(op, example, *, seed, times):
    """The samples that an op makes of the seeds (seed, 0), (seed, 1), ..., by one graph."""
    seeds = tf.data.Dataset.range(times).map(lambda i: tf.stack([tf.constant(seed, tf.int64), i]))
    return list(seeds.map(lambda pair: op(example, pair)).as_numpy_iterator())


def _far_from_borders(labels, distance):
    """Pixels around which all labels are known and equal; the crop may have cut off a border close by."""
    size = 2 * distance + 1
    low = ndimage.minimum_filter(labels, size, mode="constant", cval=0)
    high = ndimage.maximum_filter(labels, size, mode="constant", cval=255)
    return low == high


def _assert_labels_on_their_objects(result):
    inside = _far_from_borders(result["labels"], 2)
    assert inside.mean() > 0.4
    np.testing.assert_array_equal(result["image"][..., 0][inside], 60 * result["labels"][inside])


GEOMETRY = {
    "resize_down": augment.resize_short(20),
    "resize_up": augment.resize_short(100),
    "center_crop": augment.center_crop(24),
    "place": augment.random_geometry(24, short_side=48),
    "flip": augment.random_geometry(48, short_side=48, flip=1.0),
    "turn_scale_shift": augment.random_geometry(48, short_side=48, rotate=30, scale=0.3, translate=0.2),
    "shrink_then_warp": augment.random_geometry(30, short_side=31, rotate=20, scale=0.2, translate=0.1, flip=0.5),
    "enlarge": augment.random_geometry(64, short_side=80, rotate=20, scale=0.2, translate=0.1, flip=0.5),
}


@pytest.mark.parametrize("name", GEOMETRY)
def test_labels_stay_on_their_objects(name):
    for place in range(8):
        _assert_labels_on_their_objects(_run(GEOMETRY[name], seed=(3, place)))


@pytest.mark.parametrize("name", GEOMETRY)
def test_inside_tf_data_ops_do_what_they_do_eagerly(name):
    dataset = tf.data.Dataset.from_tensors(_example()).map(
        lambda example: GEOMETRY[name](example, tf.constant(SEED, tf.int64))
    )
    eager = _run(GEOMETRY[name])
    for inside in dataset.as_numpy_iterator():
        for key in eager:
            np.testing.assert_array_equal(inside[key], eager[key])


def test_the_scene_is_left_alone():
    result = _run(GEOMETRY["enlarge"])
    np.testing.assert_array_equal(result["scene_index"], range(5))
    np.testing.assert_array_equal(result["scene_prob"], np.full(5, 0.2, np.float32))


@settings(max_examples=20, deadline=None)
@given(height=st.integers(1, 90), width=st.integers(1, 90), side=st.integers(1, 60))
def test_resize_makes_the_short_side_what_is_asked_and_keeps_the_shape(height, width, side):
    result = _run(augment.resize_short(side), _example(height, width))
    assert min(result["labels"].shape) == side
    assert result["image"].shape == (*result["labels"].shape, 3)
    assert max(result["labels"].shape) == pytest.approx(side * max(height, width) / min(height, width), abs=0.5)


def test_resize_to_the_same_size_changes_nothing():
    result = _run(augment.resize_short(48))
    np.testing.assert_array_equal(result["image"], _example()["image"])
    np.testing.assert_array_equal(result["labels"], _example()["labels"])


@pytest.mark.parametrize("op", [augment.resize_short(16), augment.random_geometry(16, short_side=16)])
def test_shrinking_is_antialiased(op):
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 200
    example = {**_example(64, 64), "image": tf.constant(stripes)}
    inner = _run(op, example)["image"][:, 2:-2]
    np.testing.assert_allclose(inner, 100, atol=1)


def test_center_crop_takes_the_middle():
    result = _run(augment.center_crop(20))
    np.testing.assert_array_equal(result["image"], _example()["image"][14:34, 22:42])
    np.testing.assert_array_equal(result["labels"], _example()["labels"][14:34, 22:42])


def test_the_square_comes_from_every_place_equally_often():
    position = np.arange(16, dtype=np.uint8).reshape(4, 4)
    example = {
        "image": tf.constant(np.repeat(position[..., None], 3, axis=-1)),
        "labels": tf.constant(position),
    }
    op = augment.random_geometry(2, short_side=4)
    squares: Any = _run_often(op, example, seed=0, times=900)
    for square in squares[:20]:
        corner = square["labels"][0, 0]
        np.testing.assert_array_equal(square["labels"], corner + np.array([[0, 1], [4, 5]]))
        np.testing.assert_array_equal(square["image"][..., 1], square["labels"])
    counts = np.bincount([square["labels"][0, 0] for square in squares], minlength=16).reshape(4, 4)
    assert counts[3].sum() == counts[:, 3].sum() == 0
    # 900 draws of 9 places: 100 each, standard deviation 9.4.
    np.testing.assert_allclose(counts[:3, :3], 100, atol=40)


def test_flip_mirrors_with_its_probability():
    example = _example(48, 48)
    whole = {"short_side": 48, "size": 48}
    result = _run(augment.random_geometry(**whole, flip=1.0), example)
    np.testing.assert_array_equal(result["image"], np.asarray(example["image"])[:, ::-1])
    np.testing.assert_array_equal(result["labels"], np.asarray(example["labels"])[:, ::-1])
    flip = augment.random_geometry(**whole, flip=0.25)
    samples: Any = _run_often(flip, example, seed=5, times=400)
    flipped = [sample["labels"][0, 0] == 1 for sample in samples]
    assert np.mean(flipped) == pytest.approx(0.25, abs=0.09)  # four standard deviations


def test_geometry_of_nothing_changes_nothing():
    result = _run(augment.random_geometry(48, short_side=48), _example(48, 48))
    np.testing.assert_array_equal(result["image"], _example(48, 48)["image"])
    np.testing.assert_array_equal(result["labels"], _example(48, 48)["labels"])


@pytest.mark.parametrize("photo", [(21, 31), (31, 21), (33, 30), (43, 39)])
def test_resizing_in_the_warp_is_tensorflows_resizing(photo):
    """Below the limit from which photos are shrunk with antialiasing. No place is halfway between two pixels."""
    image = np.random.default_rng(1).integers(0, 256, (*photo, 3), np.uint8)
    labels = np.random.default_rng(2).integers(0, 183, photo, np.uint8)
    example = {**_example(), "image": tf.constant(image), "labels": tf.constant(labels)}
    result = _run(augment.random_geometry(30, short_side=30), example)
    size = np.round(np.array(photo) * 30 / min(photo)).astype(int)
    resized = tf.image.resize(image, size, method="bilinear", antialias=False).numpy()
    nearest = tf.image.resize(labels[..., None], size, method="nearest").numpy()[..., 0]
    places = [(y, x) for y in range(size[0] - 29) for x in range(size[1] - 29)]
    errors = [np.abs(resized[y : y + 30, x : x + 30] - result["image"]).max() for y, x in places]
    assert min(errors) <= 0.51
    y, x = places[int(np.argmin(errors))]
    np.testing.assert_array_equal(nearest[y : y + 30, x : x + 30], result["labels"])


def _slow_warp(image, labels, to_input, side):
    """Pixel by pixel in double precision."""
    height, width = labels.shape

    def reflect(index, length):
        index = index % (2 * length)
        return min(index, 2 * length - 1 - index)

    def pixel(y, x):
        return image[reflect(y, height), reflect(x, width)].astype(float)

    warped = np.zeros((side, side, 3)), np.zeros((side, side), np.uint8)
    for row, column in np.ndindex(side, side):
        x, y = to_input @ (column, row, 1)
        left, top = int(np.floor(x)), int(np.floor(y))
        upper = pixel(top, left) * (left + 1 - x) + pixel(top, left + 1) * (x - left)
        lower = pixel(top + 1, left) * (left + 1 - x) + pixel(top + 1, left + 1) * (x - left)
        warped[0][row, column] = upper * (top + 1 - y) + lower * (y - top)
        warped[1][row, column] = labels[reflect(round(y), height), reflect(round(x), width)]
    return warped


@pytest.mark.parametrize(
    "to_input",
    [
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]],
        [[-1.0, 0.0, 23.0], [0.0, 1.0, 4.0]],
        [[0.8123, 0.3371, -9.3019], [-0.3371, 0.8123, 5.7283]],
        [[1.4123, -2.2371, 30.1019], [2.2371, 1.4123, -50.4283]],  # reaches beyond the second reflection
    ],
    ids=["cut", "mirror", "turn", "far"],
)
def test_the_warp_is_a_slow_ones_with_the_same_matrix(to_input):
    rng = np.random.default_rng(0)
    image, labels = rng.integers(0, 256, (31, 44, 3), np.uint8), rng.integers(0, 183, (31, 44), np.uint8)
    result = warp(tf.constant(image), tf.constant(labels), to_input=tf.constant(to_input), side=24)
    slow_image, slow_labels = _slow_warp(image, labels, np.array(to_input), 24)
    np.testing.assert_allclose(result.image.numpy().astype(float), slow_image, atol=0.51)
    np.testing.assert_array_equal(result.labels, slow_labels)


@pytest.mark.parametrize("pixels", [65535, 65536, 65537, 131072])
def test_photos_at_the_limits_of_a_compilation_keep_every_pixel(pixels):
    image = np.random.default_rng(0).integers(0, 256, (1, pixels, 3), np.uint8)
    labels = image[..., 0]
    to_input = tf.constant([[1.0, 0.0, pixels - 8], [0.0, 1.0, 0.0]])
    result = warp(tf.constant(image), tf.constant(labels), to_input=to_input, side=8)
    np.testing.assert_array_equal(result.image, np.broadcast_to(image[:, -8:], (8, 8, 3)))
    np.testing.assert_array_equal(result.labels, np.broadcast_to(labels[:, -8:], (8, 8)))


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("shape", [(300, 411), (500, 256)])
def test_the_matrix_undoes_resize_turn_scale_shift_cut_and_mirror(shape, mirrored):
    angle, factor, shift, place = 0.3, 1.2, np.array([0.04, -0.1]), np.array([0.3, 0.8])
    matrix = augment._to_input(
        tf.constant(shape),
        short_side=256,
        size=224,
        angle=tf.constant(angle),
        factor=tf.constant(factor),
        shift=tf.constant(shift, tf.float32),
        place=tf.constant(place, tf.float32),
        mirrored=tf.constant(mirrored),
    )
    height, width = np.round(np.array(shape) * 256 / min(shape))

    def move(x, y):
        return np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])

    resize = move(-0.5, -0.5) @ np.diag([width / shape[1], height / shape[0], 1]) @ move(0.5, 0.5)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    turn = move((width - 1) / 2, (height - 1) / 2) @ turn @ np.diag([factor, factor, 1])
    turn = turn @ move(-(width - 1) / 2, -(height - 1) / 2)
    cut = move(-np.floor(place[1] * (width - 223)), -np.floor(place[0] * (height - 223)))
    mirror = move(223, 0) @ np.diag([-1, 1, 1]) if mirrored else np.eye(3)
    forward = mirror @ cut @ move(shift[1] * width, shift[0] * height) @ turn @ resize
    np.testing.assert_allclose(matrix, np.linalg.inv(forward)[:2], atol=1e-3)


def test_geometry_stays_inside_its_limits():
    """A point off the centre moves as far as rotation, scale and shift together allow, and no farther."""
    size, rotate, scale, translate = 81, 10.0, 0.1, 0.05
    labels = np.zeros((size, size), np.uint8)
    labels[18:23, 38:43] = 1  # centre (20, 40): 20 above the middle
    example = {"image": tf.zeros([size, size, 3], tf.uint8), "labels": tf.constant(labels)}
    op = augment.random_geometry(size, short_side=size, rotate=rotate, scale=scale, translate=translate)
    moved = np.array([ndimage.center_of_mass(_run(op, example, seed=(0, i))["labels"] == 1) for i in range(60)])
    up, right = 40 - moved[:, 0], moved[:, 1] - 40
    limit_right = 22 * np.sin(np.radians(rotate)) + translate * size + 1
    assert 4 < np.abs(right).max() <= limit_right
    assert 20 * 0.9 * np.cos(np.radians(rotate)) - translate * size - 1 <= up.min() < 19
    assert 21 < up.max() <= 20 * 1.1 + translate * size + 1


def _noise():
    return np.random.default_rng(4).integers(0, 256, (20, 30, 3), np.uint8)


def test_contrast_is_the_distance_from_the_mean_times_a_factor():
    example = {**_example(), "image": tf.constant(_noise())}
    factors = []
    for place in range(30):
        result = _run(augment.random_tone(contrast=0.4), example, seed=(0, place))["image"].astype(float)
        source = _noise().astype(float)
        mean = source.mean(axis=(0, 1))
        unclipped = (result > 0) & (result < 255)
        factor = np.sum(((result - mean) * (source - mean))[unclipped]) / np.sum(((source - mean) ** 2)[unclipped])
        np.testing.assert_allclose(result, np.clip((source - mean) * factor + mean, 0, 255), atol=0.6)
        factors.append(factor)
    assert 0.6 <= min(factors) < 0.75
    assert 1.25 < max(factors) <= 1.4


def test_brightness_is_one_number_added_everywhere():
    example = {**_example(), "image": tf.constant(_noise())}
    shifts = []
    for place in range(30):
        result = _run(augment.random_tone(brightness=0.2), example, seed=(0, place))["image"].astype(int)
        source = _noise().astype(int)
        shift = np.median(result - source)
        np.testing.assert_array_equal(result, np.clip(source + shift, 0, 255))
        shifts.append(shift)
    assert -51 <= min(shifts) < -35
    assert 35 < max(shifts) <= 51


def test_the_seed_decides():
    op = augment.training_ops(_small_config())
    first, again, other = (_run(op, seed=seed)["image"] for seed in ((1, 2), (1, 2), (1, 3)))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_each_op_of_a_chain_draws_for_itself():
    def record(drawn):
        def op(example, seed):
            drawn.append(tuple(seed.numpy()))
            return example

        return op

    drawn = []
    augment.chain(*[record(drawn)] * 4)({}, tf.constant(SEED, tf.int64))
    assert len(set(drawn)) == 4


def _small_config():
    config = default()
    config.data.short_side, config.data.image_size = 40, 32
    return config


@pytest.mark.parametrize("size", [(20, 31), (300, 200)])
def test_the_configs_ops_make_squares_of_any_photo(size):
    dataset = tf.data.Dataset.from_tensors(_example(*size)).map(
        lambda example: augment.training_ops(_small_config())(example, tf.constant(SEED, tf.int64))
    )
    spec: Any = dataset.element_spec
    assert spec["image"].shape == (32, 32, 3)
    assert spec["labels"].shape == (32, 32)
    (example,) = dataset.as_numpy_iterator()
    assert example["image"].dtype == example["labels"].dtype == np.uint8


@pytest.mark.parametrize(
    "op",
    [augment.random_tone(contrast=0.4), augment.random_tone(brightness=0.2), augment.training_ops(_small_config())],
    ids=["contrast", "brightness", "training"],
)
def test_colour_ops_and_the_whole_training_do_inside_tf_data_what_they_do_eagerly(op):
    places = tf.data.Dataset.range(4).map(lambda place: op(_example(), tf.stack([tf.constant(1, tf.int64), place])))
    for place, inside in enumerate(places.as_numpy_iterator()):
        eager = _run(op, seed=(1, place))
        for key in eager:
            np.testing.assert_array_equal(inside[key], eager[key])


def test_a_crop_larger_than_the_photo_is_refused():
    config = _small_config()
    config.data.image_size = 41
    with pytest.raises(UserError, match="image_size is 41"):
        augment.training_ops(config)
