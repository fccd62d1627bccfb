"""Mixes several data sets into one, each with a weight: `config.data.mix`.

A mix has all samples of its sources, one source after another, so reading or evaluating it visits each sample once,
whatever the weights. The weights say how often training draws from each source: an epoch has as many places as the mix
has samples, and source i gets its share w_i / sum(w) of them, to the nearest whole place. Each source's samples follow
its own permutations, which continue from epoch to epoch: a source with few places resumes in the next epoch where it
stopped, one with many starts over. So at any time all samples of a source have been seen equally often, give or take
one, and none is left out for good. The places of the sources are spread evenly over the epoch, so nearly every batch
has the mix's proportions.

The sample at each place follows from (seed, epoch) alone, without any state to save.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int64

from semcolor_jax.config import CHOICES
from semcolor_jax.data.example import Sample, Source
from semcolor_jax.data.sizes import sizes_of
from semcolor_jax.data.supervision import Supervision, supervision_of
from semcolor_jax.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf

    from semcolor_jax.data.example import Example

FORM = "SOURCE[:DIR][=WEIGHT],..., such as folder:/data/photos=2,embedded=1"
"""The format of `config.data.mix`."""


@dataclasses.dataclass(frozen=True)
class MixPart:
    """One source of a mix: `config.data.source`, `config.data.dir`, and how often to take it."""

    source: str
    dir: str
    weight: float


def parse_mix(text: str) -> list[MixPart]:
    """Reads `config.data.mix`: `SOURCE[:DIR][=WEIGHT]`, separated by commas; the weight is 1 if not given.

    Raises:
      UserError: if a part is malformed, a source is unknown, or a weight is not above 0.
    """
    return [_parse_part(part.strip()) for part in text.split(",")]


class MixedSource:
    """The samples of several sources, drawn in training in proportion to their weights.

    Attributes:
      name: the sources' names and weights, as in "coco_stuff=2,embedded=1".
      names: the samples' names, each prefixed by its source's.
    """

    def __init__(self, sources: Sequence[Source], *, weights: Sequence[float]):
        """Joins sources. The weights are relative to each other.

        Raises:
          UserError: if a source is empty, or its weight is too small for one place in an epoch.
        """
        self._sources, self._weights = tuple(sources), tuple(weights)
        self._sizes = [len(source) for source in sources]
        self._starts = np.cumsum([0, *self._sizes])
        self._shares = apportion(len(self), weights=weights)
        pairs = list(zip(sources, weights, strict=True))
        self.name = ",".join(f"{source.name}={weight:g}" for source, weight in pairs)
        self.names: Sequence[str] = [f"{source.name}/{name}" for source in sources for name in source.names]
        for (source, weight), size, share in zip(pairs, self._sizes, self._shares, strict=True):
            if not size:
                raise UserError(f"the data set {source.name} has no samples to mix.")
            if not share:
                raise UserError(
                    f"the weight {weight:g} of {source.name} in config.data.mix is too small: none of its samples "
                    f"would come in an epoch of {len(self)}; raise it, or leave {source.name} out."
                )

    def __len__(self) -> int:
        return int(self._starts[-1])

    def each(self, change: Callable[[Source], Source]) -> MixedSource:
        """Applies `change` to each source, and mixes the results with the same weights."""
        return MixedSource([change(source) for source in self._sources], weights=self._weights)

    @functools.cached_property
    def supervision(self) -> Supervision:
        """The counts of all sources together."""
        return Supervision.sum(supervision_of(source) for source in self._sources)

    def read(self, index: int) -> Sample:
        """Returns sample `index`. Raises what its source raises."""
        part = int(np.searchsorted(self._starts, index, side="right")) - 1
        sample = self._sources[part].read(index - int(self._starts[part]))
        return dataclasses.replace(sample, name=self.names[index])

    def load(self, index: tf.Tensor) -> Example:
        """Returns sample `index` (int64 scalar) inside a tf.data graph."""
        from semcolor_jax.data.cpu_tf import tf  # here, because `read` does not need TensorFlow

        part = tf.searchsorted(self._starts[1:], index[None], side="right")[0]
        branches = [
            functools.partial(source.load, index - start)
            for source, start in zip(self._sources, self._starts, strict=False)
        ]
        example = tf.switch_case(part, branches)
        return {
            "image": tf.ensure_shape(example["image"], [None, None, 3]),
            "labels": tf.ensure_shape(example["labels"], [None, None]),
            "scene_index": example["scene_index"],
            "scene_prob": example["scene_prob"],
        }

    def sizes(self) -> Int64[np.ndarray, "n 2"]:
        """Returns height and width of each photo in pixels."""
        return np.concatenate([sizes_of(source) for source in self._sources])

    def epoch_order(self, *, seed: int, epoch: int) -> Int64[np.ndarray, " n"]:
        """Returns the indices of an epoch's samples: each source's share, spread evenly over the epoch."""
        chosen = [
            self._starts[part] + _walk(size, first=epoch * share, count=share, seed=(seed, part))
            for part, (size, share) in enumerate(zip(self._sizes, self._shares, strict=True))
        ]
        when = [(np.arange(share) + 0.5) / share for share in self._shares]
        return np.concatenate(chosen)[np.argsort(np.concatenate(when), kind="stable")]


def apportion(places: int, *, weights: Sequence[float]) -> list[int]:
    """Divides places in proportion to the weights, by largest remainders, so that they sum to `places`."""
    exact = np.asarray(weights, np.float64) / math.fsum(weights) * places
    shares = np.floor(exact).astype(int)
    most_missing = np.argsort(shares - exact, kind="stable")
    shares[most_missing[: places - shares.sum()]] += 1
    return shares.tolist()


def _walk(samples: int, *, first: int, count: int, seed: tuple[int, int]) -> Int64[np.ndarray, " count"]:
    """Returns `count` entries, from `first` on, of an endless sequence of permutations."""
    rounds = range(first // samples, -(-(first + count) // samples))
    orders = [np.random.default_rng((*seed, number)).permutation(samples) for number in rounds]
    return np.concatenate(orders)[first - rounds.start * samples :][:count]


def _parse_part(part: str) -> MixPart:
    spec, _, weight = part.rpartition("=") if "=" in part else (part, "=", "1")
    source, _, folder = spec.partition(":")
    known = [name for name in CHOICES["data.source"] if name != "mix"]
    if source not in known:
        raise UserError(f"config.data.mix has the part {part!r}; it is written {FORM}, with {', '.join(known)}.")
    if source in ("folder", "pack") and not folder:
        raise UserError(f"config.data.mix has the part {part!r}, which must name a folder: {source}:DIR.")
    try:
        number = float(weight)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise UserError(f"config.data.mix has the part {part!r}, whose weight {weight!r} is no number above 0.")
    return MixPart(source=source, dir=folder, weight=number)
