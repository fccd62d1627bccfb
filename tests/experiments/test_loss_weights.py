"""The loss weights of configs/full.py are those that experiments/loss_weights.py found, and do what it promises."""

import runpy
from pathlib import Path

import pytest

from semcolor_jax.config import VARIANTS
from semcolor_jax.files import read_json

ROOT = Path(__file__).parents[2]
LOSSES = ("soft", "reg", "scene", "seg")


@pytest.fixture(scope="module")
def rounds():
    return read_json(ROOT / "experiments" / "results" / "loss_weights.json")["rounds"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_papers_config_has_the_weights_of_the_last_round(rounds, variant):
    config = runpy.run_path(str(ROOT / "configs" / "full.py"))["get_config"](variant)
    assert {name: config.loss[name] for name in LOSSES} == rounds[-1]["weights"]


def test_the_first_round_has_no_weights_and_very_different_pulls(rounds):
    assert set(rounds[0]["weights"].values()) == {1.0}
    norms = rounds[0]["norms"]
    assert max(norms.values()) > 20 * min(norms.values())


def test_with_the_last_weights_all_losses_pull_within_a_factor_of_three(rounds):
    pulls = [rounds[-1]["weights"][name] * rounds[-1]["norms"][name] for name in LOSSES]
    assert max(pulls) < 3 * min(pulls)
