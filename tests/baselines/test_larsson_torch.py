"""Larsson's dense network in PyTorch, built as the authors' deploy prototxt is, against ours with the same weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_files import larsson_blobs, write_h5

from semcolor_jax.baselines.layers import grey_of
from semcolor_jax.baselines.methods.larsson2016 import Larsson2016, load_published

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.parity, pytest.mark.slow]


def bilinear_deconvolution(x, factor):
    """Caffe's "bilinear" filler: a transposed convolution of kernel 2 factor, stride factor, padding factor / 2."""
    side = np.arange(2 * factor)
    line = 1 - np.abs(side / factor - (2 * factor - 1 - factor % 2) / (2 * factor))
    kernel = torch.from_numpy((line[:, None] * line).astype(np.float32))
    kernel = kernel.expand(x.shape[1], 1, *kernel.shape)
    return torch.nn.functional.conv_transpose2d(x, kernel, stride=factor, padding=factor // 2, groups=x.shape[1])


def deploy(blobs, grey):
    """Returns the logits of hue and chroma at stride 4."""
    functional = torch.nn.functional

    def conv(x, name):
        kernel, bias = (torch.from_numpy(blob) for blob in blobs[name])
        return functional.conv2d(x, kernel, bias, padding=kernel.shape[-1] // 2)

    x, stride = grey, 1
    column = [functional.avg_pool2d(x, 4)]
    for block, count in enumerate((2, 2, 3, 3, 3), start=1):
        for index in range(1, count + 1):
            x = functional.relu(conv(x, f"conv{block}_{index}"))
            if stride < 4:
                column.append(functional.avg_pool2d(x, 4 // stride))
            else:
                column.append(x if stride == 4 else bilinear_deconvolution(x, stride // 4))
        x, stride = functional.max_pool2d(x, 2), 2 * stride
    for name in ("fc6", "fc7"):
        x = functional.relu(conv(x, name))
        column.append(bilinear_deconvolution(x, 8))
    hidden = functional.relu(conv(torch.cat(column, dim=1), "h_fc1"))
    return [np.moveaxis(conv(hidden, name).numpy(), 1, -1) for name in ("prediction_h", "prediction_c")]


def test_the_logits_are_those_of_the_deploy_network(tmp_path):
    rng = np.random.default_rng(0)
    blobs = larsson_blobs(rng, folded=True)
    weights = load_published(write_h5(tmp_path / "x.caffemodel.h5", blobs))
    lightness = rng.uniform(0, 100, (1, 96, 128, 1)).astype(np.float32)
    with torch.no_grad():
        expected = deploy(
            blobs, torch.from_numpy(np.moveaxis(np.asarray(grey_of(jnp.asarray(lightness))), -1, 1).copy())
        )
    model = Larsson2016(width=1, gray_mean=weights.settings["model.gray_mean"])
    variables = {"params": weights.params, "batch_stats": weights.batch_stats}
    logits = jax.jit(lambda v, x: model.apply(v, x, train=False, method="histogram_logits"))(variables, lightness)
    # Caffe's transposed convolution fades towards the border, where there is nothing to interpolate with; ours repeats
    # the outermost cells. So the outer half cell of the coarsest layer, four cells of four pixels, is left out.
    inside = slice(None), slice(4, -4), slice(4, -4)
    for ours, theirs in zip(logits, expected, strict=True):
        assert ours.shape == theirs.shape == (1, 24, 32, 32)
        assert np.std(theirs) > 0.1
        np.testing.assert_allclose(np.asarray(ours)[inside], theirs[inside], atol=1e-4 * np.max(np.abs(theirs)))
