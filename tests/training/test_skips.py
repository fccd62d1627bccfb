"""A batch without a finite loss or gradient changes nothing but its count."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from semcolor_jax.color import rgb_to_lab
from semcolor_jax.config import default
from semcolor_jax.models import Predictions
from semcolor_jax.training.preparation import Prepared
from semcolor_jax.training.state import create_state
from semcolor_jax.training.step import make_train_step


class Regression(nn.Module):
    """BatchNorm and the regression branch: what a bad batch could spoil."""

    @nn.compact
    def __call__(self, lightness, *, train):
        x = nn.BatchNorm(use_running_average=not train)(nn.Conv(2, (1, 1))(lightness))
        return Predictions(ab=x)


def only_broken_at(steps):
    """Prepares batches whose lightness is not a number at those steps."""

    def prepare(batch, step):
        lab = rgb_to_lab(batch["image"])
        broken = jnp.isin(step, jnp.asarray(steps))
        return Prepared(batch, lab.at[..., 0].set(jnp.where(broken, jnp.nan, lab[..., 0])))

    return prepare


@pytest.fixture
def run():
    """Trains for some steps, of which some have a broken batch; returns all states and metrics."""
    config = default()
    config.loss.heads = "plain"
    image = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3)).astype(np.uint8)
    batch = {"image": image, "labels": np.full((2, 8, 8), 255, np.uint8)}
    batch |= {"scene_index": np.zeros((2, 5), np.int32), "scene_prob": np.zeros((2, 5), np.float32)}
    optimizer = optax.inject_hyperparams(optax.adam)(learning_rate=0.01)

    def run(steps, *, broken):
        variables: Any = Regression().init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)), train=True)
        state = create_state(variables, optimizer, averaged=True)
        step = make_train_step(
            Regression(),
            optimizer,
            loss_config=config.loss,
            rebalancing=np.ones(313, np.float32),
            seed=0,
            ema_decay=0.9,
            prepare=only_broken_at(broken),
        )
        seen = []
        for _ in range(steps):
            state, metrics = step(state, batch)
            seen.append(jax.device_get((state, metrics)))
        return seen

    return run


def without_counts(state):
    return {name: getattr(state, name) for name in ("params", "batch_stats", "opt_state", "ema")}


def test_a_broken_batch_leaves_everything_but_the_counts_as_it_was(run):
    seen = run(5, broken=[1, 2])
    states, metrics = zip(*seen, strict=True)
    jax.tree.map(np.testing.assert_array_equal, without_counts(states[0]), without_counts(states[2]))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(states))
    assert [int(state.step) for state in states] == [1, 2, 3, 4, 5]
    assert [int(state.skips.total) for state in states] == [0, 1, 2, 2, 2]
    assert [int(state.skips.in_a_row) for state in states] == [0, 1, 2, 0, 0]
    assert [float(row["skipped_in_a_row"]) for row in metrics] == [0, 1, 2, 0, 0]
    assert np.isnan(metrics[1]["loss"])
    assert float(metrics[4]["loss"]) < float(metrics[0]["loss"])
