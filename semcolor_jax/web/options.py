"""The options of `POST /colorize`: one table to read and to describe them."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from semcolor_jax.inference.branches import CHOICES, ColorChoice
from semcolor_jax.inference.hints import Hint, hints_of
from semcolor_jax.inference.photo_files import Options
from semcolor_jax.photos.encoding import QUALITY
from semcolor_jax.photos.formats import NAMES
from semcolor_jax.web.limits import Refused

MOST_HINTS = 200
"""Colour hints of one photo."""

_MOST_COVERED = 4e6  # pixels under the hints of one photo: each one is listed


class Option(NamedTuple):
    """One option: how its text is read, its JSON schema, and where it goes."""

    read: Callable[[str], Any]
    schema: dict[str, Any]
    of_choice: str = ""  # the field of `ColorChoice`, or else of `Options`
    of_options: str = ""


def number(text: str) -> float:
    """Returns a finite number. Raises ValueError for anything else."""
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return value


def _flag(text: str) -> bool:
    return {"true": True, "1": True, "false": False, "0": False}[text.strip().lower()]


def _one_of(names: tuple[str, ...]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text.lower() not in names:
            raise ValueError
        return text.lower()

    return read


def _read_hints(text: str) -> list[Hint]:
    hints = hints_of(json.loads(text))
    covered = 0.0
    for hint in hints:
        length = sum(math.dist(*pair) for pair in itertools.pairwise(hint.points))
        covered += (2 * hint.radius + 1) * (length + 2 * hint.radius + 1)
    if len(hints) > MOST_HINTS or covered > _MOST_COVERED:
        reason = f"At most {MOST_HINTS} hints are taken, which cover {_MOST_COVERED / 1e6:g} megapixels at most."
        raise Refused(400, "bad_option", reason)
    return hints


_FLAG = {"type": "boolean", "default": False}
OPTIONS: dict[str, Option] = {
    "branch": Option(
        _one_of(CHOICES),
        {
            "type": "string",
            "enum": list(CHOICES),
            "description": "What makes the colour: distribution, regression, both.",
        },
        of_choice="branch",
    ),
    "temperature": Option(
        number,
        {
            "type": "number",
            "exclusiveMinimum": 0,
            "maximum": 1,
            "description": "Of the annealed mean; lower is more vivid.",
        },
        of_choice="temperature",
    ),
    "soft_weight": Option(
        number,
        {"type": "number", "minimum": 0, "maximum": 1, "description": "Of the distribution in branch both."},
        of_choice="share",
    ),
    "saturation": Option(
        number,
        {"type": "number", "exclusiveMinimum": 0, "description": "Strength of the colours; 1 is the network's own."},
        of_choice="saturation",
    ),
    "hints": Option(
        _read_hints,
        {"type": "string", "description": "Colours that are known, as JSON: [{x, y, color}, ...], in pixels."},
    ),
    "format": Option(
        _one_of(tuple(NAMES)),
        {"type": "string", "enum": list(NAMES), "description": "Of the result; by default the photo's own."},
    ),
    "quality": Option(
        int,
        {"type": "integer", "minimum": 1, "maximum": 100, "default": QUALITY, "description": "Of lossy formats."},
        of_options="quality",
    ),
    "strip_metadata": Option(
        _flag, {**_FLAG, "description": "Write no EXIF, XMP or text."}, of_options="strip_metadata"
    ),
    "stretch": Option(_flag, {**_FLAG, "description": "Spread the greys of a faded photo."}, of_options="stretch"),
    "tolerant": Option(
        _flag, {**_FLAG, "description": "Colour what there is of a cut-off file."}, of_options="tolerant"
    ),
}


class Asked(NamedTuple):
    """What a form asks for: the colours, hints, how to read and write, and the format."""

    choice: ColorChoice
    hints: list[Hint]
    options: Options
    format: str | None


def read_options(fields: Mapping[str, str], usual: ColorChoice) -> Asked:
    """Returns what form fields ask for.

    Args:
      fields: text by the names of `OPTIONS`; an empty one counts as absent.
      usual: the default colours.

    Raises:
      Refused: an unknown field, or an invalid value.
      UserError: a value out of range.
    """
    values = {}
    for name, text in fields.items():
        option = OPTIONS.get(name)
        if option is None:
            raise Refused(400, "bad_option", f"There is no option {name!r}; there are: {', '.join(OPTIONS)}.")
        if text == "":
            continue
        try:
            values[name] = option.read(text)
        except (ValueError, KeyError, RecursionError):
            allowed = option.schema.get("enum") or option.schema["type"]
            reason = f"The option {name} is {text[:40]!r}, but takes {allowed}."
            raise Refused(400, "bad_option", reason) from None
    choice = {OPTIONS[name].of_choice: value for name, value in values.items() if OPTIONS[name].of_choice}
    options = {OPTIONS[name].of_options: value for name, value in values.items() if OPTIONS[name].of_options}
    format = NAMES[values["format"]] if "format" in values else None
    return Asked(dataclasses.replace(usual, **choice), values.get("hints", []), Options(**options), format)
