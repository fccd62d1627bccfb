"""The compiled step: it learns, it masks, it donates, and a mesh does not change its numbers."""

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from skimage.color import rgb2lab

from semcolor_jax.baselines.build import build_model, init_variables
from semcolor_jax.color import rgb_to_lab
from semcolor_jax.config import branches, default
from semcolor_jax.losses.objective import Inputs
from semcolor_jax.losses.paper import loss_terms, make_targets, semcolor
from semcolor_jax.models import Predictions
from semcolor_jax.training.optimizer import build_optimizer
from semcolor_jax.training.state import create_state
from semcolor_jax.training.step import make_train_step

ROOT = Path(__file__).parents[2]


def random_batch(rng, size=32, batch=2):
    return {
        "image": rng.integers(0, 256, size=(batch, size, size, 3)).astype(np.uint8),
        "labels": rng.integers(0, 4, size=(batch, size, size)).astype(np.uint8),
        "scene_index": np.tile(np.arange(5, dtype=np.int32), (batch, 1)),
        "scene_prob": np.tile(np.array([0.6, 0.1, 0.1, 0.1, 0.1], np.float32), (batch, 1)),
    }


def build(config):
    model = build_model(config)
    optimizer = build_optimizer(config, steps_per_epoch=10)
    state = create_state(init_variables(model, jax.random.key(0, impl="rbg"), config=config), optimizer)
    step: Any = make_train_step(model, optimizer, loss_config=config.loss, rebalancing=np.ones(313, np.float32), seed=0)
    return state, step


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["regsoft", "clasregsoft", "segclasregsoft"])
def test_the_joint_loss_falls_on_one_batch(tiny_config, variant):
    tiny_config.model.variant = variant
    tiny_config.schedule.stage1_rate = 3e-3
    state, step = build(tiny_config)
    batch = random_batch(np.random.default_rng(0))
    state, first = step(state, batch)
    last = first
    for _ in range(30):
        state, last = step(state, batch)
    assert set(first) == {
        *("loss", "grad_norm", "learning_rate", "skipped", "skipped_in_a_row"),
        *branches(tiny_config),
    }
    for name in ("loss", *branches(tiny_config)):
        assert float(last[name]) < float(first[name]), name
    assert float(first["loss"]) == pytest.approx(sum(float(first[b]) for b in branches(tiny_config)), rel=1e-5)


@pytest.mark.usefixtures("each_form")
def test_the_state_is_donated(tiny_config):
    state, step = build(tiny_config)
    new_state, _ = step(state, random_batch(np.random.default_rng(0)))
    assert int(new_state.step) == 1
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state.params))


def test_targets_come_from_the_photo_in_cie_units(tiny_config):
    """A network that predicts the true ab, as scikit-image computes it, has no regression loss."""
    batch = random_batch(np.random.default_rng(1), size=8)
    ab = jnp.asarray(rgb2lab(batch["image"])[..., 1:], jnp.float32)
    inputs = Inputs(batch, rgb_to_lab(batch["image"]), tiny_config.loss, rebalancing=jnp.ones(313), rngs={})
    terms = loss_terms(Predictions(ab=ab), make_targets(inputs))
    assert set(terms) == {"reg"}
    assert float(terms["reg"]) == pytest.approx(0.0, abs=1e-8)


@pytest.mark.usefixtures("xla_form")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_step_for_cuda_is_plain_xla(tiny_config, dtype):
    """Lowered without a card: no loops, no barriers, and each of the 22 layers' convolutions with both gradients."""
    tiny_config.model.dtype = dtype
    state, step = build(tiny_config)
    lowered = step.trace(state, random_batch(np.random.default_rng(0))).lower(lowering_platforms=("cuda",))
    program = lowered.as_text()
    assert "stablehlo.while" not in program
    assert "optimization_barrier" not in program
    assert program.count("stablehlo.convolution(") == 3 * 22 - 1  # no gradient goes to the photo


@pytest.mark.usefixtures("xla_form")
def test_the_joint_loss_differentiates_forward(tiny_config):
    model = build_model(tiny_config)
    batch = jax.tree.map(jnp.asarray, random_batch(np.random.default_rng(0)))
    inputs = Inputs(batch, rgb_to_lab(batch["image"]), tiny_config.loss, rebalancing=jnp.ones(313), rngs={})
    variables = init_variables(model, jax.random.key(0, impl="rbg"), config=tiny_config)

    def loss(params):
        terms = semcolor(model, {**variables, "params": params}, inputs).terms
        return sum(terms.values())

    params = variables["params"]
    value, slope = jax.eval_shape(lambda tangent: jax.jvp(loss, (params,), (tangent,)), params)
    assert value.shape == slope.shape == ()


@pytest.mark.slow
@pytest.mark.usefixtures("each_form")
def test_fused_and_plain_heads_take_the_same_step(tiny_config):
    tiny_config.optimizer.name = "sgd"
    batch = random_batch(np.random.default_rng(2))
    results = {}
    for heads in ("plain", "fused"):
        tiny_config.loss.heads = heads
        state, step = build(tiny_config)
        results[heads] = step(state, batch)
    (plain_state, plain), (fused_state, fused) = results["plain"], results["fused"]
    for name, value in plain.items():
        assert float(fused[name]) == pytest.approx(float(value), rel=1e-5), name
    for a, b in zip(jax.tree.leaves(plain_state), jax.tree.leaves(fused_state), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("remat", ["decoder", "all"])
def test_remat_takes_the_same_step_with_the_same_parameters(tiny_config, remat):
    tiny_config.optimizer.name = "sgd"
    batch = random_batch(np.random.default_rng(3))
    state, step = build(tiny_config)
    expected, _ = step(state, batch)
    tiny_config.train.remat = remat
    state, step = build(tiny_config)
    jaxpr = str(step.trace(state, batch).jaxpr)
    assert len(re.findall(r"\b(?:remat2?|checkpoint)\[", jaxpr)) == (4 if remat == "decoder" else 9)
    result, _ = step(state, batch)
    assert jax.tree.structure(result) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(result), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


@pytest.mark.slow
@pytest.mark.usefixtures("cpu_form")
def test_the_compiled_step_holds_little_more_than_features_and_gradients():
    """Half as much again leaves no room for copied weights, for features kept twice, or for gradients that wait."""
    config = default()
    config.model.width = 16
    model, optimizer = build_model(config), build_optimizer(config, steps_per_epoch=10)
    step: Any = make_train_step(model, optimizer, loss_config=config.loss, rebalancing=np.ones(313, np.float32), seed=0)
    batch = random_batch(np.random.default_rng(5), size=128, batch=4)
    lightness = jnp.zeros((4, 128, 128, 1))
    state = jax.eval_shape(
        lambda: create_state(dict(model.init(jax.random.key(0, impl="rbg"), lightness, train=False)), optimizer)
    )

    def features(variables):
        layers = ("ConvRelu", "JoinedConvRelu", "BatchNorm")
        _, variables = model.apply(
            variables,
            lightness,
            train=True,
            mutable=["batch_stats", "intermediates"],
            capture_intermediates=lambda module, _: type(module).__name__ in layers,
            method="features",
        )
        return variables["intermediates"]

    held = sum(4 * leaf.size for leaf in jax.tree.leaves((jax.eval_shape(features, state.variables), state.params)))
    assert step.lower(state, batch).compile().memory_analysis().temp_size_in_bytes < 1.5 * held


@pytest.mark.slow
@pytest.mark.usefixtures("each_form")
def test_bfloat16_keeps_parameters_statistics_and_losses_in_float32(tiny_config):
    batch = random_batch(np.random.default_rng(4))
    tiny_config.model.dtype = "bfloat16"
    state, step = build(tiny_config)
    state, metrics = step(state, batch)
    assert {leaf.dtype for leaf in jax.tree.leaves((state.params, state.batch_stats))} == {np.dtype("float32")}
    assert {value.dtype for value in metrics.values()} == {np.dtype("float32")}
    tiny_config.model.dtype = "float32"
    state, step = build(tiny_config)
    state, expected = step(state, batch)
    assert float(metrics["loss"]) == pytest.approx(float(expected["loss"]), rel=1e-2)
    assert float(metrics["grad_norm"]) == pytest.approx(float(expected["grad_norm"]), rel=5e-2)


@pytest.mark.slow
def test_four_devices_compute_what_one_does():
    """Data parallel over a mesh of four fake CPU devices; a process of its own, since XLA counts devices at start."""
    script = textwrap.dedent("""
        import sys
        sys.path.insert(0, "tests/training")
        import jax, numpy as np
        from semcolor_jax.config import default
        from semcolor_jax.training import sharding
        from test_step import build, random_batch

        assert jax.device_count() == 4
        config = default()
        config.model.width, config.model.scene_features, config.data.image_size = 4, 8, 32
        config.optimizer.name = "sgd"  # linear in the gradient: rounding is not blown up as by Adam's first steps
        batch = random_batch(np.random.default_rng(0), batch=8)
        state, step = build(config)
        alone, metrics_alone = step(state, batch)
        state, step = build(config)
        mesh = sharding.device_mesh()
        state = jax.device_put(state, sharding.replicated(mesh))
        split = jax.device_put(batch, sharding.batch_split(mesh))
        assert len(split["image"].addressable_shards) == 4
        shared, metrics_shared = step(state, split)
        for name, value in metrics_alone.items():
            np.testing.assert_allclose(metrics_shared[name], value, rtol=2e-5, err_msg=name)
        for a, b in zip(jax.tree.leaves(alone.params), jax.tree.leaves(shared.params), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
        assert len(jax.tree.leaves(shared.params)[0].sharding.device_set) == 4
        print("same")
    """)
    environment = os.environ | {
        "XLA_FLAGS": os.environ["XLA_FLAGS"] + " --xla_force_host_platform_device_count=4",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(ROOT),
    }
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert "same" in result.stdout
