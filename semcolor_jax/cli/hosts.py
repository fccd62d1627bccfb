"""Joins the processes of one training on several hosts: `semcolor train --distributed`."""

from __future__ import annotations

import argparse
import logging

from semcolor_jax.cli.arguments import positive_int
from semcolor_jax.errors import UserError

logger = logging.getLogger(__name__)


def add_hosts(parser: argparse.ArgumentParser) -> None:
    """Adds the flags for training on several hosts."""
    group = parser.add_argument_group("many hosts (docs/scaling.md)")
    group.add_argument(
        "--distributed",
        action="store_true",
        help="train with the other processes of this SLURM, Kubernetes or Open MPI job, which JAX finds itself",
    )
    group.add_argument("--coordinator", metavar="HOST:PORT", help="elsewhere: an address of the first process")
    group.add_argument("--process-count", type=positive_int, metavar="N", help="how many processes there are")
    group.add_argument("--process-id", type=int, metavar="I", help="which of them this is, from 0 on")


def join_from(arguments: argparse.Namespace) -> None:
    """Joins the hosts that the flags of `add_hosts` name; does nothing without flags.

    Call it before JAX looks for devices.

    Raises:
      UserError: the flags conflict, or the others are not found.
    """
    given = [arguments.coordinator, arguments.process_count, arguments.process_id]
    if arguments.distributed and given == [None] * 3:
        join_hosts()
    elif arguments.distributed or (None in given and given != [None] * 3):
        raise UserError("Give either --distributed, or all of --coordinator, --process-count and --process-id.")
    elif arguments.coordinator:
        join_hosts(arguments.coordinator, process_count=arguments.process_count, process_id=arguments.process_id)


def join_hosts(
    coordinator: str | None = None, *, process_count: int | None = None, process_id: int | None = None
) -> None:
    """Joins the other processes; only the first one logs progress from then on.

    Args:
      coordinator: HOST:PORT of the first process; None for all three: JAX finds them in the environment.
      process_count: over all hosts.
      process_id: this process's, from 0 on.

    Raises:
      UserError: the others are not found.
    """
    import jax

    try:
        jax.distributed.initialize(coordinator, num_processes=process_count, process_id=process_id)
    except (ValueError, TypeError, RuntimeError) as error:
        reason = " ".join(str(error).split()).rstrip(".")
        hint = "name them with --coordinator, --process-count and --process-id" if coordinator is None else "check them"
        raise UserError(f"This process cannot join the others ({reason}): {hint}.") from error
    if jax.process_index() != 0:
        logging.getLogger("semcolor_jax").setLevel(logging.WARNING)
    logger.info("%d processes train together on %d devices", jax.process_count(), jax.device_count())
