"""Training from the device's memory: the losses of tf.data's batches, and a resumed run bit for bit."""

import itertools
from types import SimpleNamespace
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiny_training import MemorySource

from semcolor_jax.color import rgb_to_lab
from semcolor_jax.data.augment import training_ops
from semcolor_jax.data.augmentation import Options, place_keys
from semcolor_jax.data.device_cache import DeviceCache, cached_batch
from semcolor_jax.data.pipeline import numpy_batches, train_batches
from semcolor_jax.models import Predictions
from semcolor_jax.training import loop
from semcolor_jax.training.cached import cached_batches, step_bytes
from semcolor_jax.training.preparation import make_preparation
from semcolor_jax.training.state import create_state
from semcolor_jax.training.step import make_train_step


def _plain(config):
    config.data.short_side = config.data.image_size
    for name in ("flip", "rotate", "scale", "translate", "contrast", "brightness"):
        config.augment[name] = 0.0
    return config


class _Network(nn.Module):
    """The smallest network of `Predictions`: what it learns from is as in the paper's, and it compiles in seconds."""

    @nn.compact
    def __call__(self, lightness, *, train):
        del train
        features = nn.relu(nn.Conv(8, (3, 3))(lightness / 50 - 1))
        return Predictions(
            ab=110 * jnp.tanh(nn.Conv(2, (3, 3))(features)),
            color_logits=nn.Conv(313, (1, 1))(features),
            seg_logits=nn.Conv(183, (1, 1))(features),
            scene_logits=nn.Dense(365)(features.mean(axis=(1, 2))),
        )


def _step(config):
    optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=0.01)
    variables: Any = _Network().init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)), train=True)
    state = create_state(variables, optimizer)
    step = make_train_step(
        _Network(),
        optimizer,
        loss_config=config.loss,
        rebalancing=np.ones(313, np.float32),
        seed=0,
        prepare=make_preparation(config),
    )
    return state, step


def test_the_losses_are_those_of_tf_datas_batches(tiny_config):
    config, source = _plain(tiny_config), MemorySource(6, side=32)
    config.loss.heads = "plain"
    dataset = train_batches(source, ops=training_ops(config), batch_size=2, seed=config.seed)
    cache = DeviceCache(source, config)
    cache.fill()
    losses = []
    for batches in (numpy_batches(dataset), cache.batches()):
        (state, step), metrics = _step(config), None
        for batch in itertools.islice(batches, 3):
            state, metrics = step(state, batch)
        losses.append(jax.device_get(metrics))
    assert losses[0].keys() == losses[1].keys() >= {"soft", "reg", "scene", "seg"}
    for name, value in losses[0].items():
        np.testing.assert_allclose(losses[1][name], value, rtol=1e-5, err_msg=name)
    assert step_bytes(step, state, cache) > 2 * 32 * 32 * 313 * 4


@pytest.mark.slow
def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(tmp_path, tiny_config, memory_data, monkeypatch):
    tiny_config.data.cache = "device"
    tiny_config.train.eval_every_steps = 100
    whole = loop.train(tiny_config, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(loop, "total_steps", lambda *args, **kwargs: 7)
        loop.train(tiny_config, tmp_path / "parts")
    resumed = loop.train(tiny_config, tmp_path / "parts")
    assert int(whole.step) == int(resumed.step) == 12
    for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(resumed), strict=True):
        np.testing.assert_array_equal(a, b)


def _phases(config):
    """Crops that grow after five steps, when some photos are too small for them."""
    grown = config.copy_and_resolve_references()
    config.data.image_size, config.data.short_side = 32, 38
    grown.data.image_size, grown.data.short_side = 64, 76
    return [SimpleNamespace(config=config, first_step=0), SimpleNamespace(config=grown, first_step=5)]


def test_the_stream_goes_on_where_it_stopped_whatever_the_phase_and_the_photos_sizes(tiny_config):
    state = create_state({"params": {"w": jnp.zeros(1)}}, optax.sgd(0.1))
    options = {"source": _TwoSizes(), "phases": _phases(tiny_config), "state": state}
    whole = [_here(batch) for batch in itertools.islice(cached_batches(**options, first_step=0), 12)]
    assert [batch["image"].shape[1] for batch in whole[:5]] == [32] * 5
    assert {batch["image"].shape[1] for batch in whole[5:]} == {32, 64}
    for first_step in (3, 5, 8):
        for rest, batch in zip(cached_batches(**options, first_step=first_step), whole[first_step:], strict=False):
            for name, array in _here(rest).items():
                np.testing.assert_array_equal(array, batch[name])


_gather = jax.jit(cached_batch, static_argnames="options")


def _here(batch):
    """A batch's arrays in the host's memory: the cache of a phase is gone when the next begins."""
    arrays = _gather(batch, place_keys(0, batch.places), options=Options(flip=0.5))
    return jax.device_get(arrays) | {"places": np.asarray(batch.places)}


class _TwoSizes:
    """Four photos of 40 pixels and four of 80."""

    name = "two_sizes"
    names = tuple(f"photo{i}" for i in range(8))

    def __len__(self):
        return 8

    def read(self, index):
        return MemorySource(8, side=40 if index < 4 else 80).read(index)


def test_border_and_damage_reach_what_they_should(tiny_config):
    tiny_config.augment.border = tiny_config.augment.noise = 1.0
    photos = MemorySource(4, side=32)
    batch = {
        "image": jnp.stack([photos.read(i).image for i in range(4)]),
        "labels": jnp.zeros((4, 32, 32), jnp.uint8),
    }
    prepare = make_preparation(tiny_config)
    prepared = prepare(batch, jnp.array(3))
    outside = np.asarray(prepared.batch["labels"]) == 255
    assert 0 < outside.mean() < 0.5
    clean = rgb_to_lab(prepared.batch["image"])
    np.testing.assert_array_equal(prepared.lab[..., 1:], clean[..., 1:])
    np.testing.assert_allclose(np.asarray(prepared.lab[..., 1:])[outside], 0, atol=0.01)
    assert np.abs(np.asarray(prepared.lab[..., 0] - clean[..., 0])).mean() > 1
    np.testing.assert_array_equal(prepare(batch, jnp.array(3)).lab, prepared.lab)
    assert (np.asarray(prepare(batch, jnp.array(4)).lab) != np.asarray(prepared.lab)).any()


def test_without_further_augmentation_a_batch_stays_as_it_is(tiny_config):
    batch = {"image": jnp.asarray(MemorySource(1).read(0).image)[None], "labels": jnp.zeros((1, 40, 40), jnp.uint8)}
    prepared = make_preparation(tiny_config)(batch, jnp.array(0))
    assert prepared.batch is batch
    np.testing.assert_array_equal(prepared.lab, rgb_to_lab(batch["image"]))
