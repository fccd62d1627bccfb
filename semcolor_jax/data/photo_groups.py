"""Groups photos by the largest crop that enlarges them by at most 1.5, for `config.data.cache = "device"`.

A photo too small for the config's crop is trained on with a smaller crop, at the same ratio of crop to photo; batches
do not mix crop sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from semcolor_jax.errors import UserError

LARGEST_FACTOR = 1.5
"""Largest factor by which photos are enlarged; those to shrink by more are first shrunk with antialiasing."""

_SHARES = (3 / 4, 1 / 2, 3 / 8, 1 / 4, 1 / 8)
_MULTIPLE = 32  # divisor of the smaller crops' sides: five halvings


class Crops(NamedTuple):
    """Crops of one size: `side` pixels, from photos resized to `short_side`."""

    side: int
    short_side: int


class Grouping(NamedTuple):
    """The crops of each group, largest first, and the group of each sample."""

    crops: tuple[Crops, ...]
    groups: Int64[np.ndarray, " n"]


def group_photos(
    sizes: Int64[np.ndarray, "n 2"], names: Sequence[str], *, side: int, short_side: int, batch_size: int
) -> Grouping:
    """Puts each photo into the group of the largest crop that it is large enough for.

    A group smaller than a batch and than half of the photos joins the next smaller crop.

    Args:
      sizes: height and width of each photo.
      names: of the photos, for messages.
      side: `config.data.image_size`.
      short_side: `config.data.short_side`.
      batch_size: `config.data.batch_size`.

    Raises:
      UserError: if a photo is too small for any crop.
    """
    smaller = sorted({int(side * share) // _MULTIPLE * _MULTIPLE for share in _SHARES} - {0, side}, reverse=True)
    ladder = [Crops(side, short_side), *(Crops(each, round(short_side * each / side)) for each in smaller)]
    short = sizes.min(axis=1)
    # The ladder descends, so the first crop that fits is as far down as there are crops that do not.
    rung = np.sum([crops.short_side > LARGEST_FACTOR * short for crops in ladder], axis=0)
    if (rung == len(ladder)).any():
        worst = int(np.argmin(short))
        raise UserError(
            f"the photo {names[worst]} is {sizes[worst, 1]} x {sizes[worst, 0]} pixels and would be enlarged by more "
            f"than {LARGEST_FACTOR} even for crops of {ladder[-1].side}: leave it out, or train without "
            "config.data.cache."
        )
    for number in range(len(ladder) - 1):
        members = rung == number
        if 0 < members.sum() < min(batch_size, len(short) / 2) and (rung > number).any():
            rung[members] = rung[rung > number].min()
    kept, groups = np.unique(rung, return_inverse=True)
    return Grouping(tuple(ladder[number] for number in kept), groups)


def stored_sizes(sizes: Int64[np.ndarray, "n 2"], grouping: Grouping) -> Int64[np.ndarray, "n 2"]:
    """Returns the sizes that photos are kept at: their own, or `short_side` where they must shrink by more than 1.5."""
    wanted = np.array([crops.short_side for crops in grouping.crops])[grouping.groups]
    short = sizes.min(axis=1)
    shrunk = np.round(sizes * (wanted / short)[:, None]).astype(np.int64)
    return np.where((short > LARGEST_FACTOR * wanted)[:, None], shrunk, sizes)
