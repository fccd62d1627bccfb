"""The program `semcolor`: its commands, and what all of them share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence

from semcolor_jax import __version__
from semcolor_jax.cli import (
    colorize_command,
    data_commands,
    model_commands,
    score_commands,
    train_commands,
    video_command,
    web_commands,
)
from semcolor_jax.cli.arguments import Parser
from semcolor_jax.cli.devices import check_devices
from semcolor_jax.cli.exits import user_errors
from semcolor_jax.cli.flags import configure_logging
from semcolor_jax.cli.hosts import join_from

_EXAMPLES = """examples:
  semcolor colorize old/ -o coloured/
  semcolor train --config quickstart
  semcolor COMMAND --help"""


def build_parser(program: str = "semcolor") -> Parser:
    """Returns the parser of all commands; importing and building it loads nothing heavy."""
    summary = "Colours black-and-white photos; trains and measures networks that do."
    parser = Parser(prog=program, description=summary, epilog=_EXAMPLES)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    colorize_command.add_parser(commands)
    commands.choices["colorize"].set_defaults(run=colorize_command.run)
    video_command.add_parser(commands)
    train_commands.add_parsers(commands)
    score_commands.add_parser(commands)
    data_commands.add_parsers(commands)
    model_commands.add_parsers(commands)
    web_commands.add_parser(commands)
    for leaf in leaves(parser):
        leaf.add_argument("--debug", action="store_true", help="show where an error comes from")
    return parser


def leaves(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yields the parsers of the commands themselves, without the groups above them."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not groups:
        yield parser
    for group in groups:
        for child in group.choices.values():
            yield from leaves(child)


def main(argv: Sequence[str] | None = None, *, program: str = "semcolor") -> None:
    """Runs one command; `cli.exits` says how errors end it.

    A command is a function `run(arguments)`, or `run(arguments, overrides)` if it has a config. It imports heavy
    modules itself, when its arguments have been checked.
    """
    parser = build_parser(program)
    arguments, overrides = parser.parse_known_args(argv)
    takes_config = "config" in arguments
    if overrides and not takes_config:
        parser.error(f"unrecognized arguments: {' '.join(overrides)}")
    configure_logging()
    with user_errors(debug=arguments.debug):
        if "coordinator" in arguments:
            join_from(arguments)
        check_devices()
        if takes_config:
            arguments.run(arguments, overrides)
        else:
            arguments.run(arguments)


if __name__ == "__main__":
    main(sys.argv[1:])
