"""What a training may change when it goes on, without training: the network and the steps are left out."""

import json
import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh

from semcolor_jax.checkpoints.training_runs import Checkpoints, DataPosition
from semcolor_jax.color import BIN_TABLE_ID
from semcolor_jax.config import default
from semcolor_jax.data.embedded import EmbeddedSource
from semcolor_jax.errors import UserError
from semcolor_jax.training import loop
from semcolor_jax.training.resume import check_same_data, position_of
from semcolor_jax.training.state import TrainState


def state_of(step):
    return TrainState(step=jnp.asarray(step, jnp.int32), params={"w": jnp.zeros(3)}, batch_stats={}, opt_state=())


@pytest.fixture
def config():
    config = default()
    config.data.source, config.model.width = "embedded", 4
    return config


@pytest.fixture
def train(monkeypatch, tmp_path):
    """`loop.train` in one work directory, with a state of one number and no steps but the saving of step 5."""

    def prepare(config, workdir, **options):
        source = EmbeddedSource("train")
        setup = loop.Setup(
            config=config,
            workdir=workdir,
            source=source,
            held_out=source,
            validation=(),
            phases=(),
            mesh=Mesh(np.array(jax.devices()[:1]), ("data",)),
            steps_per_epoch=4,
            rebalancing=np.ones(313),
            last_step=9,
        )
        return setup, TrainState(
            step=jnp.zeros((), jnp.int32), params={"w": jnp.zeros(3)}, batch_stats={}, opt_state=()
        )

    def run(setup, state, manager):
        if int(state.step) == 0:
            state = state_of(5)
            manager.save(state, position_of(setup.config, setup.source, step=5))
        return state

    monkeypatch.setattr(loop, "prepare", prepare)
    monkeypatch.setattr(loop, "run", run)
    return lambda config: loop.train(config, tmp_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("loss.reg", 7.0),
        ("schedule.stage1_rate", 1e-5),
        ("augment.rotate", 3.0),
        ("optimizer.beta2", 0.9),
        ("model.width", 8),
        ("growth.epoch", 2.0),
        ("data.short_side", 300),
        ("train.ema_decay", 0.5),
        ("seed", 4),
    ],
)
def test_other_numbers_are_refused_by_name_and_the_record_stays(train, config, tmp_path, field, value):
    train(config)
    record = (tmp_path / "config.json").read_text()
    changed = config.copy_and_resolve_references()
    changed.update_from_flattened_dict({field: value})
    with pytest.raises(UserError, match=rf"config\.{field}.*train\.start_from") as refusal:
        train(changed)
    assert str(value) in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1
    assert (tmp_path / "config.json").read_text() == record


def test_every_field_that_differs_is_named(train, config):
    train(config)
    config.loss.reg, config.augment.flip = 7.0, 0.25
    with pytest.raises(UserError, match=r"config\.augment\.flip.*config\.loss\.reg"):
        train(config)


def test_a_moved_folder_and_another_cadence_are_no_difference_and_are_said(train, config, tmp_path, caplog):
    train(config)
    config.data.dir, config.train.log_every_steps = "/elsewhere/photos", 7
    with caplog.at_level(logging.INFO, logger="semcolor_jax"):
        logging.getLogger("semcolor_jax").propagate = True
        assert int(train(config).step) == 5
    assert "data.dir" in caplog.text
    assert json.loads((tmp_path / "config.json").read_text())["data"]["dir"] == "/elsewhere/photos"


def test_start_from_is_not_read_where_a_training_is_resumed(config, tmp_path, monkeypatch):
    """`prepare` reads it only while there is no checkpoint; here the file has vanished since."""
    manager = Checkpoints(tmp_path)
    state = state_of(5)
    manager.save(state, DataPosition(step=5, seed=0, batch_size=8, source="embedded", samples=16))
    manager.close()
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    config.train.start_from = str(tmp_path / "vanished.npz")
    monkeypatch.setattr(loop, "init_variables", lambda *args, **kwargs: {"params": {"w": jnp.zeros(3)}})
    monkeypatch.setattr(loop, "_make_phase", lambda *args, **kwargs: None)
    monkeypatch.setattr(loop, "build_optimizer", lambda *args, **kwargs: jax.tree_util.Partial)
    monkeypatch.setattr(loop, "create_state", lambda *args, **kwargs: state)
    monkeypatch.setattr(loop, "_rebalancing", lambda *args, **kwargs: None)
    loop.prepare(config, tmp_path)


class Renamed:
    """The embedded photos under other names, or in a folder of another name."""

    def __init__(self, name, names):
        self.name, self.names = name, names

    def __len__(self):
        return len(self.names)

    def read(self, index):
        raise NotImplementedError  # no sample is looked at

    load = read


def test_other_photos_of_the_same_number_are_refused_and_a_renamed_folder_is_not(config, tmp_path):
    before = position_of(config, Renamed("photos", ["photos/a.jpg", "photos/b.jpg"]), step=5)
    check_same_data(before, position_of(config, Renamed("moved", ["moved/a.jpg", "moved/b.jpg"]), step=5), tmp_path)
    for names in (["photos/b.jpg", "photos/a.jpg"], ["photos/a.jpg", "photos/c.jpg"]):
        with pytest.raises(UserError, match="other photos, or in another order"):
            check_same_data(before, position_of(config, Renamed("photos", names), step=5), tmp_path)
    with pytest.raises(UserError, match=r"2 samples of photos .* asks for 1 samples"):
        check_same_data(before, position_of(config, Renamed("photos", ["a.jpg"]), step=5), tmp_path)


def test_the_work_directory_keeps_the_prior_that_a_training_began_with(config, tmp_path):
    from semcolor_jax.data.prior import Prior, load_prior, save_prior

    def prior_of(first):
        shares = [first, *[(1 - first) / 312] * 312]
        return Prior(np.array(shares), {"bin_table": BIN_TABLE_ID, "source": "x", "images": 1, "pixels": 1, "seed": 0})

    config.data.prior = str(tmp_path / "given.json")
    save_prior(tmp_path / "given.json", prior_of(0.5))
    first = loop._rebalancing(config, tmp_path, EmbeddedSource("train"))
    manager = Checkpoints(tmp_path)
    manager.save(state_of(5), position_of(config, EmbeddedSource("train"), step=5))
    manager.close()
    save_prior(tmp_path / "given.json", prior_of(0.1))
    assert np.array_equal(loop._rebalancing(config, tmp_path, EmbeddedSource("train")), first)
    assert load_prior(tmp_path / "prior.json").probabilities[0] == pytest.approx(0.5)
