"""Prepares a batch inside the jitted step: gathers it if it lies on the device, and augments it further."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int
from ml_collections import ConfigDict

from semcolor_jax.color import rgb_to_lab
from semcolor_jax.data.augmentation import Crop, Options, add_border, place_keys
from semcolor_jax.data.device_cache import CachedBatch, cached_batch
from semcolor_jax.data.old_prints import OldPrint, age
from semcolor_jax.data.sharded_cache import sharded_batch
from semcolor_jax.losses.objective import Batch


class Prepared(NamedTuple):
    """A batch and its photos in Lab: the lightness that the network receives and the target ab."""

    batch: Batch
    lab: Float[Array, "b h w 3"]


Prepare = Callable[[Batch | CachedBatch, Int[Array, ""]], Prepared]
"""(batch, updates done) -> prepared batch."""


def only_lab(batch: Batch | CachedBatch, step: Int[Array, ""]) -> Prepared:
    """Converts a batch's photos to Lab and changes nothing else."""
    del step
    assert not isinstance(batch, CachedBatch)
    return Prepared(batch, rgb_to_lab(batch["image"]))


def make_preparation(config: ConfigDict) -> Prepare:
    """Returns the preparation that `config.augment` asks for; place i of the training stream draws from (seed, i).

    Only cached batches get geometry, contrast and brightness here; tf.data has applied them to all others.
    """
    options, damage, border = Options.of(config), OldPrint.of(config), config.augment.border

    def prepare(batch: Batch | CachedBatch, step: Int[Array, ""]) -> Prepared:
        if isinstance(batch, CachedBatch):
            places = batch.places
        else:
            size = batch["image"].shape[0]
            places = step.astype(jnp.uint32) * size + jnp.arange(size, dtype=jnp.uint32)
        keys = place_keys(config.seed, places)
        draws, borders, prints = (jax.vmap(jax.random.fold_in, (0, None))(keys, kind) for kind in range(3))
        if isinstance(batch, CachedBatch):
            gather = sharded_batch if batch.mesh else cached_batch
            arrays = gather(batch, draws, options=options)
        else:
            arrays = batch
        if border:
            crops = jax.vmap(lambda image, labels, key: add_border(Crop(image, labels), key, chance=border))(
                arrays["image"], arrays["labels"], borders
            )
            arrays = {**arrays, "image": crops.image, "labels": crops.labels}
        lab = rgb_to_lab(arrays["image"])
        if damage != OldPrint():
            aged = jax.vmap(lambda lightness, key: age(lightness, key, damage))(lab[..., 0], prints)
            lab = jnp.concatenate([aged[..., None], lab[..., 1:]], axis=-1)
        return Prepared(arrays, lab)

    return prepare
