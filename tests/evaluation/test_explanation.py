import numpy as np
import pytest

from semcolor_jax.color.bins import AB_BINS
from semcolor_jax.evaluation.explanation import _draw_plane, contact_sheet, explain, find_places
from semcolor_jax.inference.result import Result, Segmentation
from semcolor_jax.photos.sources import photo_of
from semcolor_jax.taxonomy.label_sets import COCO_STUFF

SKY, GRASS = COCO_STUFF.index("sky-other"), COCO_STUFF.index("grass")


def result_of(*, segmentation=True, soft=True):
    """A photo of 60 x 40 pixels, sky above grass; the network is certain of bin 5 in the upper half."""
    classes = np.full((20, 30), GRASS, np.uint8)
    classes[:12] = SKY
    logits = np.zeros((20, 30, 313), np.float32)
    logits[:10, :, 5] = 50
    return Result(
        photo=photo_of(np.full((40, 60, 3), 128, np.uint8)),
        ab=np.broadcast_to(AB_BINS[5], (20, 30, 2)),
        scenes=[(f"scene_{i}", 0.2) for i in range(5)],
        segmentation=Segmentation(classes) if segmentation else None,
        predict_logits=lambda: logits if soft else None,
    )


def test_places_are_the_innermost_of_the_largest_classes():
    sky, grass = find_places(result_of())
    assert (sky.name, grass.name) == ("sky-other", "grass")
    assert sky.y // 2 in (5, 6)
    assert grass.y // 2 in (15, 16)
    assert 10 < sky.x < 50


def test_places_without_classes_are_spread():
    assert [place[:2] for place in find_places(result_of(segmentation=False))] == [
        (15, 10),
        (45, 10),
        (15, 30),
        (45, 30),
    ]


def test_the_picture_grows_by_what_the_network_has():
    whole, no_classes, no_colors = (
        explain(result_of(**setting)) for setting in ({}, {"segmentation": False}, {"soft": False})
    )
    assert whole.dtype == np.uint8
    assert whole.shape[0] > no_colors.shape[0] + 22 * 13  # the planes, 22 bins high
    assert whole.shape[1] > no_colors.shape[1]
    assert no_classes.shape[1] >= no_colors.shape[1]
    assert (whole < 100).all(axis=-1).sum() > 500  # text


def test_a_large_photo_is_shrunk_to_the_side():
    result = result_of()
    large = Result(
        photo=photo_of(np.full((400, 600, 3), 128, np.uint8)),
        ab=result.ab,
        scenes=None,
        segmentation=None,
        predict_logits=lambda: None,
    )
    narrow, wide = explain(large, side=200), explain(large, side=300)
    assert wide.shape[1] - narrow.shape[1] == 100
    assert wide.shape[0] - narrow.shape[0] == 200 - 133


@pytest.mark.parametrize("bin", [0, 100, 312])
def test_the_plane_has_the_likeliest_disc_where_its_bin_lies(bin):
    probabilities = np.full(313, 1e-6)
    probabilities[bin] = 1
    shown = np.array([0.0, 0.0]) if bin != 100 else np.array([60.0, 60.0])
    picture = _draw_plane(probabilities, shown)
    a, b = AB_BINS[bin]
    x, y = int((a + 90) / 10 * 13 + 6.5), int((100 - b) / 10 * 13 + 6.5)
    assert picture.shape == (22 * 13, 20 * 13, 3)
    around = picture[max(0, y - 3) : y + 4, max(0, x - 3) : x + 4]
    assert np.all(around == around[0, 0])
    assert np.any(around[0, 0] != 255)


def test_confidence_is_the_probability_near_the_colour_shown():
    confidence = result_of().confidence()
    assert confidence is not None
    near = np.hypot(*(AB_BINS - AB_BINS[5]).T) <= 20
    np.testing.assert_allclose(confidence[:10], 1, rtol=1e-6)
    np.testing.assert_allclose(confidence[10:], near.sum() / 313, rtol=1e-5)
    assert result_of(soft=False).confidence() is None


def test_the_contact_sheet_has_rows_of_three():
    one, three, four = (contact_sheet([result_of()] * count) for count in (1, 3, 4))
    assert one.shape[0] == three.shape[0] == four.shape[0] / 2
    assert one.shape[1] < three.shape[1] == four.shape[1]
