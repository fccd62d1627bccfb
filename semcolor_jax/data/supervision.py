"""Counts the photos of a data set with segmentation and scene labels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, Protocol, runtime_checkable

from semcolor_jax.data.example import Source


class Supervision(NamedTuple):
    """How many photos there are, and how many of them have a label map and a scene."""

    photos: int
    with_labels: int
    with_scene: int

    @classmethod
    def sum(cls, parts: Iterable[Supervision]) -> Supervision:
        """Returns the counts of several data sets together."""
        return cls(*(sum(counts) for counts in zip(*parts, strict=True)))


@runtime_checkable
class HasSupervision(Protocol):
    """A source that knows which of its photos have labels, without decoding them."""

    @property
    def supervision(self) -> Supervision:
        """The counts over all samples."""
        ...


def supervision_of(source: Source) -> Supervision:
    """Returns the source's own counts; a source that has none is taken to have every label."""
    if isinstance(source, HasSupervision):
        return source.supervision
    return Supervision(photos=len(source), with_labels=len(source), with_scene=len(source))
