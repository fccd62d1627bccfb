"""Puts the results of `accelerator.py ablation` and `comparison`, of any number of sessions, side by side.

python experiments/accelerator_report.py RESULTS.json [RESULTS.json ...] --output ablation.json

Several runs of a method, which differ in their seed, count as one by their mean. Every method is compared with the
first one set by set, because sets differ far more than methods do. The output file has all runs; the `.md` beside it
has both tables, and the `.png` the cumulative histograms of ab distances (Fig. 12).
"""

from __future__ import annotations

import argparse
import collections
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from paper_report.curves import draw_curves

from semcolor_jax.cli import exits
from semcolor_jax.errors import UserError
from semcolor_jax.evaluation import table_text
from semcolor_jax.files import read_json, write_json
from semcolor_jax.metrics.error_histogram import MAX_ERROR, THRESHOLDS
from semcolor_jax.photos.files import write_image

JOBS = ("ablation", "comparison")
BRANCHES = {"soft": "annealed mean", "reg": "regression"}
METRICS = {"psnr_gain": "PSNR above grey (dB)", "ab_share": "ab distance, of grey's", "colour_share": "colourfulness"}

Run = Mapping[str, Any]
"""What a job of accelerator.py records for one method and seed."""


def gather(files: Sequence[Path]) -> dict[str, dict[str, Run]]:
    """Returns the runs by method and seed.

    Raises:
      UserError: a file cannot be read or has no such results; or two runs of one method and seed differ.
    """
    runs: dict[str, dict[str, Run]] = collections.defaultdict(dict)
    for path in files:
        results = read_json(path)
        cases = {title: run for job in JOBS for title, run in results.get(job, {}).items()}
        if not cases:
            raise UserError(f"{path} has no results of {' or '.join(JOBS)}.")
        for title, run in cases.items():
            method, _, seed = title.rpartition(", seed ")
            if runs[method].setdefault(seed, run) != run:
                raise UserError(f"{path} has another run of {title} than the files before it: name one of them.")
    return dict(runs)


def mean_table(runs: Mapping[str, Mapping[str, Run]]) -> str:
    """Returns in Markdown each method's means over the sets: mean and standard deviation over the seeds."""
    rows = []
    for method, of_method in runs.items():
        for branch, title in _branches(of_method).items():
            cells = [_spread([run["mean"][branch][metric] for run in of_method.values()], 3) for metric in METRICS]
            areas = _spread([_area(run["curves"][branch]) for run in of_method.values()], 4)
            rows.append([method, title, *cells, areas, str(len(of_method))])
    return table_text.markdown(["method", "colours by", *METRICS.values(), "AUC", "runs"], rows)


def difference_table(runs: Mapping[str, Mapping[str, Run]]) -> str:
    """Returns in Markdown how far each method is above the first one, in dB of PSNR over the sets."""
    first, *others = runs
    rows = []
    for method in others:
        for branch, title in _branches(runs[method]).items():
            if branch not in _branches(runs[first]):
                continue
            sets = _gains(runs[first], branch).keys() & _gains(runs[method], branch).keys()
            gains = [_gains(runs[method], branch)[name] - _gains(runs[first], branch)[name] for name in sorted(sets)]
            error = statistics.stdev(gains) / math.sqrt(len(gains)) if len(gains) > 1 else math.nan
            better = sum(gain > 0 for gain in gains)
            rows.append([method, title, f"{statistics.fmean(gains):+.3f} ± {error:.3f}", f"{better} of {len(gains)}"])
    return table_text.markdown(["method", "colours by", f"dB above {first}", "better on"], rows)


def figure(runs: Mapping[str, Mapping[str, Run]]) -> np.ndarray:
    """Draws Fig. 12: a curve for each method, by its annealed mean where it has one; and the grey copy's."""
    curves = {"grey copy": np.mean([run["curves"]["grey"] for of in runs.values() for run in of.values()], axis=0)}
    for method, of_method in runs.items():
        branch = next(iter(_branches(of_method)))
        curves[method] = np.mean([run["curves"][branch] for run in of_method.values()], axis=0)
    return draw_curves({"validation photos": curves})


def report(runs: Mapping[str, Mapping[str, Run]]) -> str:
    """Returns both tables with what their numbers are."""
    of_all = [run for of_method in runs.values() for run in of_method.values()]
    images, photos = (" or ".join(map(str, sorted({run[of] for run in of_all}))) for of in ("images", "photos"))
    sets = len(of_all[0]["sets"])
    paragraphs = [
        f"{images} crops a run; {photos} validation photos of {sets} sets, every set counting alike.\n"
        "After the sign: the standard deviation over the runs, which differ in their seed. AUC: of all pixels.",
        mean_table(runs),
        "Set by set against the first method; after the sign: the standard error of the mean over the sets.",
        difference_table(runs),
    ]
    return "\n\n".join(paragraphs) + "\n"


def _branches(runs: Mapping[str, Run]) -> dict[str, str]:
    mean = next(iter(runs.values()))["mean"]
    return {branch: title for branch, title in BRANCHES.items() if branch in mean}


def _gains(runs: Mapping[str, Run], branch: str) -> dict[str, float]:
    names = next(iter(runs.values()))["sets"]
    return {name: statistics.fmean(run["sets"][name][branch]["psnr_gain"] for run in runs.values()) for name in names}


def _area(curve: Sequence[float]) -> float:
    return float(np.trapezoid(curve, THRESHOLDS) / MAX_ERROR)


def _spread(values: Sequence[float], digits: int) -> str:
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.{digits}f}{spread}"


def main(argv: Sequence[str] | None = None) -> None:
    """Writes record, tables and figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "results", nargs="+", type=Path, metavar="RESULTS.json", help="of accelerator.py's work folders"
    )
    parser.add_argument("--output", type=Path, required=True, help="the record; tables and figure get its name")
    options = parser.parse_args(argv)
    with exits.user_errors():
        runs = gather(options.results)
        write_json(options.output, runs)
        options.output.with_suffix(".md").write_text(report(runs), encoding="utf-8")
        write_image(options.output.with_suffix(".png"), figure(runs))
        print(report(runs))


if __name__ == "__main__":
    main()
