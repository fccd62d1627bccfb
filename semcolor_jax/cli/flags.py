"""Reads a config from the command line and reports each mistake in one sentence."""

from __future__ import annotations

import contextlib
import difflib
import logging
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import absl.logging
from absl import flags
from ml_collections import ConfigDict
from ml_collections.config_flags import config_flags

from semcolor_jax.baselines.registry import find_method, method_names
from semcolor_jax.cli.exits import user_errors as user_errors
from semcolor_jax.config import default
from semcolor_jax.errors import UserError

_PACKAGE = Path(__file__).parents[1]
CONFIGS = next((folder for folder in (_PACKAGE / "configs", _PACKAGE.parent / "configs") if folder.is_dir()), None)
"""The folder of the experiments: inside an installed package, or beside it in a checkout."""

_PATHS = ("data.dir", "data.prior", "train.start_from")


def configure_logging() -> None:
    """Prints our own progress messages as plain lines, and only warnings from everyone else."""
    absl.logging.set_verbosity(absl.logging.WARNING)
    ours = logging.getLogger("semcolor_jax")
    ours.setLevel(logging.INFO)
    ours.propagate = False
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    ours.handlers = [handler]


def parse_flags(argv: Sequence[str]) -> list[str]:
    """Parses absl flags, for `app.run(flags_parser=...)`.

    Returns:
      the arguments that are not flags, the program's name first.

    Raises:
      UserError: an unknown flag, config file, config field or value.
    """
    path = _config_path(argv)
    if path is not None:
        find_config(path)
    with _explained(argv):
        return flags.FLAGS(list(argv))


def load_config(
    config: str | None, overrides: Sequence[str], *, program: str, base: ConfigDict | None = None
) -> ConfigDict:
    """Returns the config of `--config NAME` and of overrides such as `--config.data.dir=DIR`; paths have `~` expanded.

    Args:
      config: a name (`full`) or a file (`configs/full.py`), with `:ARG` where it takes one; None for `base`.
      overrides: the arguments that follow.
      program: the command line's name in messages.
      base: the config to override without `config`; None for the defaults of `semcolor_jax.config`.

    Raises:
      UserError: an unknown config, config field, value or argument.
    """
    file = None if config is None else find_config(config)
    argv = [program, *([] if file is None else [f"--config={file}"]), *overrides]
    values = flags.FlagValues()  # its own, so that it can be called more than once
    with _explained(argv, base=base):
        if file is None:
            start = default() if base is None else base
            holder = config_flags.DEFINE_config_dict("config", start, flag_values=values, sys_argv=argv)
        else:
            holder = config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=argv)
        _, *unused = values(argv)
    if unused:
        raise UserError(f"There is no use for the argument {unused[0]!r}; see `{program} --help`.")
    _expand_user(holder.value)
    return holder.value


def find_config(config: str) -> str:
    """Returns the file of `NAME[:ARG]` or `FILE[:ARG]`, with the `:ARG`.

    Raises:
      UserError: there is no such config; the message lists those that exist.
    """
    name, colon, argument = config.partition(":")
    file = Path(name).expanduser()
    if not file.suffix and CONFIGS is not None and (CONFIGS / f"{name}.py").is_file():
        file = CONFIGS / f"{name}.py"
    if not file.is_file():
        existing = ", ".join(sorted(path.stem for path in CONFIGS.glob("[!_]*.py"))) if CONFIGS else ""
        raise UserError(f"There is no config {name!r}; give a file, or one of: {existing or 'none here'}.")
    return f"{file}{colon}{argument}"


def default_workdir(config: str) -> Path:
    """Returns a training's default work directory: runs/full for `full`, runs/full-regsoft for `full:regsoft`."""
    name, _, argument = config.partition(":")
    words = [Path(name).stem, *re.findall(r"[\w.]+", argument)]
    return Path("runs", "-".join(words))


def fields(config: ConfigDict, prefix: str = "") -> list[str]:
    """Returns the dotted names of all config fields, without the sections themselves."""
    names = []
    for key, value in config.items():
        names += fields(value, f"{prefix}{key}.") if isinstance(value, ConfigDict) else [f"{prefix}{key}"]
    return names


@contextlib.contextmanager
def _explained(argv: Sequence[str], *, base: ConfigDict | None = None) -> Iterator[None]:
    """Turns the exceptions of absl and ml_collections while parsing `argv` into a `UserError`."""
    try:
        yield
    except (AttributeError, KeyError) as error:
        raise UserError(_explain_field(argv, base=base) or f"The config cannot be used: {error}.") from error
    except (flags.Error, config_flags.UnsupportedOperationError, TypeError, ValueError) as error:
        raise UserError(f"{_one_line(error)}; see `{Path(argv[0]).name} --help`.") from error


def _expand_user(config: ConfigDict) -> None:
    for field in _PATHS:
        section, name = field.split(".")
        config[section][name] = os.path.expanduser(config[section][name])
    # SOURCE[:DIR][=WEIGHT],...
    config.data.mix = re.sub(r"(?<=:)~[^=,]*", lambda match: os.path.expanduser(match[0]), config.data.mix)


def _explain_field(argv: Sequence[str], *, base: ConfigDict | None) -> str | None:
    """Names the first override of an unknown field, and the fields that exist."""
    path = _config_path(argv)
    start = default() if base is None else base
    known = fields(start if path is None else config_flags.ConfigFileFlagParser("config").parse(path))
    for argument in argv[1:]:
        match = re.match(r"--?config\.([\w.]+)", argument)
        if match and match.group(1) not in known:
            name = match.group(1)
            return f"config has no field {name!r}; {_owners(name) or _suggest(name, known)}."
    return None


def _owners(name: str) -> str:
    """Names the methods that have the field, which only their configs contain; "" if none has."""
    section, _, field = name.partition(".")
    owners = [method for method in method_names() if field in find_method(method).fields.get(section, {})]
    return f"it belongs to {', '.join(owners)}: begin with --config {owners[0]}" if owners else ""


def _suggest(name: str, known: Sequence[str]) -> str:
    section = name.rpartition(".")[0]
    siblings = [field for field in known if field.rpartition(".")[0] == section]
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    where = f"config.{section}" if siblings and section else "config"
    return f"{hint}{where} has: {', '.join(siblings or known)}"


def _config_path(argv: Sequence[str]) -> str | None:
    for position, argument in enumerate(argv):
        match = re.match(r"--?config(?:=(.*))?$", argument)
        if match:
            return match.group(1) or (argv[position + 1] if position + 1 < len(argv) else None)
    return None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
