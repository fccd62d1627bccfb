"""docs/decisions.md names every field that shapes the paper's training, every equation, and only what is there."""

import re
from pathlib import Path

from ml_collections import ConfigDict

from semcolor_jax.config import CHOICES, default

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs/decisions.md").read_text(encoding="utf-8")
LAST_EQUATION = 24

NOT_THE_PAPERS = {
    # where data and weights lie, what is kept and logged, how the hardware is used
    *("data.source", "data.dir", "data.mix", "data.cache", "data.prior", "data.require_labels"),
    *("model.method", "model.dtype", "loss.heads", "train.remat"),
    *("parallel.fsdp", "parallel.fsdp_smallest", "train.max_skipped"),
    *("train.log_every_steps", "train.checkpoint_every_steps", "train.keep_checkpoints", "train.grid_samples"),
    *("train.encoder_weights", "train.start_from", "train.best_mode", "train.before_after"),
    # other schedules than the paper's
    *(f"schedule.steps_{name}" for name in ("rate", "factor", "at", "total")),
    *(f"schedule.horizon_{name}" for name in ("warmup", "stage1", "cycles")),
}
"""Fields that change nothing of the paper's training as configs/full.py has it."""


def _fields() -> set[str]:
    sections = {name: section for name, section in default().items() if isinstance(section, ConfigDict)}
    return {f"{name}.{field}" for name, section in sections.items() for field in section.keys()}  # noqa: SIM118


def _named() -> set[str]:
    """Returns the fields that are named; `section.*` names all of a section."""
    sections = "|".join({field.partition(".")[0] for field in _fields()})
    named = set(re.findall(rf"`(?:config\.)?((?:{sections})\.\w+)", TEXT))
    for section in re.findall(rf"`({sections})\.\*`", TEXT):
        named |= {field for field in _fields() if field.startswith(f"{section}.")}
    return named


def test_every_field_that_is_named_is_one():
    assert len(_named()) > 20
    assert _named() - _fields() == set()


def test_every_field_that_shapes_the_papers_training_is_named():
    assert _fields() >= NOT_THE_PAPERS
    assert _fields() - NOT_THE_PAPERS - _named() == set()


def test_every_equation_is_named():
    named = set()
    for first, last in re.findall(r"\beqs?\. (\d+)(?: (?:to|and) (\d+))?", TEXT):
        named |= set(range(int(first), int(last or first) + 1))
    assert named == set(range(1, LAST_EQUATION + 1))


def test_the_defaults_that_are_stated_are_the_configs():
    config = default()
    stated = re.findall(r"`(\w+)\.(\w+)` = ([\d.]+e?-?\d*(?:,\d{3})*)", TEXT)
    assert len(stated) >= 25
    for section, field, value in stated:
        assert config[section][field] == float(value.rstrip(".").replace(",", "")), f"{section}.{field}"
    named = re.findall(r'`(\w+)\.(\w+)` = "(\w+)"', TEXT)
    assert len(named) >= 5
    for section, field, name in named:
        assert config[section][field] == name, f"{section}.{field}"


def test_the_choices_that_are_stated_are_the_configs():
    stated = re.findall(r'`(\w+\.\w+)="(\w+)"', TEXT)
    assert stated
    for field, name in stated:
        assert name in CHOICES[field], field


def test_every_module_that_is_named_is_there():
    packages = sorted(path.name for path in (ROOT / "semcolor_jax").iterdir() if path.is_dir())
    at_root = ("experiments", "semcolor_jax", "configs", "docs", "tests")
    named = re.findall(rf"`((?:{'|'.join((*packages, *at_root))})/[\w/.-]*)`", TEXT)
    assert len(named) > 20
    for path in named:
        inside = ROOT if path.startswith(at_root) else ROOT / "semcolor_jax"
        assert (inside / path).exists(), path
