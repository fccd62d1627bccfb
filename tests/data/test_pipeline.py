import itertools

import jax
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from PIL import Image

from semcolor_jax.config import default
from semcolor_jax.data.augment import center_crop, chain, random_geometry, random_tone, resize_short
from semcolor_jax.data.cpu_tf import tf
from semcolor_jax.data.example import Sample
from semcolor_jax.data.folder import FolderSource
from semcolor_jax.data.order import epoch_order, first_indices
from semcolor_jax.data.pipeline import eval_samples, numpy_batches, prefetch_to_device, train_batches
from semcolor_jax.data.sources import make_source
from semcolor_jax.errors import UserError


class Numbers:
    """Sample i is a photo of the colour i, all of one size."""

    name = "numbers"

    def __init__(self, count):
        self.names = [str(i) for i in range(count)]

    def __len__(self):
        return len(self.names)

    def read(self, index):
        example = self.load(tf.constant(index, tf.int64))
        return Sample(self.names[index], **{key: value.numpy() for key, value in example.items()})

    def load(self, index):
        value = tf.cast(index, tf.uint8)
        return {
            "image": tf.fill([6, 6, 3], value),
            "labels": tf.fill([6, 6], value),
            "scene_index": tf.range(5),
            "scene_prob": tf.fill([5], 0.2),
        }


PLAIN = chain(center_crop(4))


def _batches(source, count, *, ops=PLAIN, batch_size=4, seed=0, **options):
    dataset = train_batches(source, ops=ops, batch_size=batch_size, seed=seed, **options)
    return list(itertools.islice(numpy_batches(dataset), count))


def _indices(batches):
    return np.concatenate([batch["labels"][:, 0, 0] for batch in batches])


def _assert_equal(left, right):
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        assert one.keys() == other.keys()
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])


def test_batches_are_what_the_contract_says():
    (batch,) = _batches(Numbers(7), 1)
    shapes = {key: (value.dtype.name, value.shape) for key, value in batch.items()}
    assert shapes == {
        "image": ("uint8", (4, 4, 4, 3)),
        "labels": ("uint8", (4, 4, 4)),
        "scene_index": ("int32", (4, 5)),
        "scene_prob": ("float32", (4, 5)),
    }


@pytest.mark.parametrize("batch_size", [1, 4, 7, 16])
def test_every_sample_comes_once_per_epoch(batch_size):
    indices = _indices(_batches(Numbers(7), -(-21 // batch_size), batch_size=batch_size))[:21].reshape(3, 7)
    np.testing.assert_array_equal(np.sort(indices, axis=1), np.tile(np.arange(7), (3, 1)))


def test_epochs_and_seeds_have_orders_of_their_own():
    first = _indices(_batches(Numbers(60), 30)).reshape(2, 60)
    other = _indices(_batches(Numbers(60), 15, seed=1))
    assert (first[0] != first[1]).any()
    assert (first[0] != other).any()


def test_orders_are_unbiased():
    firsts = [epoch_order(Numbers(4), seed=0, epoch=epoch)[0] for epoch in range(1000)]
    # A multinomial of 1000 draws with p = 1/4 has standard deviation 14.
    np.testing.assert_allclose(np.bincount(firsts, minlength=4), 250, atol=60)


@pytest.mark.parametrize("count", [1, 7, 17])
def test_the_first_indices_are_those_of_the_first_batches(count):
    expected = _indices(_batches(Numbers(7), 5, seed=3))[:count]
    np.testing.assert_array_equal(first_indices(Numbers(7), count, seed=3), expected)


RANDOM = chain(random_geometry(4, short_side=6), random_tone(brightness=0.5))


@pytest.mark.parametrize("start", [1, 2, 5, 9])
def test_a_resumed_run_sees_the_batches_of_the_uninterrupted_one(start):
    whole = _batches(Numbers(7), 12, ops=RANDOM)
    _assert_equal(whole[start:], _batches(Numbers(7), 12 - start, ops=RANDOM, start_step=start))


def test_augmentation_differs_between_epochs():
    images = np.concatenate([batch["image"][:, 0, 0, 0] for batch in _batches(Numbers(1), 5, ops=RANDOM)])
    assert len(set(images)) > 5


def test_a_start_far_away_costs_no_walk_there():
    step = 10**12
    (batch,) = _batches(Numbers(7), 1, start_step=step)
    place = np.arange(4 * step, 4 * step + 4)
    expected = [epoch_order(Numbers(7), seed=0, epoch=int(p // 7))[p % 7] for p in place]
    np.testing.assert_array_equal(batch["labels"][:, 0, 0], expected)


@pytest.mark.parametrize("shards", [2, 3])
def test_the_hosts_rows_together_are_the_global_batch(shards):
    whole = _batches(Numbers(7), 6, ops=RANDOM, batch_size=6, start_step=3)
    parts = [
        _batches(Numbers(7), 6, ops=RANDOM, batch_size=6, start_step=3, shard_index=shard, shard_count=shards)
        for shard in range(shards)
    ]
    joined = [
        {key: np.concatenate([part[key] for part in rows]) for key in rows[0]} for rows in zip(*parts, strict=True)
    ]
    _assert_equal(whole, joined)


def test_hosts_that_cannot_share_a_batch_are_refused():
    with pytest.raises(UserError, match="batch_size is 4, which 3 hosts"):
        train_batches(Numbers(7), ops=PLAIN, batch_size=4, seed=0, shard_count=3)


def test_an_empty_source_is_refused():
    with pytest.raises(UserError, match="numbers has no samples"):
        train_batches(Numbers(0), ops=PLAIN, batch_size=4, seed=0)


def test_eval_samples_are_spread_evenly():
    def names(limit):
        return [sample.name for sample in eval_samples(Numbers(10), limit)]

    assert names(5) == ["0", "2", "4", "6", "8"]
    assert names(3) == ["0", "3", "6"]
    assert names(0) == names(99) == [str(i) for i in range(10)]


def _folder(root, count=6):
    for i in range(count):
        pixels = np.random.default_rng(i).integers(0, 256, (10, 12, 3), np.uint8)
        Image.fromarray(pixels).save(root / f"{i}.jpg")
    return FolderSource(root)


FIT = chain(resize_short(8), center_crop(8))


def test_photos_of_a_folder_come_as_batches(tmp_path):
    (batch,) = _batches(_folder(tmp_path), 1, ops=FIT)
    assert batch["image"].shape == (4, 8, 8, 3)
    assert (batch["labels"] == 255).all()


def test_a_file_that_vanishes_later_is_named(tmp_path):
    dataset = train_batches(_folder(tmp_path, count=1), ops=FIT, batch_size=1, seed=0)
    (tmp_path / "0.jpg").unlink()
    with pytest.raises(UserError, match=r"could not be read: .*0\.jpg; No such file"):
        next(numpy_batches(dataset))


def test_a_file_that_breaks_later_is_reported(tmp_path):
    dataset = train_batches(_folder(tmp_path, count=1), ops=FIT, batch_size=1, seed=0)
    (tmp_path / "0.jpg").write_bytes(b"no longer a photo")
    with pytest.raises(UserError, match="could not be read: "):
        next(numpy_batches(dataset))


def test_a_file_that_only_the_host_can_decode_is_named_when_it_vanishes(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (10, 12, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.webp")
    dataset = train_batches(FolderSource(tmp_path), ops=FIT, batch_size=1, seed=0)
    (tmp_path / "a.webp").unlink()
    with pytest.raises(UserError, match=r"could not be read: there is no file .*a\.webp\.$"):
        next(numpy_batches(dataset))


def test_prefetching_changes_nothing():
    expected = _batches(Numbers(7), 5)
    for size in (1, 2, 9):
        got = list(prefetch_to_device(iter(expected), size=size))
        assert all(isinstance(batch["image"], jax.Array) for batch in got)
        _assert_equal(expected, [jax.device_get(batch) for batch in got])


def test_prefetching_stays_ahead_by_its_size():
    taken = []
    source = (taken.append(i) or {"x": np.float32(i)} for i in range(9))
    batches = prefetch_to_device(source, size=3)
    next(batches)
    assert taken == [0, 1, 2]
    next(batches)
    assert taken == [0, 1, 2, 3]


def test_prefetching_a_dataset_puts_it_where_the_sharding_says():
    mesh = Mesh(np.array(jax.devices()[:1]), ("data",))
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    dataset = train_batches(Numbers(7), ops=PLAIN, batch_size=4, seed=0)
    batch = next(prefetch_to_device(dataset, sharding=sharding))
    assert batch["image"].sharding.is_equivalent_to(sharding, 4)
    _assert_equal(_batches(Numbers(7), 1), [jax.device_get(batch)])


def test_prefetching_passes_errors_on(tmp_path):
    dataset = train_batches(_folder(tmp_path, count=1), ops=FIT, batch_size=1, seed=0)
    (tmp_path / "0.jpg").unlink()
    with pytest.raises(UserError, match=r"0\.jpg"):
        next(prefetch_to_device(dataset))


def test_tensorflow_sees_no_accelerator():
    assert tf.config.get_visible_devices("GPU") == []


def test_sources_by_name(tmp_path):
    _folder(tmp_path)
    config = default()
    config.data.source = "embedded"
    assert make_source(config, "train").name == "embedded"
    config.data.source, config.data.dir = "folder", str(tmp_path)
    assert len(make_source(config, "train")) + len(make_source(config, "val")) == 6
    config.data.source = "photos"
    with pytest.raises(UserError, match="'photos'"):
        make_source(config, "train")
