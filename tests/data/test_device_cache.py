import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_training import MemorySource

from semcolor_jax.config import default
from semcolor_jax.data import device_cache
from semcolor_jax.data.augment import training_ops
from semcolor_jax.data.augmentation import Options, place_keys
from semcolor_jax.data.device_cache import DeviceCache, cached_batch, plan_layout, require_room
from semcolor_jax.data.example import Sample
from semcolor_jax.data.pipeline import numpy_batches, train_batches
from semcolor_jax.errors import UserError

FIELDS = ("image", "labels", "scene_index", "scene_prob")


class Shapes:
    """Random photos of given shapes."""

    name = "shapes"

    def __init__(self, *shapes):
        self._shapes = shapes
        self.names = [f"photo{i}" for i in range(len(shapes))]

    def __len__(self):
        return len(self._shapes)

    def load(self, index):
        raise NotImplementedError  # these tests read on the host

    def read(self, index):
        rng = np.random.default_rng(index)
        shape = self._shapes[index]
        return Sample(
            name=self.names[index],
            image=rng.integers(0, 256, (*shape, 3), np.uint8),
            labels=rng.integers(0, 183, shape, np.uint8),
            scene_index=np.full(5, index, np.int32),
            scene_prob=np.full(5, 0.2, np.float32),
        )


def _config(side=32, short_side=32, batch_size=4):
    config = default()
    config.data.image_size, config.data.short_side, config.data.batch_size = side, short_side, batch_size
    for name in ("flip", "rotate", "scale", "translate", "contrast", "brightness"):
        config.augment[name] = 0.0
    return config


def _filled(source, config):
    cache = DeviceCache(source, config)
    cache.fill()
    return cache


def _batches(cache, count, **options):
    gather = jax.jit(
        lambda batch: cached_batch(batch, place_keys(0, batch.places), options=Options.of(cache.config)),
    )
    return [jax.device_get(gather(batch)) for batch in itertools.islice(cache.batches(**options), count)]


def test_photos_of_the_crops_size_come_as_the_batches_of_tf_data():
    config, source = _config(), MemorySource(7, side=32)
    dataset = train_batches(source, ops=training_ops(config), batch_size=4, seed=config.seed)
    expected = list(itertools.islice(numpy_batches(dataset), 5))
    for batch, other in zip(_batches(_filled(source, config), 5), expected, strict=True):
        for field in FIELDS:
            np.testing.assert_array_equal(batch[field], other[field])
            assert batch[field].dtype == other[field].dtype


@pytest.mark.parametrize("pool", [device_cache.POOL, 3000, 1100])
def test_every_photo_keeps_its_aspect_and_its_pixels_in_whichever_pool(pool, monkeypatch):
    monkeypatch.setattr(device_cache, "CHUNK", 700)  # smaller than a photo, and no divisor of one
    source = Shapes((32, 32), (32, 33), (33, 32), (32, 32), (32, 32))
    cache = DeviceCache(source, _config(batch_size=5))
    cache.layout = plan_layout(source, cache.config, pool=pool)
    cache.fill()
    assert cache.arrays is not None
    assert all(array.size <= pool for array in cache.arrays.pools)
    for index in range(len(source)):
        array = cache.arrays.pools[int(cache.arrays.pool[index])]
        (height, width), start = cache.arrays.size[index], int(cache.arrays.start[index])
        pixels = np.asarray(array[start : start + height * width]).reshape(height, width)
        expected = source.read(index)
        np.testing.assert_array_equal(pixels >> 24, expected.labels)
        np.testing.assert_array_equal(np.stack([pixels >> shift & 255 for shift in (0, 8, 16)], -1), expected.image)
    (batch,) = _batches(cache, 1)
    for row, index in enumerate(batch["scene_index"][:, 0]):
        if source.read(index).labels.shape == (32, 32):
            np.testing.assert_array_equal(batch["image"][row], source.read(index).image)


def test_small_photos_are_batches_of_their_own_size():
    source = Shapes(*[(64, 80)] * 6, *[(32, 32)] * 6)
    batches = _batches(_filled(source, _config(side=64, short_side=64, batch_size=2)), 12)
    assert {batch["image"].shape for batch in batches} == {(2, 64, 64, 3), (2, 32, 32, 3)}
    for batch in batches:
        assert ((batch["scene_index"][:, 0] >= 6) == (batch["image"].shape[1] == 32)).all()


def test_large_photos_are_stored_shrunk():
    layout = DeviceCache(Shapes((100, 100), (40, 40)), _config()).layout
    np.testing.assert_array_equal(layout.sizes, [(32, 32), (40, 40)])


def test_what_does_not_fit_is_refused_with_the_numbers():
    layout = DeviceCache(Shapes(*[(32, 32)] * 3), _config()).layout
    assert layout.bytes == 4 * 3 * 1024 + 3 * 56
    require_room(layout, step_bytes=2**30, free_bytes=2**30 + layout.bytes)
    with pytest.raises(UserError, match=r"3 photos take 0\.00 GiB, the training step 1\.00 GiB, and 0\.50 GiB"):
        require_room(layout, step_bytes=2**30, free_bytes=2**29)


def test_the_shapes_are_known_before_anything_is_decoded():
    cache = DeviceCache(Shapes((32, 32), (40, 36)), _config())
    abstract = cache.abstract()
    cache.fill()
    assert jax.tree.map(lambda a: (a.shape, jnp.dtype(a.dtype)), abstract) == jax.tree.map(
        lambda a: (a.shape, a.dtype), cache.arrays
    )


def test_an_empty_source_is_refused():
    with pytest.raises(UserError, match="no samples"):
        DeviceCache(Shapes(), _config())
