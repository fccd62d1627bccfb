"""Shared parts of the jobs: the remaining time, the log, and the files to keep."""

from __future__ import annotations

import io
import json
import os
import tarfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from ml_collections import ConfigDict

from accelerator_jobs.held import HeldSource
from accelerator_jobs.parts import write_parts
from semcolor_jax.checkpoints.training_runs import make_workdir
from semcolor_jax.data.example import Source
from semcolor_jax.data.sources import make_source
from semcolor_jax.errors import UserError
from semcolor_jax.files import replacing, write_json

LOG, RESULTS, REPORT, CACHES = "log.txt", "results.json", "report.tar.gz", "caches.tar"
CACHE_FOLDER = "compiled"
T = TypeVar("T")

_LARGE = {CACHE_FOLDER, "checkpoints"}  # folders that are not part of the report


class Session:
    """One job: it began when this was created, and must end within its budget.

    Attributes:
      output: folder to keep: a report (log, results and small files of the work directories), the weights
        in parts, and the compiled programs as one file.
      workdir: folder of everything else.
    """

    def __init__(self, *, output: Path, workdir: Path, budget: float, part_mib: float = 16.0):
        """Makes the folders; `budget` is in seconds from `time.perf_counter() == 0` of this call on.

        Raises:
          UserError: a folder cannot be written.
        """
        self._start = time.perf_counter()
        self.output, self.workdir, self.budget, self._part_mib = output, workdir, budget, part_mib
        for folder in (output, workdir):
            make_workdir(folder)
        self._results: dict[str, Any] = {}
        self._sources: dict[str, tuple[Source, Source]] = {}

    @property
    def elapsed(self) -> float:
        """Seconds since the session began."""
        return time.perf_counter() - self._start

    @property
    def remaining(self) -> float:
        """Seconds of the budget that are left; negative beyond it."""
        return self.budget - self.elapsed

    def log(self, text: str) -> None:
        """Prints a line and appends it to WORKDIR/log.txt, with the seconds since the start."""
        line = f"[{self.elapsed:7.1f} s] {text}"
        print(line, flush=True)
        with (self.workdir / LOG).open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def sources(self, config: ConfigDict) -> tuple[Source, Source]:
        """Returns the config's photos, for training and validation; each is decoded once per session.

        Raises:
          UserError: a mistake in the config or the data.
        """
        data = config.data
        key = json.dumps([data.source, data.dir, data.mix, data.min_chroma])
        if key not in self._sources:
            begin = self.elapsed
            train, val = make_source(config, "train"), make_source(config, "val")
            self._sources[key] = HeldSource(train), val
            self.log(f"decoded {len(train)} photos in {self.elapsed - begin:.1f} s")
        return self._sources[key]

    def record(self, name: str, result: Any) -> None:
        """Keeps a result under its name and writes all results so far."""
        self._results[name] = result
        write_json(self.workdir / RESULTS, self._results)
        self.save_report()

    def save_weights(
        self, variables: Mapping[str, Any], *, config: ConfigDict, facts: Mapping[str, Any], folder: Path | None = None
    ) -> None:
        """Writes weights as parts over the last ones, into `output` or another folder, and the report as it stands."""
        files = write_parts(folder or self.output, variables, config=config, facts=facts, part_mib=self._part_mib)
        size = sum(path.stat().st_size for path in files) / 2**20
        self.log(f"saved {size:.1f} MiB of weights in {len(files)} parts: {json.dumps(dict(facts))}")
        self.save_report()

    def save_report(self) -> None:
        """Writes every small text file of the work directory into one archive."""
        small = [
            path
            for path in sorted(self.workdir.rglob("*"))
            if path.suffix in (".txt", ".json", ".jsonl", ".md")
            and _LARGE.isdisjoint(path.relative_to(self.workdir).parts)
        ]
        _write_tar(self.output / REPORT, small, root=self.workdir, mode="w:gz")

    def restore_caches(self, archive: Path | None) -> Path:
        """Returns the folder of compiled programs, filled from the archive of an earlier session if there is one.

        Raises:
          UserError: the archive cannot be read.
        """
        folder = self.workdir / CACHE_FOLDER
        folder.mkdir(exist_ok=True)
        if archive:
            try:
                with tarfile.open(archive) as tar:
                    tar.extractall(folder, filter="data")
            except (OSError, tarfile.TarError) as error:
                raise UserError(f"cannot read the compiled programs in {archive}: {error}.") from error
        return folder

    def save_caches(self) -> None:
        """Writes compiled programs and the compiler's measurements as one file, no larger than a part of the weights.

        The compiler's measurements come first, then the programs, those written last before the others.
        """
        folder = self.workdir / CACHE_FOLDER
        files = [path for path in folder.rglob("*") if path.is_file()]
        files.sort(key=lambda path: (path.parent == folder, -path.stat().st_mtime))
        ends = np.cumsum([_size_in_tar(path) for path in files])
        kept = files[: int(np.searchsorted(ends, self._part_mib * 2**20 - tarfile.RECORDSIZE, side="right"))]
        _write_tar(self.output / CACHES, kept, root=folder, mode="w")
        size = (self.output / CACHES).stat().st_size / 2**20
        self.log(f"kept {len(kept)} of {len(files)} compiled programs and measurements, {size:.1f} MiB")


class Pace:
    """Times the runs of a job, so that none is begun that would not be done in time, by the slowest so far."""

    def __init__(self, session: Session, *, times: float = 1.0, reserve: float = 0.0):
        """A run is begun if more than `times` what the slowest one took is left, beside `reserve` seconds."""
        self._session, self._times, self._reserve = session, times, reserve
        self._slowest = 0.0

    def allows(self, title: str) -> bool:
        """Whether to begin a run; if not, the log says why."""
        allowed = self._session.remaining - self._reserve >= self._times * self._slowest
        if not allowed:
            left = self._session.remaining
            self._session.log(f"{title}: not begun, for {left:.0f} s are left and one took {self._slowest:.0f} s")
        return allowed

    def timed(self, run: Callable[[], T]) -> T:
        """Returns what the run returns."""
        begin = self._session.elapsed
        result = run()
        self._slowest = max(self._slowest, self._session.elapsed - begin)
        return result


def _size_in_tar(path: Path) -> int:
    """Returns the bytes that a file takes in an archive: headers, of long names too, and whole blocks."""
    return 4 * tarfile.BLOCKSIZE + -(-path.stat().st_size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def _write_tar(path: Path, files: list[Path], *, root: Path, mode: str) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:  # pyright: ignore[reportCallIssue, reportArgumentType]
        for file in files:
            tar.add(file, arcname=os.fspath(file.relative_to(root)))
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getvalue())
