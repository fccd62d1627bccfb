"""The argument parser and the argument types that all commands share."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` with one-sentence errors, no abbreviated flags, and examples printed as they are.

    Subparsers made of it are of this class, too.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        defaults = dict(allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter)
        super().__init__(*args, **(defaults | kwargs))

    def error(self, message: str) -> NoReturn:
        """Exits with code 2 and one sentence, without the usage."""
        self.exit(2, f"error: {message}; see `{self.prog} --help`.\n")


def add_command(commands: Any, name: str, *, help: str, example: str) -> Parser:
    """Adds a command with a sentence, its arguments and an example as `--help`; returns its parser."""
    sentence = help[0].upper() + help[1:] + "."
    return commands.add_parser(name, help=help, description=sentence, epilog=f"example:\n  {example}")


def add_config(parser: argparse.ArgumentParser) -> None:
    """Adds `--config`; its fields, `--config.data.dir=DIR`, remain as the parser's unknown arguments."""
    parser.add_argument(
        "--config",
        metavar="NAME[:ARG]",
        help="the experiment: one of configs/ by its name, or a file; set its fields as --config.data.dir=DIR",
    )


def add_checkpoint(parser: argparse.ArgumentParser, *, default: str | None = "best", help: str = "%(default)s") -> None:
    """Adds `--checkpoint`, which selects one of a training's checkpoints."""
    parser.add_argument(
        "--checkpoint",
        metavar="best|latest|STEP",
        default=default,
        help=f"of a training: the best by its validation, the newest, or that of a step (default: {help})",
    )


def path(text: str) -> Path:
    """Returns the path, `~` expanded: shells leave it alone in --flag=~/folder."""
    return Path(text).expanduser()


def model(text: str) -> str:
    """Returns the name of a model as it is, or its path with `~` expanded."""
    return os.path.expanduser(text)


def positive_int(text: str) -> int:
    """Returns a whole number of at least 1. Raises ValueError for anything else."""
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def positive_float(text: str) -> float:
    """Returns a number above 0. Raises ValueError for anything else."""
    value = float(text)
    if not value > 0:
        raise ValueError
    return value


positive_int.__name__ = "positive int"  # argparse names the type in its message
positive_float.__name__ = "positive float"
