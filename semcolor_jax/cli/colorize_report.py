"""Reports the progress and results of `colorize`: results on stdout, everything else on stderr."""

from __future__ import annotations

import collections
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from semcolor_jax.inference.photo_files import Outcome

_SHOWN = 3  # names of skipped files
_RED, _PLAIN = "\033[31m", "\033[0m"


class Reporter:
    """A progress bar on a terminal, or one line per photo elsewhere; failures at once and again at the end.

    Args:
      json_lines: print one JSON object per photo on stdout instead of the path of each result.
    """

    def __init__(self, *, json_lines: bool = False):
        self._json = json_lines
        self._terminal = sys.stderr.isatty()
        self._color = self._terminal and not os.environ.get("NO_COLOR")
        self._bar: Any = None
        self._counts: collections.Counter[str] = collections.Counter()
        self._failures: list[str] = []
        self._total = 0

    def start(self, total: int) -> None:
        """Announces the number of photos."""
        self._total = total
        if self._terminal and total > 1:
            from tqdm import tqdm

            self._bar = tqdm(total=total, unit="photo", file=sys.stderr)

    def show(self, outcome: Outcome) -> None:
        """Reports the outcome for a photo."""
        job = outcome.job
        notes = "".join(f"; it {note}" for note in outcome.notes)
        if outcome.status == "failed":
            self._fail(outcome.reason)
        elif outcome.status == "skipped":
            self._line(f"skipped {job.name}: it {' and '.join(outcome.notes)}", always=False)
        else:
            self._line(f"coloured {job.name} ({outcome.seconds:.1f} s){notes}", always=bool(outcome.notes))
        self._count(outcome.status)
        self._result(outcome.status, job.name, job.target, reason=outcome.reason, notes=outcome.notes)

    def refused(self, source: Path, reason: str) -> None:
        """Reports a file that cannot be coloured."""
        self._fail(reason)
        self._count("failed")
        self._result("failed", os.fspath(source), None, reason=reason, notes=())

    def passed_over(self, files: Sequence[Path]) -> None:
        """Reports files in folders that are not photos."""
        if files:
            shown = ", ".join(os.fspath(file) for file in files[:_SHOWN])
            more = ", ..." if len(files) > _SHOWN else ""
            self._line(f"passed over {len(files)} that are no photos: {shown}{more}", always=True)

    def counts(self) -> str:
        """Returns the counts in the form of the summary."""
        return ", ".join(f"{self._counts[status]} {status}" for status in ("coloured", "skipped", "failed"))

    def summary(self) -> bool:
        """Prints the counts and the failures; returns whether any failed."""
        self.close()
        if self._total > 1 or self._failures:
            print(f"{self.counts()}.", file=sys.stderr)
        if self._total > 1:
            for reason in self._failures:
                print(f"  {reason}", file=sys.stderr)
        return bool(self._failures)

    def close(self) -> None:
        """Ends the progress bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _fail(self, reason: str) -> None:
        self._failures.append(reason)
        red, plain = (_RED, _PLAIN) if self._color else ("", "")
        self._line(f"{red}failed{plain}: {reason}", always=True)

    def _line(self, text: str, *, always: bool) -> None:
        if self._bar is None:
            print(text, file=sys.stderr)
        elif always:
            self._bar.write(text, file=sys.stderr)

    def _count(self, status: str) -> None:
        self._counts[status] += 1
        if self._bar is not None:
            self._bar.update()

    def _result(self, status: str, source: str, target: Path | None, *, reason: str, notes: Sequence[str]) -> None:
        if self._json:
            entry = {"photo": source, "status": status, "output": target and os.fspath(target), "notes": list(notes)}
            text = json.dumps(entry | ({"reason": reason} if reason else {}))
        elif status == "coloured":
            text = os.fspath(target) if target else ""
        else:
            return
        if self._bar is not None and sys.stdout.isatty():
            self._bar.write(text, file=sys.stdout)
        else:
            print(text, flush=True)
