"""Shared code of the long runs: reads a process's memory, and tests whether a series of values is flat."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

FLAT = 0.01
"""Largest relative growth of the memory."""


def resident_mb(process: int | str = "self") -> float:
    """Returns the resident memory of a process, in MB of 10^6 bytes. Linux only."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def summary(megabytes: Sequence[float], *, unit: str = "steps", per: int = 1000) -> dict[str, Any]:
    """Returns whether memory, recorded once per unit (a step, a minute), grew.

    The first fifth is left out: caches fill, and every program is compiled by then. Flat means that the medians of the
    second and the last fifth differ by less than `FLAT`. Both are given, what a least-squares line through all but the
    first fifth adds in `per` units, how many values there are (by the name of the unit), and fifty to a hundred of them
    (all, if there are fewer).
    """
    fifth = len(megabytes) // 5
    after = np.asarray(megabytes[fifth:])
    early, late = float(np.median(after[:fifth])), float(np.median(after[-fifth:]))
    slope = np.polyfit(np.arange(len(after)) / per, after, 1)[0]
    return {
        unit: len(megabytes),
        "second_fifth_mb": round(early, 1),
        "last_fifth_mb": round(late, 1),
        f"mb_per_{per}_{unit}": round(float(slope), 2),
        "flat": bool(late < (1 + FLAT) * early),
        "megabytes": [round(value, 1) for value in megabytes[:: max(1, len(megabytes) // 50)]],
    }
