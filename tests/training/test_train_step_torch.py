"""The network, losses and gradients are those of an independent PyTorch implementation with the same parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.color import rgb2lab

torch = pytest.importorskip("torch")
import torch_unet  # noqa: E402

from semcolor_jax.baselines.build import build_model, init_variables  # noqa: E402
from semcolor_jax.config import default  # noqa: E402
from semcolor_jax.losses.objective import Inputs  # noqa: E402
from semcolor_jax.losses.paper import semcolor  # noqa: E402


def make_batch(rng, *, size):
    return {
        "image": rng.integers(0, 256, (2, size, size, 3), dtype=np.uint8),
        "labels": rng.choice(np.array([0, 3, 182, 255], np.uint8), (2, size, size)),
        "scene_index": np.array([[0, 5, 7, 9, 364]] * 2, np.int32),
        "scene_prob": np.array([[0.5, 0.2, 0.1, 0.1, 0.1]] * 2, np.float32),
    }


def our_loss_and_norm(variables, model, inputs):
    @jax.jit
    @jax.value_and_grad
    def loss(params):
        return sum(semcolor(model, {**variables, "params": params}, inputs).terms.values())

    value, gradient = loss(variables["params"])
    return float(value), float(jnp.sqrt(sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(gradient))))


@pytest.mark.parity
@pytest.mark.slow
@pytest.mark.parametrize("heads", ["fused", "plain"])
def test_loss_and_gradient_norm_are_those_of_pytorch(heads):
    rng = np.random.default_rng(0)
    config = default()
    config.model.width, config.model.scene_features = 8, 16
    model = build_model(config)
    variables = init_variables(model, jax.random.key(0, impl="rbg"), config=config)
    batch = make_batch(rng, size=48)
    lab = rgb2lab(batch["image"]).astype(np.float32)
    weights = rng.uniform(0.5, 2.0, 313).astype(np.float32)
    config.loss.heads = heads
    inputs = Inputs(jax.tree.map(jnp.asarray, batch), jnp.asarray(lab), config.loss, jnp.asarray(weights), rngs={})
    loss, norm = our_loss_and_norm(variables, model, inputs)
    for dense in (False, True):
        reference = torch_unet.UNet(8, 16, keras_padding=True)
        torch_unet.load_flax(reference, variables["params"])
        tensors = torch_unet.make_batch(batch, lab, dense=dense)
        value = torch_unet.losses(reference, tensors, torch.tensor(weights))
        value.backward()
        gradients = torch.cat([parameter.grad.flatten() for parameter in reference.parameters()])
        assert float(value.detach()) == pytest.approx(loss, rel=1e-4)
        assert float(gradients.norm()) == pytest.approx(norm, rel=1e-3)
