from typing import Any

import numpy as np
import pytest
import scipy.linalg

from semcolor_jax.metrics.fid import RunningStatistics, decode_features, encode_features, frechet_distance


def features(seed, *, count=300, width=20):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, width)) @ rng.normal(size=(width, width)) + 100 + rng.normal(size=width)


def collected(x, *, block=37):
    statistics = RunningStatistics()
    for start in range(0, len(x), block):
        statistics.add(x[start : start + block])
    return statistics.result()


def test_statistics_equal_numpy():
    x = features(0, count=1000)
    result = collected(x)
    np.testing.assert_allclose(result.mean, x.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(result.covariance, np.cov(x, rowvar=False), rtol=1e-9, atol=1e-9)
    assert result.photos == 1000


@pytest.mark.parametrize(("count", "width"), [(300, 20), (2000, 64)])
def test_distance_equals_scipys_matrix_root(count, width):
    one, other = (collected(features(seed, count=count, width=width)) for seed in (1, 2))
    root: Any = scipy.linalg.sqrtm(one.covariance @ other.covariance)
    expected = np.sum((one.mean - other.mean) ** 2) + np.trace(one.covariance + other.covariance - 2 * root.real)
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-9)


def test_distance_by_hand():
    # Independent features: sum of (mean difference)^2 + (deviation difference)^2 = 9 + (2 - 5)^2 + (1 - 4)^2.
    def gaussian(mean, deviations):
        points = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]]) * deviations * np.sqrt(3 / 4)
        return collected(points + mean)

    assert frechet_distance(gaussian([0, 0], [2, 1]), gaussian([3, 0], [5, 4])) == pytest.approx(27)


def test_equal_sets_and_fewer_photos_than_features():
    x = features(3, count=10, width=40)
    assert frechet_distance(collected(x), collected(x)) == pytest.approx(0, abs=1e-6)
    moved = frechet_distance(collected(x), collected(x + 2))
    assert moved == pytest.approx(4 * 40, rel=1e-6)


def test_one_photo_has_no_covariance():
    with pytest.raises(ValueError, match="two photos"):
        collected(features(0, count=1))


def test_features_survive_as_text():
    x = np.random.default_rng(0).normal(size=2048).astype(np.float32)
    np.testing.assert_array_equal(decode_features(encode_features(x)), x)
