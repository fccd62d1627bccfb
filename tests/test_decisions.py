"""docs/decisions.md names only fields that the config has, with their defaults, and files that there are."""

import re
from pathlib import Path

from ml_collections import ConfigDict

from semcolor_jax.config import default

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs/decisions.md").read_text(encoding="utf-8")


def test_every_field_that_is_named_is_one():
    config = default()
    sections = [name for name, value in config.items() if isinstance(value, ConfigDict)]
    named = re.findall(rf"`(?:config\.)?({'|'.join(sections)})\.(\w+)", TEXT)
    assert len(named) > 20
    assert [f"{section}.{field}" for section, field in named if field not in config[section]] == []


def test_the_defaults_that_are_stated_are_the_configs():
    config = default()
    stated = re.findall(r"`(\w+)\.(\w+)` = ([\d.]+e?-?\d*(?:,\d{3})*)", TEXT)
    assert len(stated) >= 8
    for section, field, value in stated:
        assert config[section][field] == float(value.replace(",", "")), f"{section}.{field}"


def test_every_module_that_is_named_is_there():
    folders = "models|losses|color|data|baselines|training|experiments|semcolor_jax"
    for path in re.findall(rf"`((?:{folders})/[\w/.]*)`", TEXT):
        inside = ROOT if path.startswith(("experiments", "semcolor_jax")) else ROOT / "semcolor_jax"
        assert (inside / path).exists(), path
