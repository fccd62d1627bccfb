import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest

from semcolor_jax.data import embedded
from semcolor_jax.data.cpu_tf import tf
from semcolor_jax.data.embedded import Box, EmbeddedSource
from semcolor_jax.errors import UserError
from semcolor_jax.taxonomy.label_sets import COCO_STUFF, PLACES365, coco_stuff_id

PHOTOS = {photo.name: photo for photo in embedded.descriptions()}
IGNORED = "ignored"
KNOWN_POINTS = {  # photo, x, y, what is there
    "astronaut": [(225, 110, "person"), (180, 300, "person"), (20, 60, "banner"), (330, 60, "wall-other")],
    "chelsea": [(262, 240, "cat"), (172, 112, "cat"), (430, 30, IGNORED)],
    "china": [
        (5, 5, "sky-other"),
        (600, 60, "sky-other"),
        (220, 85, "roof"),
        (230, 200, "building-other"),
        (450, 270, "water-other"),
        (100, 390, "tree"),
        (520, 370, "tree"),
    ],
    "coffee": [
        (290, 150, "cup"),
        (120, 200, "plate"),
        (365, 290, "spoon"),
        (550, 150, "dining table"),
        (20, 20, IGNORED),
    ],
    "flower": [(310, 215, "flower"), (360, 410, "flower"), (60, 150, "leaves")],
    "motorcycle": [
        (430, 210, "motorcycle"),
        (200, 300, "motorcycle"),
        (640, 350, "motorcycle"),
        (100, 450, "floor-other"),
        (230, 50, "door-stuff"),
        (560, 60, "cardboard"),
        (650, 240, "cardboard"),
        (400, 100, "shelf"),
        (70, 200, "bench"),
    ],
    "rocket": [(250, 100, "sky-other"), (322, 260, "solid-other"), (60, 100, "structural-other")],
}


@pytest.fixture(scope="module")
def train() -> EmbeddedSource:
    return EmbeddedSource("train")


@pytest.fixture(scope="module")
def val() -> EmbeddedSource:
    return EmbeddedSource("val")


def overlap(a: Box, b: Box) -> bool:
    return max(a.left, b.left) < min(a.right, b.right) and max(a.top, b.top) < min(a.bottom, b.bottom)


@pytest.mark.parametrize("photo", PHOTOS.values(), ids=PHOTOS)
def test_polygons_lie_inside_the_photo_and_name_classes(photo):
    width, height = photo.size
    for polygon in photo.polygons:
        assert polygon.name in COCO_STUFF or polygon.name == "ignore"
        assert len(polygon.points) >= 3
        xs, ys = zip(*polygon.points, strict=True)
        assert min(xs) >= 0
        assert max(xs) <= width
        assert min(ys) >= 0
        assert max(ys) <= height


@pytest.mark.parametrize("photo", PHOTOS.values(), ids=PHOTOS)
def test_photos_credit_their_makers(photo):
    assert photo.credit
    assert photo.licence


@pytest.mark.parametrize("photo", PHOTOS.values(), ids=PHOTOS)
def test_no_training_window_touches_a_validation_window(photo):
    train = embedded.windows(photo, split="train")
    val = embedded.windows(photo, split="val")
    assert not any(overlap(a, b) for a, b in itertools.product(train, val))
    width, height = photo.size
    for box in train + val:
        assert box.right - box.left == box.bottom - box.top
        assert box.left >= 0
        assert box.top >= 0
        assert box.right <= width
        assert box.bottom <= height
    assert len(set(train)) == len(train)
    assert len(set(val)) == len(val)


@pytest.mark.parametrize("photo", PHOTOS.values(), ids=PHOTOS)
def test_validation_is_about_a_fifth_of_the_photo(photo):
    box = photo.validation
    share = (box.right - box.left) * (box.bottom - box.top) / (photo.size[0] * photo.size[1])
    assert 0.15 <= share <= 0.25


def test_an_unknown_split_is_refused():
    with pytest.raises(UserError, match="'test'"):
        embedded.windows(PHOTOS["china"], split="test")  # pyright: ignore[reportArgumentType]  (the test)


def test_borders_are_ignored_and_later_polygons_cover_earlier_ones():
    photo = dataclasses.replace(
        PHOTOS["china"],
        size=(40, 20),
        polygons=(
            embedded.Polygon("tree", ((0, 0), (40, 0), (40, 20), (0, 20))),
            embedded.Polygon("sky-other", ((20, 0), (40, 0), (40, 20), (20, 20))),
        ),
    )
    tree, sky = 169, 157
    expected = np.repeat(np.array([[tree] * 18 + [255] * 4 + [sky] * 18], np.uint8), 20, axis=0)
    np.testing.assert_array_equal(embedded.draw_labels(photo), expected)


def test_whole_photos_are_the_packages_own():
    from skimage import data
    from sklearn.datasets import load_sample_image

    samples = {sample.name: sample for sample in embedded.photos()}
    assert len(samples) == 7
    np.testing.assert_array_equal(samples["chelsea"].image, data.chelsea())
    np.testing.assert_array_equal(samples["coffee"].image, data.coffee())
    # scikit-learn's reader decodes JPEG by the same library
    np.testing.assert_array_equal(samples["china"].image, load_sample_image("china.jpg"))


@pytest.mark.parametrize("sample", embedded.photos(), ids=PHOTOS)
def test_known_points_lie_on_known_classes(sample):
    assert sample.image.shape == (*sample.labels.shape, 3)
    for x, y, name in KNOWN_POINTS[sample.name]:
        expected = 255 if name == IGNORED else coco_stuff_id(name)
        assert sample.labels[y, x] == expected, f"({x}, {y}) is not {name}"


@pytest.mark.parametrize("sample", embedded.photos(), ids=PHOTOS)
def test_labels_agree_with_the_colours_of_the_photo(sample):
    """Sky and water are bluer than red, flowers, cups and roofs redder than blue."""
    signs = {"sky-other": -1, "water-other": -1, "flower": 1, "cup": 1, "roof": 1, "cat": 1}
    for name, red_minus_blue in signs.items():
        pixels = sample.image[sample.labels == coco_stuff_id(name)].astype(int)
        if len(pixels):
            assert red_minus_blue * (pixels[:, 0].mean() - pixels[:, 2].mean()) > 0, name


def test_most_pixels_are_labelled():
    for sample in embedded.photos():
        assert (sample.labels != 255).mean() > 0.7


def test_scenes_are_distributions_over_five_categories():
    for sample in embedded.photos():
        assert sample.scene_index.shape == sample.scene_prob.shape == (5,)
        assert sample.scene_index.dtype == np.int32
        assert sample.scene_prob.dtype == np.float32
        assert len(set(sample.scene_index.tolist())) == 5
        np.testing.assert_allclose(sample.scene_prob.sum(), 1.0, atol=1e-6)
        assert (np.diff(sample.scene_prob) <= 0).all()
    likeliest = {sample.name: PLACES365[sample.scene_index[0]] for sample in embedded.photos()}
    assert likeliest["china"] == "pagoda"
    assert likeliest["motorcycle"] == "garage/indoor"


def test_sizes_of_the_splits(train, val):
    assert 300 <= len(train) <= 900
    assert 16 <= len(val) <= 32
    for source in (train, val):
        assert len(source.names) == len(set(source.names)) == len(source)
        assert {name.split("/")[0] for name in source.names} == set(PHOTOS)


def test_crops_are_cut_from_photo_and_labels_alike(train, val):
    samples = {sample.name: sample for sample in embedded.photos()}
    for source in (train, val):
        for i in range(0, len(source), 7):
            crop = source.read(i)
            photo_name, window = crop.name.split("/")
            left, top, side = map(int, window.split("_"))
            photo = samples[photo_name]
            centre = (np.arange(160) + 0.5) * side / 160
            at = np.flatnonzero(np.abs(centre - centre.round()) > 1e-6)  # not halfway between two pixels
            nearest = centre[at].astype(int)
            expected = photo.labels[np.ix_(top + nearest, left + nearest)]
            np.testing.assert_array_equal(crop.labels[np.ix_(at, at)], expected)
            assert crop.image.shape == (160, 160, 3)
            assert crop.image.dtype == crop.labels.dtype == np.uint8
            cut = photo.image[top : top + side, left : left + side]
            np.testing.assert_allclose(crop.image.mean((0, 1)), cut.mean((0, 1)), atol=1.0)
            np.testing.assert_array_equal(crop.scene_index, photo.scene_index)
            np.testing.assert_array_equal(crop.scene_prob, photo.scene_prob)


def test_load_in_two_graphs_gives_what_read_gives(val):
    order = [3, 0, len(val) - 1]
    for _ in range(2):
        dataset = tf.data.Dataset.from_tensor_slices(np.array(order, np.int64)).map(val.load)
        examples: Any = dataset.as_numpy_iterator()
        for index, example in zip(order, examples, strict=True):
            sample = val.read(index)
            assert set(example) == {"image", "labels", "scene_index", "scene_prob"}
            for key, array in example.items():
                assert array.dtype == getattr(sample, key).dtype
                np.testing.assert_array_equal(array, getattr(sample, key))


def test_a_missing_photo_is_named(monkeypatch):
    lost = dataclasses.replace(PHOTOS["china"], file="datasets/images/lost.jpg")
    monkeypatch.setattr(embedded, "descriptions", lambda: (lost,))
    with pytest.raises(UserError, match=r"lost\.jpg cannot be read; reinstall sklearn"):
        embedded.photos.__wrapped__()


def test_a_missing_package_is_named(monkeypatch):
    lost = dataclasses.replace(PHOTOS["china"], package="no_such_package")
    monkeypatch.setattr(embedded, "descriptions", lambda: (lost,))
    with pytest.raises(UserError, match="need no_such_package"):
        embedded.photos.__wrapped__()


def test_another_photo_than_the_labelled_one_is_refused(monkeypatch):
    other = dataclasses.replace(PHOTOS["china"], size=(10, 10))
    monkeypatch.setattr(embedded, "descriptions", lambda: (other,))
    with pytest.raises(UserError, match="is not the labelled one"):
        embedded.photos.__wrapped__()
