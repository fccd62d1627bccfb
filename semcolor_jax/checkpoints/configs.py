"""Reads and writes the `config.json` beside the weights of a work directory or released model."""

from __future__ import annotations

import json
from pathlib import Path

from ml_collections import ConfigDict

from semcolor_jax.baselines.registry import config_from_saved
from semcolor_jax.errors import UserError
from semcolor_jax.files import write_text


def save_config(folder: Path, config: ConfigDict) -> None:
    """Writes FOLDER/config.json."""
    write_text(folder / "config.json", json.dumps(config.to_dict(), indent=2) + "\n")


def load_config(folder: Path) -> ConfigDict:
    """Reads FOLDER/config.json; fields added since it was written get their defaults.

    Raises:
      UserError: there is none, or it is not a config.
    """
    path = folder / "config.json"
    try:
        return parse_config(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(
            f"{folder} is not the work directory of a training: it has no config.json; train with "
            f"`python launch.py --config ... --workdir {folder}` first."
        ) from error
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path} cannot be read as a config: {error}.") from error


def parse_config(text: str) -> ConfigDict:
    """Returns a config written as JSON; fields that it lacks get their defaults.

    Raises:
      ValueError, TypeError, KeyError: it is not a config.
    """
    return config_from_saved(json.loads(text))


def portable(config: ConfigDict) -> ConfigDict:
    """Returns the config without the training machine's folders."""
    config = config.copy_and_resolve_references()
    config.data.dir, config.data.mix, config.data.prior, config.data.source = "", "", "", "embedded"
    config.train.start_from = ""
    return config
