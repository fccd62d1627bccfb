"""Formats text cells as Markdown, LaTeX, CSV and plain tables: titles in the first column, numbers in the others."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from tabulate import tabulate

_LATEX_ESCAPES = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\^{}", "\\": r"\textbackslash{}", "Δ": r"$\Delta$"}
)


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a table in GitHub's Markdown, without a newline at its end."""
    return _tabulate(header, [[cell.replace("|", r"\|") for cell in row] for row in rows], "pipe")


def latex(header: Sequence[str], rows: Sequence[Sequence[str]], *, above: Sequence[str] = ()) -> str:
    """Returns a `tabular` for the package booktabs, without a newline at its end.

    Args:
      header: in LaTeX, like the cells: nothing is escaped.
      rows: the table's.
      above: lines of LaTeX between the top rule and the header.
    """
    begin, titles, body, end = _tabulate(header, rows, "latex_raw").split(r"\hline")
    return "".join([begin, "\n".join([r"\toprule", *above]), titles, r"\midrule", body, r"\bottomrule", end])


def escape_latex(text: str) -> str:
    """Returns text escaped for LaTeX."""
    return text.translate(_LATEX_ESCAPES)


def plain(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns columns for a terminal, a rule beneath the header."""
    return _tabulate(header, rows, "simple")


def as_csv(rows: Sequence[Sequence[Any]]) -> str:
    """Returns the rows, the header among them, as CSV."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    return buffer.getvalue()


def _tabulate(header: Sequence[str], rows: Sequence[Sequence[str]], form: str) -> str:
    align = ("left", *["right"] * (len(header) - 1))
    return tabulate(rows, header, tablefmt=form, colalign=align, disable_numparse=True)
