"""Methods are found by their file's name; a new one is one file and a config."""

import json
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from semcolor_jax.baselines import methods
from semcolor_jax.baselines.build import build_model, init_variables
from semcolor_jax.baselines.registry import (
    checked,
    config_from_saved,
    default_config,
    find_method,
    method_names,
    with_method,
)
from semcolor_jax.checkpoints.models import DEFAULT_MODEL, find_model
from semcolor_jax.config import default
from semcolor_jax.errors import UserError
from semcolor_jax.losses.objective import weights_of
from semcolor_jax.training.optimizer import build_optimizer
from semcolor_jax.training.state import create_state
from semcolor_jax.training.step import make_train_step

ALL = method_names()


@pytest.fixture
def new_method(monkeypatch):
    """Puts a file beside those of the methods."""
    folder = Path(__file__).parent / "one_new_method"
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(folder)])
    yield "mean_color"
    sys.modules.pop("semcolor_jax.baselines.methods.mean_color", None)


def test_the_methods_of_the_paper_are_there():
    assert {"semcolor", "zhang2016", "siggraph17", "larsson2016", "iizuka2016"} <= set(ALL)
    assert set(ALL) == {path.stem for path in Path(methods.__path__[0]).iterdir() if path.name[0] != "_"}


def test_a_loss_without_a_weight_in_the_config_is_named():
    with pytest.raises(ValueError, match=r"the loss 'squared', but config\.loss has no weight of that name"):
        weights_of(["reg", "squared"], default().loss)
    assert weights_of(["reg", "soft"], default().loss) == {"reg": 1.0, "soft": 1.0}


def test_a_new_method_is_one_file(new_method, image):
    assert new_method in method_names()
    config = default_config(new_method)
    config.schedule.stage1_rate = 0.1
    model, optimizer = build_model(config), build_optimizer(config, steps_per_epoch=1)
    state = create_state(init_variables(model, jax.random.key(0), config=config), optimizer)
    weights = np.ones(313, np.float32)
    step = make_train_step(
        model, optimizer, loss_config=config.loss, rebalancing=weights, seed=0, method=config.model.method
    )
    losses = []
    for _ in range(2):
        state, metrics = step(state, {"image": image})
        losses.append(float(metrics["loss"]))
        assert losses[-1] == pytest.approx(0.5 * float(metrics["squared"]))
    assert losses[1] < losses[0]
    config.model.scale = 0.0
    with pytest.raises(UserError, match=r"config\.model\.scale"):
        checked(config)


@pytest.mark.parametrize("method", ALL)
def test_a_methods_defaults_pass_its_own_check(method):
    config = default_config(method)
    assert checked(config).to_dict() == config.to_dict()


def test_another_method_on_the_command_line_brings_its_fields():
    config = default()
    config.lock()  # as ml_collections' flags leave it
    config.model.method = "larsson2016"
    config.loss.reg = 3.0
    complete = checked(config)
    assert complete.loss.sample_places == 128
    assert complete.loss.reg == 3.0
    assert build_model(complete).gray_mean == 0.4488
    assert "sample_places" not in config.loss


def test_with_method_takes_the_methods_defaults_too():
    config = default()
    config.data.batch_size, config.loss.scene = 3, 7.0
    other = with_method(config, "iizuka2016")
    assert (other.data.batch_size, other.loss.scene) == (3, 1 / 300)
    assert config.model.method == "semcolor"


@pytest.mark.parametrize(
    ("method", "field", "value", "said"),
    [
        ("zhang2016", "loss.encoding_nearest", 314, r"1\.\.313"),
        ("siggraph17", "loss.hint_stop", 1.5, r"0\.\.1"),
        ("larsson2016", "loss.sample_places", -1, "0 "),
        ("iizuka2016", "model.global_side", 100, "multiple of 32"),
        ("iizuka2016", "model.global_side", 0, "above 0"),
        ("zhang2016", "model.frozen_blocks", 2, "0 encoder blocks"),
        ("zhang2016", "data.batch_size", 0, "above 0"),
        ("zhang2016", "model.method", "zhang2061", ", ".join(ALL)),
    ],
)
def test_a_bad_value_names_the_field_and_what_is_allowed(method, field, value, said):
    config = default_config(method)
    section, name = field.split(".")
    config[section][name] = value
    with pytest.raises(UserError, match=f"config.{field} .*{said}"):
        checked(config)


@pytest.mark.parametrize("name", ["registry", "../errors", "", "zhang2016.METHOD"])
def test_only_files_of_methods_are_methods(name):
    with pytest.raises(UserError, match="must be one of"):
        find_method(name)


def test_a_config_of_an_earlier_version_loads():
    """It held the fields of all methods, and may lack some that came later."""
    saved = json.loads(json.dumps(default_config("iizuka2016").to_dict()))
    saved["model"] |= {"gray_mean": 0.4488, "global_side": 64}
    saved["loss"] |= {"hue": 5.0, "chroma": 1.0, "sample_places": 128, "hint_stop": 0.125, "encoding_nearest": 10}
    saved["schedule"]["steps_at"] = [3, 4]
    saved["gone"] = 1
    del saved["model"]["batch_norm"], saved["train"]
    config = config_from_saved(saved)
    expected = default_config("iizuka2016")
    expected.model.global_side, expected.schedule.steps_at = 64, (3, 4)
    assert config.to_dict() == expected.to_dict()
    assert config_from_saved({"name": "old"}).model.method == "semcolor"


def test_the_released_config_loads_as_the_papers_method():
    config = config_from_saved(json.loads((find_model(DEFAULT_MODEL) / "config.json").read_text()))
    assert set(config.loss) == set(default().loss)
    assert config.loss.reg == 10.0


def test_finding_names_needs_no_jax():
    code = "import sys, semcolor_jax.baselines.registry as r; r.method_names(); assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
