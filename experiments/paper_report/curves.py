"""Draws Fig. 12: for each test set, the share of pixels with a colour within a distance of the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from semcolor_jax.metrics.error_histogram import THRESHOLDS

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 560, 400, 62, 18, 44, 52
COLORS = ("#4271ae", "#d68c14", "#2e8b57", "#8e6bb0", "#8c564b", "#be3c38", "#1c1e21", "#17a2b8")
SCALE = 2  # drawn this much larger and then shrunk, because Pillow's lines have hard edges

Curves = Mapping[str, Sequence[float] | np.ndarray]
"""Shares 0..1 at each of `THRESHOLDS`, by title of the method."""


def draw_curves(panels: Mapping[str, Curves]) -> UInt8[np.ndarray, "height width 3"]:
    """Draws one panel per set that has curves, two in a row; a method has the same colour in all of them."""
    titles = list(dict.fromkeys(title for curves in panels.values() for title in curves))
    colors = {title: COLORS[index % len(COLORS)] for index, title in enumerate(titles)}
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    picture = Image.new("RGB", (columns * WIDTH * SCALE, rows * HEIGHT * SCALE), "white")
    for index, (title, curves) in enumerate(panels.items()):
        row, column = divmod(index, columns)
        _Panel(picture, left=column * WIDTH, top=row * HEIGHT).draw(title, curves, colors)
    return np.asarray(picture.reduce(SCALE))


class _Panel:
    """One diagram, in pixels before the magnification by `SCALE`."""

    def __init__(self, picture: Image.Image, *, left: int, top: int):
        self._pen, self._left, self._top = ImageDraw.Draw(picture), left, top
        self._font = ImageFont.load_default(size=13 * SCALE)

    def draw(self, title: str, curves: Curves, colors: Mapping[str, str]) -> None:
        self._text(WIDTH / 2, 12, title, anchor="mt")
        for share in (0.0, 0.25, 0.5, 0.75, 1.0):
            x, y = self._place(0, share)
            self._line([(x, y), self._place(float(THRESHOLDS[-1]), share)], "#dddddd", width=1)
            self._text(x - 8, y, f"{share:g}", anchor="rm")
        for threshold in range(0, int(THRESHOLDS[-1]) + 1, 25):
            x, y = self._place(threshold, 0)
            self._line([(x, y), (x, y + 4)], "#888888", width=1)
            self._text(x, y + 8, str(threshold), anchor="mt")
        self._text(WIDTH / 2, HEIGHT - 6, "ab distance in CIE units; ordinate: share of the pixels", anchor="mb")
        areas = {method: np.trapezoid(shares, THRESHOLDS) / THRESHOLDS[-1] for method, shares in curves.items()}
        names = {method: f"{method}, AUC {area:.4f}" for method, area in areas.items()}
        legend = min(WIDTH - 238, WIDTH - RIGHT - max(self._font.getlength(name) for name in names.values()) / SCALE)
        for index, (method, shares) in enumerate(curves.items()):
            places = [self._place(t, share) for t, share in zip(THRESHOLDS, shares, strict=True)]
            self._line(places, colors[method], width=2)
            y = HEIGHT - BOTTOM - 18 * (len(curves) - index)
            self._line([(legend - 32, y), (legend - 7, y)], colors[method], width=3)
            self._text(legend, y, names[method], anchor="lm")

    def _place(self, threshold: float, share: float) -> tuple[float, float]:
        x = LEFT + (WIDTH - LEFT - RIGHT) * threshold / float(THRESHOLDS[-1])
        return x, HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * share

    def _line(self, places: Sequence[tuple[float, float]], color: str, *, width: int) -> None:
        scaled = [((self._left + x) * SCALE, (self._top + y) * SCALE) for x, y in places]
        self._pen.line(scaled, color, width=width * SCALE, joint="curve")

    def _text(self, x: float, y: float, text: str, *, anchor: str) -> None:
        place = (self._left + x) * SCALE, (self._top + y) * SCALE
        self._pen.text(place, text, "#1c1e21", self._font, anchor=anchor)
