"""Puts the results of `accelerator.py ablation` and `comparison`, of any number of sessions, side by side.

python experiments/accelerator_report.py RESULTS.json [RESULTS.json ...] --output ablation.json

RESULTS is what the jobs leave in their work folder, or a record that this script has written. Several runs of a method,
which differ in their seed, count as one by their mean. Every method is compared with the first one set by set, because
sets differ far more than methods do. The output file has all runs; the `.md` beside it has the tables, and the `.png`
the cumulative histograms of ab distances (Fig. 12).
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
from compared_methods import BRANCHES, titles_of
from paper_report.curves import draw_curves

from semcolor_jax.cli import exits
from semcolor_jax.errors import UserError
from semcolor_jax.evaluation import table_text
from semcolor_jax.files import read_json, write_json
from semcolor_jax.metrics.error_histogram import MAX_ERROR, THRESHOLDS
from semcolor_jax.photos.files import write_image

JOBS = ("ablation", "comparison")
METRICS = {"psnr_gain": "PSNR above grey (dB)", "ab_share": "ab distance, of grey's", "colour_share": "colourfulness"}

Run = Mapping[str, Any]
"""What a job of accelerator.py records for one method and seed."""


def gather(files: Sequence[Path]) -> dict[str, dict[str, Run]]:
    """Returns the runs by method and seed, from results of the jobs and from records of this script.

    Raises:
      UserError: a file cannot be read or has no such results; two runs of one method and seed differ; or runs were
        scored on different sets.
    """
    runs: dict[str, dict[str, Run]] = collections.defaultdict(dict)
    for path in files:
        cases = _cases(read_json(path))
        if not cases:
            raise UserError(f"{path} has no results of {' or '.join(JOBS)}.")
        for method, seed, run in cases:
            if runs[method].setdefault(seed, run) != run:
                raise UserError(
                    f"{path} has another run of {method}, seed {seed}, than the files before it: name one of them."
                )
    if len({tuple(run["sets"]) for of_method in runs.values() for run in of_method.values()}) > 1:
        raise UserError("The results are of different sets of photos: score all of them on the same --config.data.mix.")
    return dict(runs)


def _cases(results: Mapping[str, Any]) -> list[tuple[str, str, Run]]:
    """Returns method, seed and run of each: a job's results are by "METHOD, seed N", a record by method, then seed."""
    cases = []
    for group, runs in results.items():
        for name, run in runs.items() if isinstance(runs, Mapping) else ():
            if isinstance(run, Mapping) and "curves" in run:
                method, _, seed = name.rpartition(", seed ") if group in JOBS else (group, "", name)
                cases.append((method, seed, run))
    return cases


def mean_table(runs: Mapping[str, Mapping[str, Run]]) -> str:
    """Returns in Markdown each method's means over the sets: mean and standard deviation over the seeds."""
    rows = []
    for method, of_method in runs.items():
        for branch, title in _branches(of_method).items():
            cells = [_spread([run["mean"][branch][metric] for run in of_method.values()], 3) for metric in METRICS]
            areas = _spread([_area(run["curves"][branch]) for run in of_method.values()], 4)
            rows.append([method, title, *cells, areas, str(len(of_method))])
    return table_text.markdown(["method", "colours by", *METRICS.values(), "AUC", "runs"], rows)


def difference_table(runs: Mapping[str, Mapping[str, Run]], *, labelled: Sequence[str] = ()) -> str:
    """Returns in Markdown how far each method is above the first one: the mean over the sets, in dB of PSNR.

    With the names of those sets that have scenes or classes, there is a column for them, and one for the others.
    """
    first, *others = runs
    every = _sets(runs)
    groups = {"": every}
    if labelled:
        with_labels = [name for name in every if name in labelled]
        groups |= {", sets with labels": with_labels, ", others": [name for name in every if name not in labelled]}
    rows = []
    for method in others:
        for branch, title in _branches(runs[method]).items():
            if branch in _branches(runs[first]):
                base, of_method = _gains(runs[first], branch), _gains(runs[method], branch)
                above = {name: of_method[name] - base[name] for name in every}
                cells = [_mean_and_error([above[name] for name in names]) for names in groups.values()]
                better = f"{sum(gain > 0 for gain in above.values())} of {len(every)}"
                rows.append([method, title, *cells, better])
    header = [f"dB above {first}{group}" for group in groups]
    return table_text.markdown(["method", "colours by", *header, "better on"], rows)


def set_table(runs: Mapping[str, Mapping[str, Run]]) -> str:
    """Returns in Markdown for every set the first method's PSNR above grey, and the others' above that, in dB."""
    first, *others = runs
    pairs = [
        (method, branch) for method in others for branch in _branches(runs[method]) if branch in _branches(runs[first])
    ]
    base = {branch: _gains(runs[first], branch) for branch in _branches(runs[first])}
    header = ["set", "photos", *(f"{first}, {_branches(runs[first])[branch]}" for branch in base)]
    header += [f"{method}, {_branches(runs[method])[branch]}" for method, branch in pairs]
    rows = []
    for name, of_set in next(iter(runs[first].values()))["sets"].items():
        gains = [f"{of_branch[name]:.2f}" for of_branch in base.values()]
        above = [f"{_gains(runs[method], branch)[name] - base[branch][name]:+.2f}" for method, branch in pairs]
        rows.append([name, str(next(iter(of_set.values()))["photos"]), *gains, *above])
    return table_text.markdown(header, rows)


def figure(runs: Mapping[str, Mapping[str, Run]]) -> np.ndarray:
    """Draws Fig. 12: a curve for each method, by its annealed mean where it has one; and the grey copy's."""
    curves = {"grey copy": np.mean([run["curves"]["grey"] for of in runs.values() for run in of.values()], axis=0)}
    for method, of_method in runs.items():
        branch = next(iter(_branches(of_method)))
        curves[method] = np.mean([run["curves"][branch] for run in of_method.values()], axis=0)
    return draw_curves({"validation photos": curves})


def report(runs: Mapping[str, Mapping[str, Run]], *, labelled: Sequence[str] = ()) -> str:
    """Returns the tables with what their numbers are."""
    of_all = [run for of_method in runs.values() for run in of_method.values()]
    images, photos = (" or ".join(map(str, sorted({run[of] for run in of_all}))) for of in ("images", "photos"))
    sets = len(of_all[0]["sets"])
    paragraphs = [
        f"{images} crops a run; {photos} validation photos of {sets} sets, every set counting alike.\n"
        "After the sign: the standard deviation over the runs, which differ in their seed. AUC: of all pixels.",
        mean_table(runs),
        "Set by set against the first method; after the sign: the standard error of the mean over the sets.",
        difference_table(runs, labelled=labelled),
        "The same for every set: the first method's PSNR above grey, then how far the others are above it, in dB.",
        set_table(runs),
    ]
    return "\n\n".join(paragraphs) + "\n"


def _branches(runs: Mapping[str, Run]) -> dict[str, str]:
    """Returns the branches that give colour, and what they are called; earlier results do not say."""
    run = next(iter(runs.values()))
    titles = titles_of(run)
    return {branch: titles[branch] for branch in BRANCHES if branch in run["mean"]}


def _sets(runs: Mapping[str, Mapping[str, Run]]) -> list[str]:
    first = next(iter(runs.values()))
    return list(next(iter(first.values()))["sets"])  # all runs have the same


def _gains(runs: Mapping[str, Run], branch: str) -> dict[str, float]:
    names = next(iter(runs.values()))["sets"]
    return {name: statistics.fmean(run["sets"][name][branch]["psnr_gain"] for run in runs.values()) for name in names}


def _area(curve: Sequence[float]) -> float:
    return float(np.trapezoid(curve, THRESHOLDS) / MAX_ERROR)


def _mean_and_error(values: Sequence[float]) -> str:
    error = f" ± {statistics.stdev(values) / math.sqrt(len(values)):.3f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):+.3f}{error}"


def _spread(values: Sequence[float], digits: int) -> str:
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.{digits}f}{spread}"


def main(argv: Sequence[str] | None = None) -> None:
    """Writes record, tables and figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "results", nargs="+", type=Path, metavar="RESULTS.json", help="of accelerator.py, or an earlier --output"
    )
    parser.add_argument("--output", type=Path, required=True, help="the record; tables and figure get its name")
    parser.add_argument("--labelled", default="", metavar="SET,...", help="sets with scenes or classes, for a column")
    options = parser.parse_args(argv)
    with exits.user_errors():
        runs = gather(options.results)
        labelled = [name for name in options.labelled.split(",") if name]
        if unknown := ", ".join(sorted(set(labelled) - set(_sets(runs)))):
            there = ", ".join(_sets(runs))
            raise UserError(f"--labelled names no set of these results: {unknown}; there are {there}.")
        text = report(runs, labelled=labelled)
        write_json(options.output, runs)
        options.output.with_suffix(".md").write_text(text, encoding="utf-8")
        write_image(options.output.with_suffix(".png"), figure(runs))
        print(text)


if __name__ == "__main__":
    main()
