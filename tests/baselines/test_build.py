import jax
import jax.numpy as jnp
import numpy as np
import pytest

from semcolor_jax import backend
from semcolor_jax.baselines.build import build_model, build_to_run, init_variables
from semcolor_jax.baselines.registry import find_method
from semcolor_jax.config import VARIANTS, default
from semcolor_jax.models import SemColorNet


@pytest.fixture
def config():
    config = default()
    config.model.width = 4
    config.model.scene_features = 8
    return config


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_network_follows_the_config(config, variant):
    config.model.variant = variant
    config.model.dtype = "bfloat16"
    expected = SemColorNet(
        width=4, scene_features=8, encoder="vgg_like", branches=VARIANTS[variant], dtype=jnp.dtype("bfloat16")
    )
    assert build_model(config) == expected
    assert hash(build_model(config)) == hash(build_model(config))


def test_an_accelerator_draws_the_same_variables_in_one_program(config, monkeypatch):
    model, key = build_model(config), jax.random.key(0, impl="rbg")
    expected = init_variables(model, key, config=config)
    monkeypatch.setattr(backend, "platform", lambda: "gpu")
    variables = init_variables(model, key, config=config)
    jax.tree.map(lambda new, old: np.testing.assert_allclose(new, old, rtol=1e-5, atol=1e-7), variables, expected)


def test_bfloat16_is_computed_where_it_can_be(config, monkeypatch):
    """With XLA's own kernels, a network of VGG16's width and bfloat16 coloured photos black on a CPU."""
    assert build_to_run(config) == build_model(config)
    config.model.dtype = "bfloat16"
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    assert build_to_run(config) == build_model(config).clone(dtype=jnp.float32)
    monkeypatch.setenv("XLA_FLAGS", f"--xla_dump_to=x {backend.ONEDNN}")
    assert build_to_run(config) == build_model(config)
    monkeypatch.delenv("XLA_FLAGS")
    monkeypatch.setattr(backend, "platform", lambda: "gpu")
    assert build_to_run(config) == build_model(config)


def test_the_default_is_the_papers_network():
    assert build_model(default()) == SemColorNet(width=64, scene_features=512, dtype=jnp.dtype("float32"))


def test_variables_are_a_function_of_the_key(net, fresh, config):
    assert build_model(config) == net
    assert fresh.keys() == {"params", "batch_stats"}
    again, other = (init_variables(net, jax.random.key(seed), config=config) for seed in (0, 1))
    kernels = [tree["params"]["decoder"]["conv1_1"]["kernel"] for tree in (fresh, again, other)]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert not np.allclose(kernels[0], kernels[2])


def test_vgg16_starts_from_imagenet_and_has_no_statistics(vgg16_variables, config):
    assert vgg16_variables["batch_stats"] == {}
    kernel = vgg16_variables["params"]["backbone"]["conv1_1"]["kernel"]
    assert kernel[0, 0, 0, 0] == pytest.approx(-0.5537, abs=1e-4)


def test_vgg16_starts_at_random_where_the_config_says_so(monkeypatch, config):
    monkeypatch.setattr("semcolor_jax.baselines.methods.semcolor.load_pretrained", pytest.fail)
    config.model.encoder, config.model.pretrained = "vgg16", False
    random = {"params": {"backbone": {}}, "batch_stats": {}}
    assert find_method("semcolor").start(random, config) is random
