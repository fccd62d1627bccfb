"""Distributes units of work by Apache Beam: on this machine, or on a cluster's engine (Flink, Spark, Dataflow).

Each unit must leave its result in files: every worker sees the same files under the same paths as the process that
starts the pipeline. Beam conflicts with the tested versions of other packages (docs/data.md, "Preparing at scale"), so
it is imported only where it is used.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from semcolor_jax.errors import UserError

Unit = TypeVar("Unit")

Work: TypeAlias = Callable[[Unit], None]
"""Processes one unit and leaves the result in files. Doing so twice, even concurrently, must be harmless."""

SAME_PATHS = "though the engine has done its work: all its workers must see that folder under the same path"
"""The end of messages about missing results."""

_HERE = "FnApiRunner"
"""The runner behind DirectRunner: Beam's own choice would first download a program, Prism."""

_HAVE_OWN_OPTIONS = ("flink", "spark", "portable")
"""Runners with options that only their job server knows."""


def pipeline_options(runner: str, settings: Sequence[str] = ()) -> Any:
    """Returns Beam's `PipelineOptions`.

    Args:
      runner: an engine as Beam calls it, such as "DirectRunner" or "FlinkRunner".
      settings: options of Beam or of the engine, "NAME=VALUE" or "NAME".

    Raises:
      UserError: Beam is not installed, does not know the runner or option, or lacks a package for it.
    """
    options_of = _beam().options.pipeline_options.PipelineOptions
    known = [
        f"--runner={_HERE if runner.lower() in ('direct', 'directrunner') else runner}",
        *(f"--{setting}" for setting in settings),
    ]
    from apache_beam.runners.runner import create_runner  # pyright: ignore[reportMissingImports]

    said = io.StringIO()
    try:
        create_runner(runner)
        with contextlib.redirect_stderr(said):
            options = options_of(known)
            given, understood = (
                options.get_all_options(drop_default=True, retain_unknown_options=unknown) for unknown in (True, False)
            )
    except (ValueError, ImportError, AttributeError) as error:
        raise UserError(f"Beam cannot use the runner {runner} ({error}).") from error
    except SystemExit:  # argparse's; its last line is the message
        what = said.getvalue().strip().rpartition("error: ")[2]
        raise UserError(f"Beam cannot read the options of the runner {runner} ({what}).") from None
    unknown = sorted(given.keys() - understood.keys())
    if unknown and not runner.lower().startswith(_HAVE_OWN_OPTIONS):
        raise UserError(f"Beam and the runner {runner} know no option {', '.join(unknown)}.")
    return options


def share_out(
    units: Sequence[Unit], prepare: Callable[[], Work[Unit]], *, folder: Path, options: Any, runner: Any = None
) -> None:
    """Processes all units on an engine's workers, and returns when they are done.

    A unit that fails with a `UserError` does not stop the others.

    Args:
      units: small picklable values; all of them are part of the pipeline's description.
      prepare: picklable, too; called once per worker process, it returns the function that processes a unit, from
            several threads.
      folder: visible to all workers; its failed.txt gets the message of every failure.
      options: as `pipeline_options` returns them.
      runner: overrides the one in the options: a name, or a Beam object.

    Raises:
      UserError: the first one that a unit raised, with the number of others; Beam is not installed, or the engine
            cannot be reached or lacks an option.
    """
    beam = _beam()
    from apache_beam.utils.shared import Shared  # pyright: ignore[reportMissingImports]

    failed = folder / "failed.txt"
    with contextlib.suppress(FileNotFoundError):
        failed.unlink()
    try:
        pipeline = beam.Pipeline(runner=runner, options=options)
    except ValueError as error:
        raise UserError(f"Beam cannot begin: {' '.join(str(error).split())}") from error
    sentences = (
        pipeline
        | "Units" >> beam.Create(list(units))
        | "Spread" >> beam.Reshuffle()
        | "Work" >> beam.FlatMap(_attempt, prepare, Shared())
    )
    _ = sentences | "Failures" >> beam.io.WriteToText(os.fspath(failed), num_shards=1, shard_name_template="")
    _submit(pipeline).wait_until_finish()
    _raise_first(failed)


def _submit(pipeline: Any) -> Any:
    """Submits the pipeline to its engine. Raises `UserError` if it is refused."""
    name = type(pipeline.runner).__name__
    try:
        return pipeline.run()
    except Exception as error:
        if "Direct" in name or "FnApi" in name:  # these run immediately: their exceptions are not the user's mistakes
            raise
        raise UserError(f"{name} did not take the pipeline ({' '.join(str(error).split())}).") from error


def _attempt(unit: Unit, prepare: Callable[[], Work[Unit]], shared: Any) -> list[str]:
    """Returns the message if the unit fails by the user's mistake, which no engine should retry."""
    try:
        shared.acquire(functools.partial(_prepared, prepare))(unit)
    except UserError as error:
        return [" ".join(str(error).split())]
    return []


def _prepared(prepare: Callable[[], Work[Unit]]) -> Work[Unit]:
    """Returns what `prepare` returns, or a function that fails every unit with its message, without rereading files."""
    try:
        return prepare()
    except UserError as error:
        sentence = str(error)

    def fail(unit: Unit) -> None:
        raise UserError(sentence)

    return fail


def _raise_first(failed: Path) -> None:
    sentences = failed.read_text(encoding="utf-8").splitlines() if failed.exists() else []
    if len(sentences) > 1:
        raise UserError(f"{sentences[0]} ({len(sentences) - 1} more such sentences are in {failed}.)")
    if sentences:
        raise UserError(sentences[0])
    failed.unlink(missing_ok=True)


def _beam() -> Any:
    try:
        import apache_beam  # pyright: ignore[reportMissingImports]
        import apache_beam.options.pipeline_options  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        raise UserError(
            f"Apache Beam is not installed here ({error.name} is missing): it needs an environment of its own, which "
            '`make beam` makes in a checkout (docs/data.md, "Preparing at scale").'
        ) from error
    return apache_beam
