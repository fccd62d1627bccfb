from typing import Any

import numpy as np
import pytest
from skimage.color import lab2rgb, rgb2lab

from semcolor_jax.color import AB_BINS, rgb_to_lab
from semcolor_jax.evaluation import drawing, inspection
from semcolor_jax.metrics.similarity import psnr
from semcolor_jax.taxonomy.label_sets import coco_stuff_palette


def _batch(samples):
    keys = ("image", "labels", "scene_index", "scene_prob")
    return {key: np.stack([getattr(sample, key) for sample in samples]) for key in keys}


def _grid(samples, *, seen=None):
    batch = _batch(samples)
    seen = rgb_to_lab(batch["image"], xp=np)[..., :1] if seen is None else seen
    return inspection.inspection_grid(batch, seen, names=[sample.name for sample in samples], sigma=5.0)


def _column(grid, number, *, width=160):
    left = drawing.MARGIN + number * (width + drawing.GAP)
    return grid[:, left : left + width]


def _find(grid, image):
    """Returns the top-left corners at which the grid holds exactly this image."""
    height, width = image.shape[:2]
    starts = np.argwhere((grid[: 1 - height or None, : 1 - width or None] == image[0, 0]).all(axis=-1))
    return [(y, x) for y, x in starts if np.array_equal(grid[y : y + height, x : x + width], image)]


def _slow_mean_of_soft_code(ab, sigma):
    """All 313 distances of each pixel."""
    result = np.zeros_like(ab)
    for place in np.ndindex(ab.shape[:2]):
        squared = np.sum((AB_BINS.astype(float) - ab[place]) ** 2, axis=-1)
        nearest = np.argsort(squared)[:5]
        weights = np.exp(-squared[nearest] / (2 * sigma**2))
        result[place] = weights @ AB_BINS[nearest] / weights.sum()
    return result


def test_the_photo_column_holds_the_batch_exactly(make_sample):
    samples = [make_sample(seed=seed, height=170, width=170) for seed in range(2)]
    grid = _grid(samples)
    (first,), (second,) = (_find(grid, sample.image) for sample in samples)
    assert first[1] == second[1] == drawing.MARGIN
    assert second[0] > first[0] + 170


def test_small_photos_are_magnified(make_sample):
    sample = make_sample(height=40, width=50)
    assert len(_find(_grid([sample]), sample.image.repeat(3, axis=0).repeat(3, axis=1))) == 1


def test_the_lightness_that_the_network_sees_is_beside_the_photo(make_sample):
    sample = make_sample(height=160, width=160)
    seen = np.full((1, 160, 160, 1), 50, np.float32)
    seen[0, :80] = 20
    grid = _grid([sample], seen=seen)
    ((top, _),) = _find(grid, sample.image)
    drawn = _column(grid, 1)[top : top + 160]
    expected = 255 * lab2rgb(np.concatenate([seen[0], np.zeros((160, 160, 2))], axis=-1))
    np.testing.assert_allclose(drawn, expected, atol=1)


def test_labels_lie_where_the_batch_has_them(make_sample):
    labels = np.full((160, 160), 255, np.uint8)
    labels[20:70, 90:150] = 9
    sample = make_sample(height=160, width=160, labels=labels)
    grid = _grid([sample])
    ((top, _),) = _find(grid, sample.image)
    drawn = _column(grid, 2)[top : top + 160].astype(int)
    grey = drawn.max(axis=-1) - drawn.min(axis=-1) <= 1
    np.testing.assert_array_equal(grey, labels == 255)
    chip = (_column(grid, 2)[top + 160 :] == coco_stuff_palette()[9]).all(axis=-1)
    assert chip.sum() >= 60


def test_the_decoded_soft_code_is_the_mean_of_five_bins_and_looks_like_the_photo(make_sample):
    sample = make_sample(height=160, width=160)
    lab = rgb2lab(sample.image)
    patch = lab[:12, :12, 1:]
    decoded = inspection.mean_of_soft_code(patch.astype(np.float32), sigma=5.0)
    np.testing.assert_allclose(decoded, _slow_mean_of_soft_code(patch, 5.0), atol=2e-3)
    grid = _grid([sample])
    ((top, _),) = _find(grid, sample.image)
    drawn = _column(grid, 3)[top : top + 160]
    expected = 255 * lab2rgb(np.concatenate([lab[:12, :12, :1], _slow_mean_of_soft_code(patch, 5.0)], axis=-1))
    np.testing.assert_allclose(drawn[:12, :12], expected, atol=1)
    assert psnr(sample.image[None], drawn[None]).pooled[0] > 45


def test_scenes_are_named_with_their_probabilities(make_sample, monkeypatch):
    rows: list[Any] = []

    def draw(captions, cells):
        rows.extend(cells)
        return np.zeros((1, 1, 3), np.uint8)

    monkeypatch.setattr(inspection, "draw_rows", draw)
    labelled, unlabelled = make_sample(scene=203), make_sample(seed=1)
    _grid([labelled, unlabelled])
    names = [name for name, _ in rows[0]["scenes"].predicted]
    assert names == ["lagoon", "kitchen"]  # ids 204 and 203
    np.testing.assert_allclose([p for _, p in rows[0]["scenes"].predicted], [0.3, 0.7], rtol=1e-6)
    assert rows[1]["scenes"] == drawing.EmptyCell("no scene")
    assert rows[1]["labels"] == drawing.EmptyCell("no labels")


@pytest.mark.parametrize("side", [1, 159, 161, 400])
def test_any_size_can_be_drawn(make_sample, side):
    assert _grid([make_sample(height=side, width=side)]).dtype == np.uint8
