"""Makes Tables 3 and 4 of the paper and a table of perceptual metrics, as Markdown, LaTeX and CSV.

A cell is a number or the reason why there is none; reasons become footnotes. Figures from the paper's text have their
own rows.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from semcolor_jax.evaluation import table_text
from semcolor_jax.evaluation.score.measures import COLUMNS
from semcolor_jax.evaluation.score.pairing import ORIGINALS
from semcolor_jax.evaluation.score.run import Score
from semcolor_jax.evaluation.score.statistics import CONFIDENCE, Estimate
from semcolor_jax.evaluation.table_text import escape_latex

from . import published
from .layout import METHODS, TEST_SETS, method_title
from .scoring import SetScore

FID = "fid"
_SIMILARITY = ("PSNR", "SSIM", "ab distance")
_PERCEPTUAL = ("LPIPS", "FID", "imagenet", "places365")
_ARROWS = {"up": (" ↑", r" $\uparrow$"), "down": (" ↓", r" $\downarrow$"), "": ("", "")}


class Column(NamedTuple):
    """A metric on a set: `key` is `FID` or one of `measures.COLUMNS`; `better` is "up" or "down"."""

    set_name: str
    key: str
    title: str
    better: str


class Cell(NamedTuple):
    """A number as text, or "" and why; `estimate` has its interval, `note` a remark on an existing number."""

    text: str
    estimate: Estimate | None = None
    note: str = ""


class Row(NamedTuple):
    """A method and a cell for each column; `papers` if the numbers are the paper's, not ours."""

    method: str
    title: str
    cells: tuple[Cell, ...]
    papers: bool = False


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows under columns; `name` is that of the files, `notes` stand beneath."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]


def similarity_table(name: str, title: str, set_names: Sequence[str], scores: Mapping[str, SetScore]) -> Table:
    """Returns the channels' means of PSNR, SSIM and L2ab on some test sets, with the paper's figures."""
    keys = ("psnr_channels", "ssim", "l2_ab_channels")
    columns = [Column(s, key, COLUMNS[key].title, COLUMNS[key].better) for s in set_names for key in keys]
    rows = []
    for method in _methods(set_names, scores):
        rows.append(_row(method, columns, scores))
        if method in published.ROWS:
            rows.append(_papers_row(method, columns))
    rows.append(_papers_row(published.BEST, columns))
    return Table(
        name, title, tuple(columns), tuple(rows), (*_notes(set_names, scores, _SIMILARITY), published.NOT_COMPARABLE)
    )


def perceptual_table(scores: Mapping[str, SetScore]) -> Table:
    """Returns FID, LPIPS and the top-1 accuracies of VGG16, those also of the original photos."""
    columns = []
    for name in TEST_SETS:
        measured = scores[name].score
        title = measured.fid_title if measured and measured.fid_title else "FID"
        columns.append(Column(name, FID, title, "down"))
        columns.append(Column(name, "lpips_alex", COLUMNS["lpips_alex"].title, "down"))
        for kind in ("imagenet", "places365"):
            if name.startswith(kind):
                columns.append(Column(name, f"{kind}_top1", COLUMNS[f"{kind}_top1"].title, "up"))
    rows = [_originals_row(columns, scores), *(_row(m, columns, scores) for m in _methods(list(TEST_SETS), scores))]
    notes = (*_notes(list(TEST_SETS), scores, _PERCEPTUAL), "The text of the paper states no figure of these metrics.")
    title = "Perceptual metrics (section V-C): FID, LPIPS and top-1 accuracy of VGG16"
    return Table("perceptual", title, tuple(columns), tuple(rows), notes)


def _methods(set_names: Sequence[str], scores: Mapping[str, SetScore]) -> list[str]:
    """The paper's six methods, with or without photos, and all others that have a folder."""
    found = (method for name in set_names for method in (*scores[name].names, *scores[name].reasons) if method)
    return list(dict.fromkeys([*METHODS, *found]))


def _row(method: str, columns: Sequence[Column], scores: Mapping[str, SetScore]) -> Row:
    return Row(method, method_title(method), tuple(_cell(method, column, scores) for column in columns))


def _cell(method: str, column: Column, scores: Mapping[str, SetScore]) -> Cell:
    of_set = scores[column.set_name]
    title = TEST_SETS[column.set_name]
    if reason := of_set.reason(method):
        return Cell("", note=reason)
    if of_set.score is None or method not in of_set.names:
        return Cell("", note=f"{title}: there are no photos of {method_title(method)}.")
    name = of_set.names[method]
    if column.key == FID:
        if name not in of_set.score.fid:
            return Cell("", note=_unavailable(of_set, "FID"))
        value, count, _ = of_set.score.fid[name]
        if math.isnan(value):
            return Cell("", note=f"{title}: FID needs two photos.")
        estimate = Estimate(value, math.nan, math.nan, count)
        return Cell(f"{value:.2f}", estimate, _short(of_set.score, count, title=title))
    estimate = of_set.score.rows[name].get(column.key)
    if estimate is None or not estimate.photos:
        return Cell("", note=_unavailable(of_set, column.title.split()[0]))
    note = "" if column.key.endswith("_top1") else _short(of_set.score, estimate.photos, title=title)
    return Cell(COLUMNS[column.key].format.format(estimate.value), estimate, note)


def _short(score: Score, count: int, *, title: str) -> str:
    """Returns the remark that a number covers only some photos of a set; "" if it covers all."""
    return f"{title}: over {count} of {score.originals} photos." if count < score.originals else ""


def _unavailable(of_set: SetScore, metric: str) -> str:
    """Returns the sentence on a metric that could not be computed."""
    sentences = of_set.score.unavailable if of_set.score else ()
    named = (sentence for sentence in sentences if sentence.startswith(metric))
    return next(named, f"{metric}: no photo of this method could be measured; see score.json of its set.")


def _originals_row(columns: Sequence[Column], scores: Mapping[str, SetScore]) -> Row:
    cells = []
    for column in columns:
        score = scores[column.set_name].score
        estimate = score.rows.get(ORIGINALS, {}).get(column.key) if score else None
        if not column.key.endswith("_top1"):
            cells.append(Cell("", note="FID and LPIPS compare with the originals: they have none themselves."))
        elif estimate is None:
            reason = scores[column.set_name].reasons.get("")
            cells.append(Cell("", note=reason or _unavailable(scores[column.set_name], column.title.split()[0])))
        else:
            cells.append(Cell(COLUMNS[column.key].format.format(estimate.value), estimate))
    return Row(ORIGINALS, "original photos", tuple(cells))


def _papers_row(method: str, columns: Sequence[Column]) -> Row:
    stated = [published.STATED.get((column.set_name, method, column.key)) for column in columns]
    cells = tuple(Cell("", note=published.SILENT) if value is None else Cell(f"{value:g}") for value in stated)
    return Row(method, published.ROWS[method], cells, papers=True)


def _notes(set_names: Sequence[str], scores: Mapping[str, SetScore], metrics: tuple[str, ...]) -> list[str]:
    """Returns the protocol sentences with these beginnings, and how many photos the sets have."""
    found = {name: score for name in set_names if (score := scores[name].score)}
    if not found:
        return []
    areas = dict.fromkeys(score.protocol[0] for score in found.values())
    sentences = dict.fromkeys(
        sentence for score in found.values() for sentence in score.protocol[1:] if sentence.startswith(metrics)
    )
    counts = ", ".join(f"{TEST_SETS[name]} {score.originals}" for name, score in found.items())
    intervals = f"intervals: {100 * CONFIDENCE:g} % bootstrap over photos"
    return [f"Protocol: {'; '.join([*areas, *sentences])}.", f"Photos: {counts}; {intervals}."]


def _footnotes(table: Table) -> dict[str, int]:
    """Returns the number of every remark, in order of appearance."""
    notes = dict.fromkeys(cell.note for row in table.rows for cell in row.cells if cell.note)
    return {note: number for number, note in enumerate(notes, 1)}


def markdown(table: Table) -> str:
    """Returns the table with intervals, the reasons of empty cells beneath."""
    numbers = _footnotes(table)
    header = [f"{TEST_SETS[c.set_name]}: {c.title}{_ARROWS[c.better][0]}" for c in table.columns]
    rows = [
        [f"*{row.title}*" if row.papers else row.title, *(_markdown(cell, numbers) for cell in row.cells)]
        for row in table.rows
    ]
    body = table_text.markdown(["method", *header], rows)
    remarks = [f"- ({number}) {note}" for note, number in numbers.items()]
    return "\n".join([f"**{table.title}**", "", body, "", *remarks, *(f"- {note}" for note in table.notes)]) + "\n"


def _markdown(cell: Cell, numbers: Mapping[str, int]) -> str:
    interval = _interval(cell)
    mark = f"({numbers[cell.note]})" if cell.note else ""
    return " ".join(part for part in (cell.text, interval, mark) if part)


def _interval(cell: Cell) -> str:
    """The interval, with as many decimals as the number has."""
    if cell.estimate is None or math.isnan(cell.estimate.low):
        return ""
    decimals = len(cell.text.partition(".")[2])
    return f"[{cell.estimate.low:.{decimals}f}, {cell.estimate.high:.{decimals}f}]"


def latex(table: Table) -> str:
    """Returns a `table*` environment for the package booktabs; intervals are left to the CSV file."""
    numbers = _footnotes(table)
    groups = list(_groups(table.columns))
    rules = [rf"\cmidrule(lr){{{first + 2}-{last + 2}}}" for _, first, last in groups]
    spans = [
        rf"\multicolumn{{{last - first + 1}}}{{c}}{{{escape_latex(TEST_SETS[name])}}}" for name, first, last in groups
    ]
    titles = [escape_latex(column.title) + _ARROWS[column.better][1] for column in table.columns]
    rows = [[escape_latex(row.title), *(_latex(cell, numbers) for cell in row.cells)] for row in table.rows]
    above = [" & ".join(["", *spans]) + r" \\", " ".join(rules)]
    notes = [f"$^{{{number}}}$ {escape_latex(note)}" for note, number in numbers.items()]
    return "\n".join(
        [
            r"\begin{table*}",
            rf"\caption{{{escape_latex(table.title)}}}",
            table_text.latex(["Method", *titles], rows, above=above),
            "",
            r"\footnotesize " + " ".join([*notes, *map(escape_latex, table.notes)]),
            r"\end{table*}",
            "",
        ]
    )


def _groups(columns: Sequence[Column]) -> Iterator[tuple[str, int, int]]:
    """Yields each set with its first and last column."""
    names = [column.set_name for column in columns]
    for name in dict.fromkeys(names):
        yield name, names.index(name), len(names) - 1 - names[::-1].index(name)


def _latex(cell: Cell, numbers: Mapping[str, int]) -> str:
    return cell.text + (f"$^{{{numbers[cell.note]}}}$" if cell.note else "")


def as_csv(table: Table) -> str:
    """Returns one line per cell: source (ours or paper), method, set, metric, value, low, high, photos, remark."""
    rows: list[tuple[str, ...]] = [("source", "method", "set", "metric", "value", "low", "high", "photos", "remark")]
    for row in table.rows:
        for column, cell in zip(table.columns, row.cells, strict=True):
            numbers = (
                ["" if math.isnan(n) else f"{n:.10g}" for n in cell.estimate]
                if cell.estimate
                else [cell.text, "", "", ""]
            )
            metric = column.title if column.key == FID else column.key
            source = "paper" if row.papers else "ours"
            rows.append((source, row.method, column.set_name, metric, *numbers, cell.note))
    return table_text.as_csv(rows)
