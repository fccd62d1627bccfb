"""eccv16 and siggraph17 against the PyPI package rz-colorization: random weights, saved, read, converted."""

import importlib
import importlib.util
import sys
import types
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from semcolor_jax.baselines.methods.siggraph17 import Siggraph17
from semcolor_jax.checkpoints.published import convert
from semcolor_jax.color import AB_BINS
from semcolor_jax.inference.branches import branch_colors
from semcolor_jax.inference.restore import load_predictor

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.parity, pytest.mark.slow]

SIDES = (48, 64)


@pytest.fixture
def colorizers(monkeypatch):
    """Imports the two network modules of the package, and not the package: it wants IPython and matplotlib."""
    spec = importlib.util.find_spec("colorizers")
    if spec is None or spec.submodule_search_locations is None:
        pytest.skip("the package rz-colorization is not installed")
    package = types.ModuleType("colorizers")
    package.__path__ = list(spec.submodule_search_locations)
    monkeypatch.setitem(sys.modules, "colorizers", package)
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(embed=None))
    return types.SimpleNamespace(
        ECCVGenerator=importlib.import_module("colorizers.eccv16").ECCVGenerator,
        SIGGRAPHGenerator=importlib.import_module("colorizers.siggraph17").SIGGRAPHGenerator,
    )


def randomized(network):
    """Gives every weight a random value that keeps the signal's size, and every batch normalisation statistics."""
    torch.manual_seed(0)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.uniform_(-0.5, 0.5)
                module.running_var.uniform_(0.5, 1.5)
                module.weight.uniform_(0.5, 1.5)
                module.bias.uniform_(-0.5, 0.5)
            elif isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
                torch.nn.init.kaiming_normal_(module.weight)
                if module.bias is not None:
                    module.bias.uniform_(-0.1, 0.1)
    return network.eval()


def random_lightness():
    return np.random.default_rng(0).uniform(0, 100, (2, *SIDES, 1)).astype(np.float32)


def to_torch(x):
    return torch.from_numpy(np.moveaxis(x, -1, 1).copy())


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_eccv16(colorizers, tmp_path, zipped):
    network = randomized(colorizers.ECCVGenerator())
    order = np.random.default_rng(1).permutation(313)  # the converter finds the bins by their centres
    with torch.no_grad():
        network.model_out.weight[:] = torch.from_numpy(AB_BINS[order].T[:, :, None, None] / 110)
    assert sum(p.numel() for p in network.parameters()) == 32_236_011
    torch.save(network.state_dict(), tmp_path / "x.pth", _use_new_zipfile_serialization=zipped)
    convert("zhang2016", tmp_path / "x.pth", tmp_path / "work")

    lightness = random_lightness()
    with torch.no_grad():
        expected = np.moveaxis(network(to_torch(lightness)).numpy(), 1, -1)
    predictions = load_predictor(tmp_path / "work")(lightness)
    ab = branch_colors(predictions, temperature=1.0)["soft"]
    assert ab.shape == expected.shape == (2, *SIDES, 2)
    assert np.std(expected) > 1
    assert np.max(np.abs(ab - expected)) < 1e-4


def test_siggraph17_with_and_without_hints(colorizers, tmp_path):
    network = randomized(colorizers.SIGGRAPHGenerator())
    with torch.no_grad():
        network.model_out[0].weight *= 0.1  # keeps tanh off its flat ends
    torch.save(network.state_dict(), tmp_path / "x.pth")
    convert("siggraph17", tmp_path / "x.pth", tmp_path / "work")
    predictor = load_predictor(tmp_path / "work")

    rng, lightness = np.random.default_rng(2), random_lightness()
    mask = (rng.uniform(size=(2, *SIDES, 1)) < 0.1).astype(np.float32)
    ab_hint = (rng.uniform(-80, 80, (2, *SIDES, 2)) * mask).astype(np.float32)
    with torch.no_grad():
        alone = np.moveaxis(network(to_torch(lightness)).numpy(), 1, -1)
        hinted = np.moveaxis(network(to_torch(lightness), to_torch(ab_hint), to_torch(mask)).numpy(), 1, -1)
    assert np.std(alone) > 1
    assert np.max(np.abs(alone - hinted)) > 1
    assert np.max(np.abs(predictor(lightness).ab - alone)) < 1e-4
    hints = jnp.concatenate([ab_hint, mask], axis=-1)
    ours: Any = Siggraph17().apply(predictor.variables, jnp.asarray(lightness), train=False, hints=hints)
    assert np.max(np.abs(ours.ab - hinted)) < 1e-4


def test_siggraph17_has_as_many_parameters(colorizers):
    assert sum(p.numel() for p in colorizers.SIGGRAPHGenerator().parameters()) == 34_187_027
