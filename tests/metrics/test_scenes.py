import numpy as np
import pytest

from semcolor_jax.metrics import scenes
from semcolor_jax.metrics.scenes import SceneResult


def test_true_scene_is_the_most_probable_one():
    index = np.array([43, 42, 7, 0, 1], np.int32)
    assert scenes.true_scene(index, np.array([0.3, 0.6, 0.1, 0, 0], np.float32)) == 42
    assert scenes.true_scene(index, np.zeros(5, np.float32)) is None


def test_rank_by_hand():
    logits = np.array([0.1, 3.0, -1.0, 2.0], np.float32)
    assert [scenes.rank_of(truth, logits) for truth in range(4)] == [2, 0, 3, 1]


def test_ties_and_nan_win_nothing():
    assert scenes.rank_of(0, np.zeros(365, np.float32)) == 364
    assert scenes.rank_of(0, np.full(365, np.nan, np.float32)) == 364


def test_scores_by_hand():
    pairs = [(7, 0), (7, 4), (7, 5), (1, 0), (2, 90), (3, 2), (4, 1), (5, 9), (6, 8), (6, 3)]
    scores = scenes.score([SceneResult(truth=t, rank=r) for t, r in pairs], unlabelled=2)
    assert scores.top1 == pytest.approx(2 / 10)
    assert scores.top5 == pytest.approx(6 / 10)
    assert scores.majority_top1 == pytest.approx(3 / 10)  # category 7
    assert scores.majority_top5 == pytest.approx((3 + 2 + 1 + 1 + 1) / 10)
    assert (scores.images, scores.unlabelled) == (10, 2)


def test_no_label_no_score():
    with pytest.raises(ValueError, match="no labelled image"):
        scenes.score([], unlabelled=3)
