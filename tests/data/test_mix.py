import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from semcolor_jax.config import default, validate
from semcolor_jax.data.augment import center_crop, chain, random_geometry, random_tone, resize_short
from semcolor_jax.data.cpu_tf import tf
from semcolor_jax.data.embedded import EmbeddedSource
from semcolor_jax.data.example import Sample
from semcolor_jax.data.folder import FolderSource
from semcolor_jax.data.mix import MixedSource, MixPart, apportion, parse_mix
from semcolor_jax.data.pipeline import eval_samples, numpy_batches, train_batches
from semcolor_jax.data.sources import make_source
from semcolor_jax.errors import UserError


class Numbers:
    """Sample i has the label `first + i` everywhere, and a photo of a size of its own."""

    def __init__(self, name, count, *, first=0):
        self.name = name
        self.names = [f"{i}.jpg" for i in range(count)]
        self._first = first

    def __len__(self):
        return len(self.names)

    def read(self, index):
        example = self.load(tf.constant(index, tf.int64))
        return Sample(self.names[index], **{key: value.numpy() for key, value in example.items()})

    def load(self, index):
        value = tf.cast(index + self._first, tf.uint8)
        side = tf.cast(index % 3, tf.int32) + 6
        return {
            "image": tf.fill(tf.stack([side, 8, 3]), value),
            "labels": tf.fill(tf.stack([side, 8]), value),
            "scene_index": tf.range(5),
            "scene_prob": tf.fill([5], 0.2),
        }


def _mix(*sizes, weights):
    starts = np.cumsum([0, *sizes])
    sources = [Numbers(f"s{i}", size, first=int(starts[i])) for i, size in enumerate(sizes)]
    return MixedSource(sources, weights=weights)


def _indices(source, count, *, ops=None, batch_size=4, **options):
    ops = ops or chain(center_crop(4))
    batches = numpy_batches(train_batches(source, ops=ops, batch_size=batch_size, seed=0, **options))
    return np.concatenate([batch["labels"][:, 0, 0] for batch in itertools.islice(batches, count)])


def test_reading_goes_through_every_sample_once_whatever_the_weights():
    mix = _mix(3, 2, weights=[1, 4])
    assert len(mix) == 5
    assert mix.name == "s0=1,s1=4"
    assert list(mix.names) == ["s0/0.jpg", "s0/1.jpg", "s0/2.jpg", "s1/0.jpg", "s1/1.jpg"]
    samples = list(eval_samples(mix))
    assert [int(sample.labels[0, 0]) for sample in samples] == [0, 1, 2, 3, 4]
    assert [sample.name for sample in samples] == list(mix.names)


def test_loading_in_a_graph_is_reading():
    mix = MixedSource([Numbers("a", 3), EmbeddedSource("val"), Numbers("b", 2, first=9)], weights=[1, 1, 1])
    loaded = tf.data.Dataset.range(len(mix)).map(mix.load, num_parallel_calls=2)
    spec: Any = loaded.element_spec
    assert spec["image"].shape.as_list() == [None, None, 3]
    examples: Any = loaded.as_numpy_iterator()
    for index, example in enumerate(examples):
        sample = mix.read(index)
        assert example.keys() == {"image", "labels", "scene_index", "scene_prob"}
        for key, value in example.items():
            expected = getattr(sample, key)
            np.testing.assert_array_equal(value, expected)
            assert value.dtype == expected.dtype


def test_every_batch_has_the_proportions_of_the_weights():
    mix = _mix(40, 8, weights=[1, 3])
    from_second = _indices(mix, 12, batch_size=4).reshape(12, 4) >= 40
    np.testing.assert_array_equal(from_second.sum(axis=1), 3)


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=4),
    weights=st.lists(st.sampled_from([0.5, 1, 2, 5]), min_size=4, max_size=4),
    seed=st.integers(0, 5),
)
def test_every_sample_of_a_source_is_met_equally_often(sizes, weights, seed):
    weights = weights[: len(sizes)]
    if 0 in apportion(sum(sizes), weights=weights):
        return
    mix = _mix(*sizes, weights=weights)
    met = np.zeros(len(mix), int)
    for epoch in range(7):
        order = mix.epoch_order(seed=seed, epoch=epoch)
        assert len(order) == len(mix)
        np.add.at(met, order, 1)
        start = 0
        for size, share in zip(sizes, apportion(len(mix), weights=weights), strict=True):
            part = met[start : start + size]
            assert part.sum() == share * (epoch + 1)
            assert part.max() - part.min() <= 1
            start += size


def test_orders_differ_between_epochs_seeds_and_equal_sources():
    mix = _mix(30, 30, weights=[1, 1])
    first, second, other = (mix.epoch_order(seed=s, epoch=e) for s, e in ((0, 0), (0, 1), (1, 0)))
    assert (first != second).any()
    assert (first != other).any()
    assert (first[first < 30] != first[first >= 30] - 30).any()


@pytest.mark.parametrize(
    ("places", "weights", "shares"),
    [
        (10, [1, 1], [5, 5]),
        (10, [2, 1], [7, 3]),  # 6.67 and 3.33
        (10, [1, 1, 1], [4, 3, 3]),
        (7, [5, 3, 2], [4, 2, 1]),  # 3.5, 2.1, 1.4: the greatest remainder is the first's
        (4, [0.1, 100], [0, 4]),
    ],
)
def test_places_are_divided_by_largest_remainders(places, weights, shares):
    assert apportion(places, weights=weights) == shares


RANDOM = chain(random_geometry(4, short_side=6), random_tone(brightness=0.5))


@pytest.mark.parametrize("start", [1, 3, 8])
def test_a_resumed_run_and_several_hosts_see_the_same_batches(start):
    mix = _mix(5, 8, weights=[2, 1])
    whole = _indices(mix, 12, ops=RANDOM)
    np.testing.assert_array_equal(_indices(mix, 12 - start, ops=RANDOM, start_step=start), whole[4 * start :])
    hosts = [_indices(mix, 12, ops=RANDOM, shard_index=i, shard_count=2).reshape(12, 2) for i in range(2)]
    np.testing.assert_array_equal(np.concatenate(hosts, axis=1).ravel(), whole)


def test_a_weight_that_comes_to_nothing_is_refused():
    with pytest.raises(UserError, match=r"weight 0.01 of s0 .* epoch of 10; raise it"):
        _mix(5, 5, weights=[0.01, 1])


def test_an_empty_source_is_refused():
    with pytest.raises(UserError, match="s1 has no samples"):
        _mix(5, 0, weights=[1, 1])


def test_the_config_field_is_read():
    assert parse_mix("folder:/data/a=2, folder:data/b=0.5,embedded,coco_stuff") == [
        MixPart(source="folder", dir="/data/a", weight=2),
        MixPart(source="folder", dir="data/b", weight=0.5),
        MixPart(source="embedded", dir="", weight=1),
        MixPart(source="coco_stuff", dir="", weight=1),
    ]
    assert parse_mix("folder:/a=b=1") == [MixPart(source="folder", dir="/a=b", weight=1)]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "part ''; it is written SOURCE"),
        ("embedded,", "part ''"),
        ("photos=1", "part 'photos=1'.*embedded, folder"),
        ("mix=1", "part 'mix=1'"),
        ("folder=1", "must name a folder"),
        ("embedded=0", "weight '0' is no number above 0"),
        ("embedded=-1", "weight '-1'"),
        ("embedded=nan", "weight 'nan'"),
        ("embedded=inf", "weight 'inf'"),
        ("embedded=", "weight ''"),
        ("folder:/a=b", "weight 'b'"),
    ],
)
def test_a_malformed_field_is_refused(text, problem):
    with pytest.raises(UserError, match=problem):
        parse_mix(text)


def _folder(root, count):
    for i in range(count):
        (root / "kitchen").mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 256, (10, 12 + i, 3), np.uint8)
        Image.fromarray(pixels).save(root / "kitchen" / f"{i}.jpg")
    return root


def test_a_config_mixes_sources(tmp_path):
    folder = _folder(tmp_path / "photos", 6)
    config = default()
    config.data.source, config.data.mix = "mix", f"folder:{folder}=3,embedded=1"
    validate(config)
    mix = make_source(config, "train")
    assert mix.name == "photos=3,embedded=1"
    assert len(mix) == len(FolderSource(folder, "train")) + len(EmbeddedSource("train"))
    assert len(make_source(config, "val")) == len(FolderSource(folder, "val")) + len(EmbeddedSource("val"))
    dataset = train_batches(mix, ops=chain(resize_short(8), center_crop(8)), batch_size=8, seed=0)
    batch = next(numpy_batches(dataset))
    kitchens = np.sum(batch["scene_prob"][:, 0] == 1)
    assert kitchens == 6
    assert (batch["labels"] == 255).all(axis=(1, 2)).sum() >= 6


def test_no_weight_is_too_small_for_the_few_validation_samples(tmp_path):
    config = default()
    folder = _folder(tmp_path / "photos", 6)
    config.data.source, config.data.mix = "mix", f"folder:{folder}=1,embedded=50"
    assert len(make_source(config, "val")) == len(FolderSource(folder, "val")) + len(EmbeddedSource("val"))
    make_source(config, "train")


@pytest.mark.parametrize(("source", "mix"), [("mix", ""), ("embedded", "embedded=1")])
def test_a_mix_needs_both_fields(source, mix):
    config = default()
    config.data.source, config.data.mix = source, mix
    with pytest.raises(UserError, match="to mix data sets set both"):
        validate(config)
