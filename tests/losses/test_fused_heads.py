"""The fused heads against the plain head followed by the plain loss: the same values and the same gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from semcolor_jax.color import soft_encode
from semcolor_jax.losses import fused_heads
from semcolor_jax.losses import terms as losses
from semcolor_jax.losses.fused_heads import Head

RNG = np.random.default_rng(0)


def random_head(width, channels):
    return Head(
        kernel=jnp.asarray(RNG.normal(size=(width, channels)), jnp.float32),
        bias=jnp.asarray(RNG.normal(size=channels), jnp.float32),
    )


def random_map(shape=(2, 12, 10, 6)):
    return jnp.asarray(RNG.normal(size=shape), jnp.float32)


def assert_same_gradients(fused, plain, *arguments):
    value, gradients = jax.jit(jax.value_and_grad(fused, argnums=(0, 1)))(*arguments)
    expected_value, expected_gradients = jax.jit(jax.value_and_grad(plain, argnums=(0, 1)))(*arguments)
    assert float(value) == pytest.approx(float(expected_value), rel=1e-5, abs=1e-7)
    assert float(jax.jit(fused)(*arguments)) == pytest.approx(float(expected_value), rel=1e-5, abs=1e-7)
    for gradient, expected in zip(jax.tree.leaves(gradients), jax.tree.leaves(expected_gradients), strict=True):
        scale = float(jnp.max(jnp.abs(expected)))
        np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-5 * scale)


@pytest.mark.parametrize("chunk_pixels", [1, 40, 100_000], ids=["rows", "some rows", "whole"])
@pytest.mark.usefixtures("cpu_form")
def test_soft_encoding_loss_and_gradient(monkeypatch, chunk_pixels):
    monkeypatch.setattr(fused_heads, "CHUNK_PIXELS", chunk_pixels)
    target = soft_encode(jnp.asarray(RNG.uniform(-100, 100, size=(2, 12, 10, 2)), jnp.float32))
    rebalancing = jnp.asarray(RNG.uniform(0.2, 5.0, size=313), jnp.float32)

    def fused(x_map, head):
        return 3.0 * fused_heads.soft_encoding_loss(x_map, head, target=target, rebalancing=rebalancing)

    def plain(x_map, head):
        logits = x_map @ head.kernel + head.bias
        return 3.0 * losses.soft_encoding_loss(logits, target, rebalancing=rebalancing)

    assert_same_gradients(fused, plain, random_map(), random_head(6, 313))


@pytest.mark.usefixtures("cpu_form")
def test_logits_beyond_the_range_of_float32s_exponential_are_no_harm():
    """exp(89) is infinite in float32, exp(-104) is 0; here logits reach several hundred on either side."""
    labels = jnp.asarray(RNG.integers(0, 5, size=(2, 4, 3)), jnp.uint8)
    x_map, head = 300 * random_map((2, 4, 3, 6)), random_head(6, 5)
    fused = jax.jit(lambda x, h: fused_heads.softmax_dice_loss(x, h, labels=labels))(x_map, head)
    plain = losses.softmax_dice_loss(x_map @ head.kernel + head.bias, labels)
    assert float(fused) == pytest.approx(float(plain), rel=1e-5)


@pytest.mark.parametrize("chunk_pixels", [1, 40, 100_000], ids=["rows", "some rows", "whole"])
@pytest.mark.parametrize(
    "labels",
    [
        RNG.integers(0, 183, size=(2, 12, 10)),
        np.where(RNG.random((2, 12, 10)) < 0.3, 255, RNG.integers(0, 3, size=(2, 12, 10))),
        np.stack([np.full((12, 10), 255), RNG.integers(0, 183, size=(12, 10))]),
        np.full((2, 12, 10), 255),
        np.where(RNG.random((2, 12, 10)) < 0.3, 254, RNG.integers(180, 256, size=(2, 12, 10))),
    ],
    ids=["all classes", "absent and ignored", "missing labels", "no labels", "no class"],
)
@pytest.mark.usefixtures("cpu_form")
def test_softmax_dice_loss_and_gradient(monkeypatch, labels, chunk_pixels):
    monkeypatch.setattr(fused_heads, "CHUNK_PIXELS", chunk_pixels)
    labels = jnp.asarray(labels, jnp.uint8)

    def fused(x_map, head):
        return 0.5 * fused_heads.softmax_dice_loss(x_map, head, labels=labels)

    def plain(x_map, head):
        return 0.5 * losses.softmax_dice_loss(x_map @ head.kernel + head.bias, labels)

    assert_same_gradients(fused, plain, random_map(), random_head(6, 183))


@pytest.mark.usefixtures("each_form")
def test_regression_loss_and_gradient():
    ab = jnp.asarray(RNG.uniform(-100, 100, size=(2, 12, 10, 2)), jnp.float32)

    def fused(x_map, head):
        return 2.0 * fused_heads.regression_loss(x_map, head, ab=ab)

    def plain(x_map, head):
        return 2.0 * losses.regression_loss(110.0 * jnp.tanh(x_map @ head.kernel + head.bias), ab)

    assert_same_gradients(fused, plain, random_map(), random_head(6, 2))


@pytest.mark.usefixtures("cpu_form")
def test_no_array_of_all_logits_outlives_a_chunk(monkeypatch):
    """The largest array in the compiled program is far below (B, H, W, 313)."""
    monkeypatch.setattr(fused_heads, "CHUNK_PIXELS", 256)
    x_map, head = random_map((2, 64, 64, 8)), random_head(8, 313)
    target = soft_encode(jnp.zeros((2, 64, 64, 2)))

    def loss(x_map, head):
        return fused_heads.soft_encoding_loss(x_map, head, target=target, rebalancing=jnp.ones(313))

    compiled = jax.jit(jax.grad(loss, argnums=(0, 1))).lower(x_map, head).compile()
    logits_bytes = 2 * 64 * 64 * 313 * 4
    memory = compiled.memory_analysis()
    assert memory is not None
    assert memory.temp_size_in_bytes < logits_bytes / 4


@pytest.mark.usefixtures("each_form")
def test_the_features_may_be_bfloat16():
    x_map, head = random_map().astype(jnp.bfloat16), random_head(6, 183)
    labels = jnp.zeros((2, 12, 10), jnp.uint8)
    gradient = jax.grad(lambda x: fused_heads.softmax_dice_loss(x, head, labels=labels))(x_map)
    assert gradient.dtype == jnp.bfloat16
    expected = losses.softmax_dice_loss(x_map.astype(jnp.float32) @ head.kernel + head.bias, labels)
    assert float(fused_heads.softmax_dice_loss(x_map, head, labels=labels)) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.usefixtures("xla_form")
def test_the_xla_form_differentiates_forward_and_has_no_loop():
    x_map, heads = random_map((1, 4, 4, 3)), [random_head(3, channels) for channels in (313, 183, 2)]
    ab = jnp.asarray(RNG.uniform(-100, 100, size=(1, 4, 4, 2)), jnp.float32)
    target, labels = soft_encode(ab), jnp.asarray(RNG.integers(0, 183, size=(1, 4, 4)), jnp.uint8)

    def loss(x_map):
        return (
            fused_heads.soft_encoding_loss(x_map, heads[0], target=target, rebalancing=jnp.ones(313))
            + fused_heads.softmax_dice_loss(x_map, heads[1], labels=labels)
            + fused_heads.regression_loss(x_map, heads[2], ab=ab)
        )

    tangent = random_map(x_map.shape)
    _, slope = jax.jvp(loss, (x_map,), (tangent,))
    assert float(slope) == pytest.approx(float(jnp.vdot(jax.grad(loss)(x_map), tangent)), rel=1e-4)
    assert "scan" not in str(jax.make_jaxpr(jax.grad(loss))(x_map))
