"""Writes a score as text, Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import collections
import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from semcolor_jax.evaluation import table_text
from semcolor_jax.evaluation.score import statistics
from semcolor_jax.evaluation.score.measures import COLUMNS
from semcolor_jax.evaluation.score.pairing import EXCLUDED, NOTED, ORIGINALS
from semcolor_jax.evaluation.score.run import Score
from semcolor_jax.evaluation.table_text import escape_latex
from semcolor_jax.files import write_json, write_text
from semcolor_jax.metrics.error_histogram import THRESHOLDS

_NAMED = 3
"""Number of stems that a footer names per kind of problem; score.json has all."""

_ARROWS = {"up": " ↑", "down": " ↓", "": ""}
_LATEX_ARROWS = {"up": r" $\uparrow$", "down": r" $\downarrow$", "": ""}


class Cell(NamedTuple):
    """A number and its interval as text; both empty if there is none."""

    value: str
    interval: str


class Table(NamedTuple):
    """Titles with the better direction, and for each method its number of photos and its cells."""

    titles: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, str, tuple[Cell, ...]], ...]


def write_all(folder: Path, score: Score) -> list[Path]:
    """Writes score.json, score.csv, per_image.csv, score.md and score.tex, atomically; returns their paths.

    Raises:
      UserError: the folder cannot be written.
    """
    texts = {
        "score.csv": means_csv(score),
        "per_image.csv": per_image_csv(score),
        "score.md": markdown(score),
        "score.tex": latex(score),
    }
    write_json(folder / "score.json", to_json(score))
    for name, text in texts.items():
        write_text(folder / name, text)
    return [folder / name for name in ("score.json", *texts)]


def make_table(score: Score) -> Table:
    """Returns the cells that all text tables share."""
    titles = [(COLUMNS[column].title, COLUMNS[column].better) for column in score.columns]
    if score.fid_title:
        titles.append((score.fid_title, "down"))
    rows = []
    for method, estimates in score.rows.items():
        cells = [_cell(estimates.get(column), COLUMNS[column].format) for column in score.columns]
        if score.fid_title:
            value = score.fid.get(method, (math.nan,))[0]
            cells.append(Cell("" if math.isnan(value) else f"{value:.2f}", ""))
        rows.append((method, str(len(score.images.get(method, ()))), tuple(cells)))
    return Table(tuple(titles), tuple(rows))


def text(score: Score) -> str:
    """Returns a table for a terminal: a block per method, a line per number."""
    table = make_table(score)
    width = max(len(title) for title, _ in table.titles)
    lines = []
    for method, count, cells in table.rows:
        lines.append(f"{method} ({count} photo{'' if count == '1' else 's'})")
        for (title, better), cell in zip(table.titles, cells, strict=True):
            if cell.value:
                lines.append(f"  {title + _ARROWS[better]:{width + 2}}  {cell.value:>8}  {cell.interval}".rstrip())
    footer = [line for note in notes(score) for line in textwrap.wrap(note, 100, subsequent_indent="  ")]
    return "\n".join([*lines, "", *footer])


def markdown(score: Score) -> str:
    """Returns the table in Markdown, the protocol and the problems beneath."""
    table = make_table(score)
    header = ["method", "photos", *(title + _ARROWS[better] for title, better in table.titles)]
    rows = [
        [method, count, *(f"{cell.value} {cell.interval}".strip() for cell in cells)]
        for method, count, cells in table.rows
    ]
    body = table_text.markdown(header, rows)
    return "\n".join([body, "", *(f"- {note}" for note in notes(score))]) + "\n"


def latex(score: Score) -> str:
    """Returns a tabular for the package booktabs; the protocol and the problems as comments and as a note."""
    table = make_table(score)
    header = ["Method", "Photos", *(escape_latex(title) + _LATEX_ARROWS[better] for title, better in table.titles)]
    rows = []
    for method, count, cells in table.rows:
        numbers = [f"{cell.value} {{\\scriptsize {cell.interval}}}" if cell.interval else cell.value for cell in cells]
        rows.append([escape_latex(method), count, *numbers])
    notes_text = " ".join(escape_latex(note) for note in notes(score))
    footer = f"\\multicolumn{{{len(header)}}}{{p{{\\linewidth}}}}{{\\footnotesize {notes_text}}} \\\\"
    body, end = table_text.latex(header, rows).rsplit("\n", 1)
    return "\n".join([body, footer, end, ""])


def means_csv(score: Score) -> str:
    """Returns a line per method and number: method, metric, value, low, high, photos; the notes as comments."""
    rows: list[Sequence[Any]] = [("method", "metric", "value", "low", "high", "photos")]
    for method, estimates in score.rows.items():
        rows += [(method, column, *map(_number, estimate)) for column, estimate in estimates.items()]
    for method, (value, count, _) in score.fid.items():
        rows.append((method, score.fid_title, _number(value), "", "", count))
    return table_text.as_csv(rows) + "".join(f"# {note}\n" for note in notes(score))


def per_image_csv(score: Score) -> str:
    """Returns a line per method and photo, and one for each problem that excluded a pair from the means."""
    rows_of_values = (row for photos in score.images.values() for row in photos.values())
    columns = list(dict.fromkeys(column for row in rows_of_values for column in row))
    rows: list[Sequence[Any]] = [("method", "photo", *columns, "problem")]
    noted = collections.defaultdict(list)
    for problem in score.problems:
        if problem.kind in NOTED:
            noted[problem.method, problem.stem].append(problem.kind)
        else:
            rows.append((problem.method, problem.stem, *[""] * len(columns), f"excluded: {problem.kind}"))
    for method, photos in score.images.items():
        for stem, values in photos.items():
            numbers = [_number(values.get(column)) for column in columns]
            rows.append((method, stem, *numbers, "; ".join(noted[method, stem])))
    return table_text.as_csv(rows)


def to_json(score: Score) -> dict[str, Any]:
    """Returns everything as values for JSON; what is not finite is null."""
    return {
        "protocol": list(score.protocol),
        "notes": notes(score),
        "originals": score.originals,
        "confidence": statistics.CONFIDENCE,
        "means": {
            method: {column: {k: _finite(v) for k, v in estimate._asdict().items()} for column, estimate in row.items()}
            for method, row in score.rows.items()
        },
        "fid": {
            method: {"kind": score.fid_title, "value": _finite(value), "photos": count, "reference_photos": reference}
            for method, (value, count, reference) in score.fid.items()
        },
        "cumulative_ab_error": {"thresholds": THRESHOLDS.tolist(), "shares": dict(score.curves)},
        "problems": [{**vars(problem), "excluded": problem.kind in EXCLUDED} for problem in score.problems],
        "unavailable": list(score.unavailable),
        "images": {method: dict(photos) for method, photos in score.images.items()},
    }


def notes(score: Score) -> list[str]:
    """Returns the sentences beneath a table: protocol, counts, everything that was wrong, what is unavailable."""
    methods = [method for method in score.rows if method != ORIGINALS]
    counts = ", ".join(f"{method} {len(score.images[method])}" for method in methods)
    lines = [
        f"Protocol: {'; '.join(score.protocol)}.",
        f"Photos: {score.originals} originals; pairs scored: {counts}. Intervals: {100 * statistics.CONFIDENCE:g} % "
        f"bootstrap over photos ({statistics.RESAMPLES} resamples).",
    ]
    if any(score.images[method].keys() != score.images[methods[0]].keys() for method in methods):
        lines.append("The methods are not scored on the same photos, so their means differ for that reason, too.")
    if score.fid:
        sides = ", ".join(
            f"{method} {count} against {reference}" for method, (_, count, reference) in score.fid.items()
        )
        lines.append(f"Photos in {score.fid_title}: {sides}; fewer photos give a larger distance.")
    for (method, kind), stems in _by_kind(score).items():
        verb = "left out of every mean" if kind in EXCLUDED else "note"
        shown = ", ".join(stems[:_NAMED]) + (", ..." if len(stems) > _NAMED else "")
        lines.append(f"{method}: {len(stems)} {verb}: {(EXCLUDED | NOTED)[kind]} ({shown}).")
    if not any(problem.kind in EXCLUDED for problem in score.problems):
        lines.append("No pair is left out.")
    lines += [f"Unavailable: {sentence}" for sentence in score.unavailable]
    return lines


def _by_kind(score: Score) -> dict[tuple[str, str], list[str]]:
    groups: dict[tuple[str, str], list[str]] = collections.defaultdict(list)
    for problem in score.problems:
        groups[problem.method, problem.kind].append(problem.stem)
    return dict(groups)


def _cell(estimate: statistics.Estimate | None, form: str) -> Cell:
    if estimate is None or not estimate.photos:
        return Cell("", "")
    value, low, high = map(form.format, estimate[:3])
    return Cell(value, f"[{low}, {high}]" if estimate.photos > 1 else "")


def _number(value: float | None) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
