"""Units of work shared out by Apache Beam: on this machine, or on a cluster's engine (Flink, Spark, Dataflow).

What is done must leave its result in files: every worker sees the same files under the same paths as the process that
starts the pipeline. Beam does not install beside the tested versions of everything else (docs/data.md, "Preparing at
scale"), so it is imported only where it is used.
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
"""Does one unit and leaves the result in files. Doing a unit twice, even at the same time, must be harmless."""

SAME_PATHS = "though the engine has done its work: all its workers must see that folder under the same path"
"""The end of what is said where results are missing."""

_HERE = "FnApiRunner"
"""What runs a pipeline as DirectRunner: Beam would first download a program, Prism, to do it with."""

_HAVE_OWN_OPTIONS = ("flink", "spark", "portable")
"""Runners whose job server knows options that Beam itself does not."""


def pipeline_options(runner: str, settings: Sequence[str] = ()) -> Any:
    """Returns Beam's `PipelineOptions`.

    Args:
      runner: an engine as Beam calls it, such as "DirectRunner" or "FlinkRunner".
      settings: options of Beam or of the engine, "NAME=VALUE" or "NAME".

    Raises:
      UserError: Beam is not installed, or knows no such runner or option, or lacks a package for it.
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
    except SystemExit:  # argparse's, whose last line is the sentence
        what = said.getvalue().strip().rpartition("error: ")[2]
        raise UserError(f"Beam cannot read the options of the runner {runner} ({what}).") from None
    unknown = sorted(given.keys() - understood.keys())
    if unknown and not runner.lower().startswith(_HAVE_OWN_OPTIONS):
        raise UserError(f"Beam and the runner {runner} know no option {', '.join(unknown)}.")
    return options


def share_out(
    units: Sequence[Unit], prepare: Callable[[], Work[Unit]], *, folder: Path, options: Any, runner: Any = None
) -> None:
    """Does every unit on the workers of an engine, and returns when all are done.

    A unit that fails by a `UserError` does not keep the others from being done.

    Args:
      units: small things that pickle; all of them travel inside the pipeline's description.
      prepare: pickles, too; called once in each worker process, it returns what does a unit, from several threads.
      folder: of files that all workers see; failed.txt in it gets the sentence of every failure.
      options: as `pipeline_options` returns them.
      runner: in place of the one in the options: a name, or an object of Beam's.

    Raises:
      UserError: the first of those that the units raised, with the number of the others; Beam is not installed, or the
        engine cannot be reached or misses an option.
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
    """Gives the pipeline to its engine. Raises `UserError` if that does not take it."""
    name = type(pipeline.runner).__name__
    try:
        return pipeline.run()
    except Exception as error:
        if "Direct" in name or "FnApi" in name:  # these do the work at once: what is raised is no mistake of the user's
            raise
        raise UserError(f"{name} did not take the pipeline ({' '.join(str(error).split())}).") from error


def _attempt(unit: Unit, prepare: Callable[[], Work[Unit]], shared: Any) -> list[str]:
    """Returns the sentence if the unit fails by a mistake of the user's, which no engine should try again."""
    try:
        shared.acquire(functools.partial(_prepared, prepare))(unit)
    except UserError as error:
        return [" ".join(str(error).split())]
    return []


def _prepared(prepare: Callable[[], Work[Unit]]) -> Work[Unit]:
    """Returns what `prepare` does, or what fails every unit with its sentence: a file is not read again for each."""
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
            "`make beam` makes in a checkout; elsewhere run `pip install 'semcolor-jax[train,beam]'` in an empty one."
        ) from error
    return apache_beam
