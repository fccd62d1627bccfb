"""What the command lines share: reading a config, and reporting a user's mistake in one sentence with exit code 2."""

from __future__ import annotations

import contextlib
import difflib
import logging
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import absl.logging
from absl import flags
from ml_collections import ConfigDict
from ml_collections.config_flags import config_flags

from semcolor_jax.config import default
from semcolor_jax.errors import UserError


def configure_logging() -> None:
    """Prints our own progress messages as plain lines, and only the warnings of everyone else."""
    absl.logging.set_verbosity(absl.logging.WARNING)
    ours = logging.getLogger("semcolor_jax")
    ours.setLevel(logging.INFO)
    ours.propagate = False
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    ours.handlers = [handler]


@contextlib.contextmanager
def user_errors() -> Iterator[None]:
    """Prints a `UserError` as one sentence and exits with code 2; lets every other exception through."""
    try:
        yield
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


def parse_flags(argv: Sequence[str]) -> list[str]:
    """Parses absl flags, for `app.run(flags_parser=...)`.

    Returns:
      the arguments that are not flags, the program's name first.

    Raises:
      UserError: an unknown flag, config file, config field or value.
    """
    _check_config_file(argv)
    with _explained(argv):
        return flags.FLAGS(list(argv))


def load_config(path: str | None, overrides: Sequence[str], *, program: str) -> ConfigDict:
    """Returns the config of `--config PATH` and overrides such as `--config.data.dir=DIR`, as `launch.py` reads them.

    Args:
      path: a config file, with `:ARG` where it takes one; None for the defaults of `semcolor_jax.config`.
      overrides: the arguments that follow.
      program: what messages call the command line.

    Raises:
      UserError: an unknown config file, config field, value or argument.
    """
    argv = [program, *([] if path is None else [f"--config={path}"]), *overrides]
    _check_config_file(argv)
    values = flags.FlagValues()  # of its own, so that it can be called more than once
    with _explained(argv):
        if path is None:
            holder = config_flags.DEFINE_config_dict("config", default(), flag_values=values, sys_argv=argv)
        else:
            holder = config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=argv)
        _, *unused = values(argv)
    if unused:
        raise UserError(f"There is no use for the argument {unused[0]!r}; see `{program} --help`.")
    return holder.value


def fields(config: ConfigDict, prefix: str = "") -> list[str]:
    """Returns the dotted names of all fields of a config, without the sections themselves."""
    names = []
    for key, value in config.items():
        names += fields(value, f"{prefix}{key}.") if isinstance(value, ConfigDict) else [f"{prefix}{key}"]
    return names


@contextlib.contextmanager
def _explained(argv: Sequence[str]) -> Iterator[None]:
    """Turns what absl and ml_collections raise while they parse `argv` into a `UserError`."""
    try:
        yield
    except (AttributeError, KeyError) as error:
        raise UserError(_explain_field(argv) or f"The config cannot be used: {error}.") from error
    except (flags.Error, config_flags.UnsupportedOperationError, TypeError, ValueError) as error:
        raise UserError(f"{_one_line(error)}; see `{Path(argv[0]).name} --help`.") from error


def _check_config_file(argv: Sequence[str]) -> None:
    path = _config_path(argv)
    if path is not None and not Path(path.split(":")[0]).is_file():
        existing = ", ".join(sorted(str(p) for p in Path("configs").glob("*.py")))
        raise UserError(f"There is no config file {path.split(':')[0]!r}; there are: {existing or 'none here'}.")


def _explain_field(argv: Sequence[str]) -> str | None:
    """Names the first override whose field does not exist, and what exists."""
    path = _config_path(argv)
    known = fields(default() if path is None else config_flags.ConfigFileFlagParser("config").parse(path))
    for argument in argv[1:]:
        match = re.match(r"--?config\.([\w.]+)", argument)
        if match and match.group(1) not in known:
            return f"config has no field {match.group(1)!r}; {_suggest(match.group(1), known)}."
    return None


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
