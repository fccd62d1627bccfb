import jax.numpy as jnp
import numpy as np
import pytest

from semcolor_jax.errors import UserError
from semcolor_jax.evaluation import drawing, grids
from semcolor_jax.models import Predictions
from semcolor_jax.taxonomy.label_sets import coco_stuff_palette


def places(grid: np.ndarray, image: np.ndarray) -> list[tuple[int, int]]:
    """Returns every (top, left) at which the grid holds exactly this image."""
    height, width = image.shape[:2]
    room = grid[: grid.shape[0] - height + 1, : grid.shape[1] - width + 1]
    starts = np.argwhere((room == image[0, 0]).all(axis=-1))
    return [(int(y), int(x)) for y, x in starts if np.array_equal(grid[y : y + height, x : x + width], image)]


def all_branches(lightness: np.ndarray) -> Predictions:
    shape = lightness.shape[:3]
    seg = jnp.zeros((*shape, 183)).at[..., 5].set(1)
    return Predictions(
        ab=jnp.zeros((*shape, 2)),
        color_logits=jnp.zeros((*shape, 313)),
        seg_logits=seg,
        scene_logits=jnp.arange(365.0)[None] / 50,
    )


def only_regression(lightness: np.ndarray) -> Predictions:
    return Predictions(ab=jnp.full((*lightness.shape[:3], 2), 12.0))


def test_the_original_column_holds_the_input_exactly(make_sample):
    samples = [make_sample(seed=seed, height=40 + 9 * seed, width=50) for seed in range(3)]
    grid = grids.sample_grid(all_branches, samples, temperature=0.38)
    drawn = [sample.image.repeat(3, axis=0).repeat(3, axis=1) for sample in samples]  # 50 pixels in a column of 160
    found = [places(grid, image) for image in drawn]
    assert [len(positions) for positions in found] == [1, 1, 1]
    tops, lefts = zip(*(positions[0] for positions in found), strict=True)
    assert len(set(lefts)) == 1
    assert list(tops) == sorted(tops)


def test_dimensions_follow_the_columns(make_sample):
    samples = [make_sample(height=200, width=220)]
    column = 220 + drawing.GAP
    three = grids.sample_grid(only_regression, samples, temperature=0.38)
    assert three.dtype == np.uint8
    assert three.shape[1] == 2 * drawing.MARGIN + 3 * column - drawing.GAP
    six = grids.sample_grid(all_branches, samples, temperature=0.38)
    assert six.shape[1] == three.shape[1] + 2 * column + drawing.SCENE_COLUMN + drawing.GAP
    two_rows = grids.sample_grid(only_regression, 2 * samples, temperature=0.38)
    assert two_rows.shape[0] - three.shape[0] >= 200


def test_labels_add_a_column_of_the_true_classes(make_sample):
    labels = np.full((40, 50), 9, np.uint8)
    labels[:, :10] = 255
    without = grids.sample_grid(all_branches, [make_sample(height=40, width=50)], temperature=0.38)
    with_labels = grids.sample_grid(all_branches, [make_sample(height=40, width=50, labels=labels)], temperature=0.38)
    assert with_labels.shape[1] == without.shape[1] + drawing.MIN_COLUMN + drawing.GAP
    chip = (with_labels == coco_stuff_palette()[9]).all(axis=-1)
    assert chip.sum() >= 60  # the legend's square of the true class


def test_photos_larger_than_the_side_are_shrunk_before_the_network_sees_them(make_sample):
    seen = []

    def predict(lightness):
        seen.append(lightness.shape)
        return only_regression(lightness)

    grids.sample_grid(predict, [make_sample(height=90, width=60)], temperature=0.38, side=45)
    assert seen == [(1, 45, 30, 1)]


def test_no_samples_is_the_users_mistake():
    with pytest.raises(UserError, match="no samples"):
        grids.sample_grid(only_regression, [], temperature=0.38)
