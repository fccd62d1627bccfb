"""Builds training batches from a data set, as a function of (seed, step) alone.

The training stream is an endless sequence of places 0, 1, 2, ... Place i belongs to epoch i // n of a
source of n samples; each epoch's order is drawn from (seed, epoch), see `data.order`, and the ops of place i draw from
(seed, i). Batch k holds the places k B .. (k + 1) B, so a resumed run sees exactly the batches of the uninterrupted
one.
"""

from __future__ import annotations

import collections
import itertools
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, cast

import jax
import numpy as np
from jaxtyping import Int64

from semcolor_jax.data.example import Batch, Sample, Source
from semcolor_jax.data.order import epoch_order
from semcolor_jax.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf

    from semcolor_jax.data.augment import Op


def train_batches(
    source: Source,
    *,
    ops: Op,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    shard_index: int = 0,
    shard_count: int = 1,
) -> tf.data.Dataset:
    """Returns the endless training batches from `start_step` on.

    Args:
      source: the samples.
      ops: must bring all samples to one size.
      batch_size: the global one, over all hosts.
      seed: any integer from 0 on.
      start_step: the first batch; any one can be reached at the same cost.
      shard_index: which host this is. Host i gets the i-th run of rows of each global batch.
      shard_count: how many hosts there are.

    Raises:
      UserError: if the source is empty or the hosts cannot share the batch evenly.
    """
    from semcolor_jax.data.cpu_tf import tf  # here, because the rest of this module does not need TensorFlow

    if not len(source):
        raise UserError(f"the data set {source.name} has no samples to train on.")
    if batch_size % shard_count:
        raise UserError(f"config.data.batch_size is {batch_size}, which {shard_count} hosts cannot share evenly.")
    samples, rows = len(source), batch_size // shard_count

    def places(epoch: np.int64) -> Int64[np.ndarray, "places 2"]:
        """Returns this host's (place, sample index) pairs of an epoch."""
        place = np.arange(max(start_step * batch_size, epoch * samples), (epoch + 1) * samples)
        place = place[place % batch_size // rows == shard_index]
        return np.stack([place, epoch_order(source, seed=seed, epoch=int(epoch))[place % samples]], axis=1)

    @tf.autograph.experimental.do_not_convert
    def epoch_places(epoch: tf.Tensor) -> tf.data.Dataset:
        pairs = tf.ensure_shape(tf.numpy_function(places, [epoch], tf.int64), [None, 2])
        return tf.data.Dataset.from_tensor_slices(pairs)

    @tf.autograph.experimental.do_not_convert
    def load(pair: tf.Tensor) -> dict[str, tf.Tensor]:
        return ops(source.load(pair[1]), tf.stack([tf.constant(seed, tf.int64), pair[0]]))

    epochs = tf.data.Dataset.range(start_step * batch_size // samples, tf.int64.max)
    return (
        epochs.flat_map(epoch_places)
        .map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .batch(rows, drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
    )


def eval_samples(source: Source, limit: int = 0) -> Iterator[Sample]:
    """Yields at most `limit` samples, evenly spread over the source and always the same; 0 means all."""
    count = min(limit, len(source)) if limit else len(source)
    for position in range(count):
        yield source.read(position * len(source) // count)


def numpy_batches(dataset: tf.data.Dataset) -> Iterator[Batch]:
    """Yields the dataset's batches as dicts of numpy arrays.

    Raises:
      UserError: while iterating, if a file of the data set is gone or damaged since the source was created.
    """
    from semcolor_jax.data.cpu_tf import tf

    op_error = tf.errors.OpError  # a local, because at exit TensorFlow's modules are torn down before this generator
    try:
        yield from cast(Iterator[Batch], dataset.as_numpy_iterator())
    except op_error as error:
        raise UserError(f"a training sample could not be read: {_cause(error)}") from error


def prefetch_to_device(
    batches: tf.data.Dataset | Iterable[Batch],
    *,
    size: int = 2,
    sharding: jax.sharding.Sharding | None = None,
) -> Iterator[dict[str, jax.Array]]:
    """Yields the batches on device, `size` of them ahead, so that copying overlaps with computing.

    With a `sharding`, `batches` are this process's rows of the global batch; the global batch comes out.

    Raises:
      UserError: as `numpy_batches`, if `batches` is a dataset.
    """
    is_dataset = hasattr(batches, "as_numpy_iterator")  # a check that needs no TensorFlow
    arrays = numpy_batches(cast("tf.data.Dataset", batches)) if is_dataset else iter(cast(Iterable[Batch], batches))
    queue = collections.deque(_put(batch, sharding) for batch in itertools.islice(arrays, size))
    while queue:
        yield queue.popleft()
        queue.extend(_put(batch, sharding) for batch in itertools.islice(arrays, 1))


def _put(batch: Batch, sharding: jax.sharding.Sharding | None) -> dict[str, jax.Array]:
    if sharding is None:
        return jax.device_put(batch)
    return {key: jax.make_array_from_process_local_data(sharding, value) for key, value in batch.items()}


def _cause(error: tf.errors.OpError) -> str:
    """Returns one sentence from TensorFlow's long message: our own if we raised it, else the first line."""
    ours = re.search(r"UserError: (.*)", error.message)
    if ours:
        return ours.group(1)
    first = error.message.splitlines()[0]
    return re.sub(r"^(\{\{.*?\}\}\s*)+", "", first)
