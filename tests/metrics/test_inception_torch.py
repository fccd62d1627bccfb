"""The networks of pytorch-fid and torchvision with random weights, and torch's own resizing."""

import warnings

import jax.numpy as jnp
import numpy as np
import pytest

from semcolor_jax.errors import UserError
from semcolor_jax.formats.torch_vision import load_inception
from semcolor_jax.metrics.inception import InceptionFeatures, prepare, resize_bilinear

torch = pytest.importorskip("torch")
torchvision = pytest.importorskip("torchvision", exc_type=ImportError)
pytorch_fid = pytest.importorskip("pytorch_fid.inception", exc_type=ImportError)
pytestmark = pytest.mark.parity


def randomise(network):
    """Gives the batch normalisations statistics of their own."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            with torch.no_grad():
                module.running_mean.copy_(torch.randn(module.running_mean.shape, generator=generator) * 0.1)
                module.running_var.copy_(torch.rand(module.running_var.shape, generator=generator) + 0.5)
                module.weight.copy_(torch.rand(module.weight.shape, generator=generator) + 1)
                module.bias.copy_(torch.randn(module.bias.shape, generator=generator) * 0.1)
    return network.eval()


@pytest.fixture
def photos():
    return np.random.default_rng(0).integers(0, 256, (2, 256, 256, 3), np.uint8)


def compare(path, photos, expected, *, variant):
    sizes = np.full((len(photos), 2), 256)
    computed = InceptionFeatures(load_inception(path), variant=variant)(photos, sizes=sizes)
    assert computed.shape == (2, 2048)
    assert expected.std() > 0.01
    np.testing.assert_allclose(computed, expected, atol=1e-3)


@pytest.mark.slow
def test_the_tensorflow_network_equals_pytorch_fids(tmp_path, monkeypatch, photos):
    monkeypatch.setattr(pytorch_fid, "load_state_dict_from_url", lambda *_, **__: {})
    with warnings.catch_warnings(), monkeypatch.context() as patch:
        warnings.simplefilter("ignore")
        patch.setattr(torch.nn.Module, "load_state_dict", lambda *_, **__: None)  # there is nothing to load
        raw = pytorch_fid.fid_inception_v3()
    randomise(raw)
    torch.save(raw.state_dict(), tmp_path / "inception.pth")
    monkeypatch.setattr(pytorch_fid, "fid_inception_v3", lambda: raw)
    network = pytorch_fid.InceptionV3([3], resize_input=True, normalize_input=False).eval()
    with torch.no_grad():
        expected = network(torch.from_numpy(photos).permute(0, 3, 1, 2) / 128 - 1)[0][..., 0, 0].numpy()
    compare(tmp_path / "inception.pth", photos, expected, variant="tf")


@pytest.mark.slow
def test_torchvisions_network_with_its_input_rescale(tmp_path, photos):
    network = torchvision.models.inception_v3(weights=None, transform_input=True, init_weights=False)
    randomise(network)
    torch.save(network.state_dict(), tmp_path / "inception.pth")
    network.fc = torch.nn.Identity()
    x = torch.from_numpy(photos).permute(0, 3, 1, 2) / 127.5 - 1
    x = torch.nn.functional.interpolate(x, size=(299, 299), mode="bilinear", align_corners=False)
    with torch.no_grad():
        expected = network(x).numpy()
    compare(tmp_path / "inception.pth", photos, expected, variant="torchvision")


@pytest.mark.parametrize("size", [(256, 256), (70, 411), (299, 299), (1, 5)])
def test_resizing_equals_torchs(size):
    image = np.random.default_rng(1).integers(0, 256, (1, *size, 3)).astype(np.float32)
    padded = np.pad(image, ((0, 0), (0, 7), (0, 30), (0, 0)), constant_values=999)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(image).permute(0, 3, 1, 2), size=(299, 299), mode="bilinear", align_corners=False
    )
    computed = resize_bilinear(jnp.asarray(padded), jnp.array([size], jnp.int32), side=299)
    np.testing.assert_allclose(computed, expected.permute(0, 2, 3, 1), atol=2e-3)


def test_scales():
    grey = jnp.full((1, 299, 299, 3), 128, jnp.uint8)
    size = jnp.array([[299, 299]])
    np.testing.assert_allclose(prepare(grey, size, variant="tf"), np.zeros((1, 299, 299, 3)))
    value = 128 / 127.5 - 1
    expected = [value * deviation * 2 + mean * 2 - 1 for mean, deviation in ((0.485, 0.229), (0.456, 0.224))]
    np.testing.assert_allclose(prepare(grey, size, variant="torchvision")[0, 0, 0, :2], expected, atol=1e-6)


def test_another_network_is_refused(tmp_path):
    torch.save(torch.nn.Conv2d(3, 4, 3).state_dict(), tmp_path / "x.pth")
    with pytest.raises(UserError, match="0 convolutions"):
        load_inception(tmp_path / "x.pth")
