import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import coco_archives
import numpy as np
import pytest
import tensorflow_datasets as tfds
from coco_archives import LABELS, PANOPTIC, encoded, ids, opened
from PIL import Image

from semcolor_jax.config import default
from semcolor_jax.data.coco_stuff import Builder, CocoStuffSource, find_prepared, prepare, shards
from semcolor_jax.data.cpu_tf import tf
from semcolor_jax.data.sources import make_source
from semcolor_jax.errors import UserError
from semcolor_jax.taxonomy.label_sets import coco_stuff_id, places365_id

ROOT = Path(__file__).parents[2]
PERSON, SKY = coco_stuff_id("person"), coco_stuff_id("sky-other")


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    """A prepared data set, not to be written to."""
    folder = tmp_path_factory.mktemp("coco")
    prepare(folder / "data", archives=coco_archives.write(folder / "archives"))
    return folder / "data"


def _prepared_with(tmp_path, changes):
    """Prepares archives of which some files differ: (archive, name) -> content, or None to leave it out."""
    archives = coco_archives.files()
    for (archive, name), content in changes.items():
        archives[archive].pop(name, None)
        if content is not None:
            archives[archive][name] = content
    prepare(tmp_path / "data", archives=coco_archives.write(tmp_path / "archives", archives))
    return opened(tmp_path / "data", "train")


def test_prepared_archives_are_a_data_set(data_dir):
    train, val = opened(data_dir, "train"), opened(data_dir, "val")
    assert train.names == ["train2017/000000000009.jpg", "train2017/000000000025.jpg"]
    assert val.names == ["val2017/000000000139.jpg"]
    large, small = train.read(0), train.read(1)
    assert large.name == train.names[0]
    assert large.image.shape == (256, 274, 3)  # 300 x 280 with the short side reduced to 256
    assert small.image.shape == (30, 40, 3)  # small photos are left as they are
    np.testing.assert_array_equal(small.labels[0], [PERSON] * 20 + [SKY] * 16 + [0] * 4)
    assert set(np.unique(large.labels)) == {0, PERSON, SKY}
    np.testing.assert_array_equal(large.labels[:, :136], PERSON)
    np.testing.assert_array_equal(large.labels[:, 138:245], SKY)
    assert not large.scene_prob.any()


def test_photos_keep_their_colours(data_dir):
    small = opened(data_dir, "train").read(1).image.astype(int)
    assert np.abs(small[:, 5:15] - [35, 135, 215]).max() <= 3  # JPEG's error, twice
    assert np.abs(small[:, 25:35] - [220, 120, 40]).max() <= 3


def test_load_gives_what_read_gives(data_dir):
    source = opened(data_dir, "train")
    dataset = tf.data.Dataset.range(len(source)).map(tf.autograph.experimental.do_not_convert(source.load))
    examples: Any = dataset.as_numpy_iterator()
    for index, example in enumerate(examples):
        sample = source.read(index)
        np.testing.assert_array_equal(example["image"], sample.image)
        np.testing.assert_array_equal(example["labels"], sample.labels)
        assert {key: value.dtype.name for key, value in example.items()} == {
            "image": "uint8",
            "labels": "uint8",
            "scene_index": "int32",
            "scene_prob": "float32",
        }
    spec: Any = dataset.element_spec
    assert spec["image"].shape.as_list() == [None, None, 3]


def test_grey_photos_stay_in_the_data_set_but_not_in_training(data_dir, caplog):
    with caplog.at_level(logging.INFO):
        source = opened(data_dir, "train")
    assert (len(source), source.dropped) == (2, 1)
    assert "left out 1 grey of 3" in caplog.text
    info: Any = tfds.builder_from_directory(data_dir / "coco_stuff" / "256px" / "1.0.0").info
    assert info.splits["train"].num_examples == 3
    assert info.metadata["gray"] == {"train": [30], "validation": []}


def test_features_are_stored_in_the_order_of_their_names(data_dir):
    """Else two processes write other bytes: the order of a protobuf's map changes with each."""
    builder: Any = tfds.builder("coco_stuff", data_dir=data_dir)
    raw = tfds.decode.DeserializeMethod.RAW_BYTES
    for record in builder.as_data_source("train", deserialize_method=raw):
        assert record == tf.train.Example.FromString(record).SerializeToString(deterministic=True)


def test_tfds_reads_what_was_prepared(data_dir):
    builder: Any = tfds.builder("coco_stuff", data_dir=data_dir)
    assert str(builder.version) == "1.0.0"
    assert builder.is_prepared()
    assert "caesar2018cocostuff" in builder.info.citation
    assert builder.info.features["segmentation"].names[1] == "person"
    records = builder.as_data_source("train")
    assert [record["image_id"] for record in records] == [9, 25, 30]
    source = opened(data_dir, "train")
    np.testing.assert_array_equal(records[1]["segmentation"][..., 0], source.read(1).labels)
    assert np.abs(np.asarray(records[1]["image"], int) - source.read(1).image).max() <= 9  # the faster decoder


def test_scenes_come_from_a_file_beside(data_dir, tmp_path):
    shutil.copytree(data_dir, tmp_path / "data")
    scenes = {"train2017/000000000025.jpg": [["beach", 0.6], ["coast", 0.2]]}
    (tmp_path / "data" / "coco_stuff" / "scenes.json").write_text(json.dumps(scenes))
    source = opened(tmp_path / "data", "train")
    sample, example = source.read(1), source.load(tf.constant(1, tf.int64))
    np.testing.assert_array_equal(sample.scene_index[:2], [places365_id("beach"), places365_id("coast")])
    np.testing.assert_allclose(sample.scene_prob, [0.75, 0.25, 0, 0, 0])
    np.testing.assert_array_equal(example["scene_prob"], sample.scene_prob)
    assert not source.read(0).scene_prob.any()


def test_the_smallest_size_that_is_large_enough_is_taken(data_dir, archives, tmp_path):
    shutil.copytree(data_dir, tmp_path / "data")
    prepare(tmp_path / "data", archives=archives, short_side=64)
    shapes = {
        wanted: opened(tmp_path / "data", "train", short_side=wanted).read(0).image.shape[0]
        for wanted in (32, 64, 65, 256)
    }
    assert shapes == {32: 64, 64: 64, 65: 256, 256: 256}
    assert find_prepared(tmp_path / "data", "train", short_side=257) is None


def test_preparing_goes_on_where_it_was_interrupted(archives, tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_LENGTH", 2)
    store, stored = shards.store_sample, []

    def interrupted(name, *args, **options):
        stored.append(name)
        if name == "train2017/000000000030.jpg" and stored.count(name) == 1:
            raise KeyboardInterrupt
        return store(name, *args, **options)

    monkeypatch.setattr(shards, "store_sample", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare(tmp_path / "data", archives=archives)
    assert find_prepared(tmp_path / "data", "train") is None
    prepare(tmp_path / "data", archives=archives)
    assert sorted(stored) == [f"{name}.jpg" for name in sorted([*coco_archives.SIZES, "train2017/000000000030"])]
    assert opened(tmp_path / "data", "train").names[1] == "train2017/000000000025.jpg"
    assert os.listdir(tmp_path / "data" / "coco_stuff" / "256px") == ["1.0.0"]
    stored.clear()
    prepare(tmp_path / "data", archives=archives)  # all there
    assert stored == []


def test_shards_of_other_archives_are_not_taken_up(tmp_path):
    bad = ids(30, 20) | np.uint8(200)
    with pytest.raises(UserError, match="holds the id"):
        _prepared_with(tmp_path, {(LABELS, "val2017/000000000139.png"): encoded(bad, "png")})
    assert list((tmp_path / "data").glob("coco_stuff/256px/1.0.0.partial/*train*"))
    other = encoded(np.full((30, 40), 90, np.uint8), "png")
    source = _prepared_with(tmp_path, {(LABELS, "train2017/000000000025.png"): other})
    np.testing.assert_array_equal(source.read(1).labels, np.full((30, 40), 91))


@pytest.mark.parametrize("name", ["train2017.zip", "val2017.zip", LABELS])
def test_missing_and_damaged_archives_are_named(archives, tmp_path, name):
    content = (archives / name).read_bytes()
    (archives / name).write_bytes(content[:-30])
    with pytest.raises(UserError, match=rf"{name} is not a whole zip file"):
        prepare(tmp_path / "out", archives=archives)
    middle = len(content) // 3
    (archives / name).write_bytes(content[:middle] + bytes(99) + content[middle + 99 :])
    with pytest.raises(UserError, match=rf"{name} is damaged at .*2017/0000.*download it again"):
        prepare(tmp_path / "out", archives=archives)
    (archives / name).unlink()
    with pytest.raises(UserError, match=rf"there is no file .*{name}: put {name} \(\d+\.\d GB, http://.*{name}\)"):
        prepare(tmp_path / "out", archives=archives)


def test_other_archives_are_refused(tmp_path):
    with pytest.raises(UserError, match=rf"{LABELS} lacks train2017/000000000009\.png"):
        _prepared_with(tmp_path, {(LABELS, "train2017/000000000009.png"): None})
    archives = coco_archives.write(tmp_path / "b", coco_archives.files() | {"train2017.zip": {"../../evil.jpg": b""}})
    with pytest.raises(UserError, match="holds no photos train2017/"):
        prepare(tmp_path / "out", archives=archives)
    with pytest.raises(UserError, match=r"holds train2017/cat\.jpg, which is not named after an id"):
        _prepared_with(tmp_path, {("train2017.zip", "train2017/cat.jpg"): b""})


@pytest.mark.parametrize("bad", [182, 200, 254])
def test_an_id_outside_the_taxonomy_is_refused(tmp_path, bad):
    labels = ids(40, 30)
    labels[7, 9] = bad
    with pytest.raises(UserError, match=rf"{LABELS}: train2017/000000000025\.png holds the id {bad}"):
        _prepared_with(tmp_path, {(LABELS, "train2017/000000000025.png"): encoded(labels, "png")})


def test_all_published_ids_have_a_class(tmp_path):
    labels = np.arange(1200, dtype=np.int32).reshape(30, 40) % 182
    labels[0, 0] = 255
    content = encoded(labels.astype(np.uint8), "png")
    source = _prepared_with(tmp_path, {(LABELS, "train2017/000000000025.png"): content})
    expected = labels + 1
    expected[0, 0] = 0
    np.testing.assert_array_equal(source.read(1).labels, expected)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (encoded(ids(39, 30), "png"), "has 39 x 30 pixels, but its photo has 40 x 30"),
        (encoded(np.zeros((30, 40, 3), np.uint8), "png"), "is no label map: 8-bit grey is wanted, not RGB"),
        (encoded(np.zeros((30, 40), np.uint16), "png"), "is no label map: 8-bit grey is wanted, not I;16"),
        (encoded(ids(40, 30), "png")[:-40], "damaged"),
        (b"no image", "is not an image"),
    ],
    ids=["size", "rgb", "16 bit", "cut short", "text"],
)
def test_a_bad_label_map_is_named(tmp_path, labels, said):
    with pytest.raises(UserError, match=rf"{LABELS}: train2017/000000000025\.png.*{said}"):
        _prepared_with(tmp_path, {(LABELS, "train2017/000000000025.png"): labels})


@pytest.mark.parametrize("content", [b"no image", encoded(np.zeros((30, 40, 3), np.uint8), "jpg")[:500]])
def test_a_bad_photo_is_named(tmp_path, content):
    with pytest.raises(UserError, match=r"train2017\.zip: train2017/000000000025\.jpg is .*damaged"):
        _prepared_with(tmp_path, {("train2017.zip", "train2017/000000000025.jpg"): content})


def _cmyk(array):
    """Pillow's own inverse of its CMYK -> RGB: no black."""
    inverted = np.concatenate([255 - array, np.zeros_like(array[..., :1])], axis=-1)
    return Image.frombytes("CMYK", (array.shape[1], array.shape[0]), inverted.tobytes())


def test_photos_of_other_kinds_become_rgb(tmp_path):
    plain = coco_archives.photo("train2017/000000000025")
    alpha = np.concatenate([plain, np.full_like(plain[..., :1], 255)], axis=-1)
    alpha[:10, :, 3] = 0  # transparent parts are laid on white
    _cmyk(plain).save(tmp_path / "cmyk.jpg", quality=95)
    grey16 = np.full((280, 300), 40_000, np.uint16)
    source = _prepared_with(
        tmp_path,
        {
            ("train2017.zip", "train2017/000000000009.jpg"): encoded(grey16, "png"),
            ("train2017.zip", "train2017/000000000025.jpg"): (tmp_path / "cmyk.jpg").read_bytes(),
            ("train2017.zip", "train2017/000000000031.jpg"): encoded(alpha, "png"),
            (LABELS, "train2017/000000000031.png"): encoded(ids(40, 30), "png"),
        },
    )
    assert source.names == ["train2017/000000000025.jpg", "train2017/000000000031.jpg"]
    assert source.dropped == 2
    assert np.abs(source.read(0).image[:, 25:35].astype(int) - [220, 120, 40]).max() <= 6
    on_white = source.read(1).image.astype(int)
    assert on_white[:8].min() >= 245
    assert np.abs(on_white[14:, 25:35] - [220, 120, 40]).max() <= 6


def test_photo_and_label_map_stay_aligned_whatever_exif_says(tmp_path):
    image = Image.fromarray(coco_archives.photo("train2017/000000000025"))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", quality=95, exif=exif)
    source = _prepared_with(
        tmp_path, {("train2017.zip", "train2017/000000000025.jpg"): (tmp_path / "turned.jpg").read_bytes()}
    )
    assert source.read(1).image.shape == (30, 40, 3)


def test_a_data_dir_that_cannot_be_written(archives, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write to .*file"):
        prepare(tmp_path / "file" / "data", archives=archives)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:1000] + bytes(len(content) - 1000),
        lambda content: b"",
        None,
    ],
    ids=["cut short", "overwritten", "empty", "gone"],
)
def test_a_damaged_shard_is_named(data_dir, tmp_path, damage):
    shutil.copytree(data_dir, tmp_path / "data")
    (shard,) = (tmp_path / "data").glob("coco_stuff/256px/1.0.0/*train*")
    content = shard.read_bytes()
    shard.unlink() if damage is None else shard.write_bytes(damage(content))
    with pytest.raises(UserError, match=r"COCO-Stuff in .*1\.0\.0 is damaged .*prepare it anew"):
        opened(tmp_path / "data", "train").read(0)


def test_damaged_metadata_are_named(data_dir, tmp_path):
    shutil.copytree(data_dir, tmp_path / "data")
    folder = tmp_path / "data" / "coco_stuff" / "256px" / "1.0.0"
    (folder / "metadata.json").unlink()
    with pytest.raises(UserError, match=r"COCO-Stuff in .*1\.0\.0 is damaged .*prepare it anew"):
        opened(tmp_path / "data", "val")
    (folder / "dataset_info.json").write_text("{")
    with pytest.raises(UserError, match=r"COCO-Stuff in .*1\.0\.0 is damaged .*prepare it anew"):
        CocoStuffSource(folder, "val")


def test_other_file_formats_are_refused(tmp_path):
    with pytest.raises(UserError, match="not as tfrecord"):
        Builder(data_dir=tmp_path, file_format="tfrecord")


def test_without_the_data_set_the_message_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    config = default()
    assert config.data.source == "coco_stuff"
    with pytest.raises(UserError) as caught:
        make_source(config, "train")
    for part in (
        "train2017.zip (19.3 GB)",
        "118,287",
        "stuffthingmaps",
        "prepare coco_stuff",
        "--config.data.source=folder",
    ):
        assert part in str(caught.value)
    config.data.short_side = 384
    with pytest.raises(UserError, match=r"prepared at 384 pixels .* --short-side 384"):
        make_source(config, "train")


def test_the_data_set_is_found_in_the_default_folder(data_dir, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(data_dir))
    assert len(make_source(default(), "val")) == 1


def _run(*arguments):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_our_own_command(archives, tmp_path):
    folders = ("-o", tmp_path / "data", "--archives", archives)
    prepared = _run("semcolor_jax", "data", "prepare", "coco_stuff", *folders, "--short-side", 64)
    assert prepared.returncode == 0, prepared.stderr
    assert "train: 3 photos, 1 of them without colour" in prepared.stderr
    assert opened(tmp_path / "data", "train", short_side=64).read(0).image.shape == (64, 69, 3)


@pytest.mark.skipif(not PANOPTIC.is_file(), reason="the set of real photos is not here")
def test_real_photos_repacked_into_the_published_layout(tmp_path):
    content, label_of_id = coco_archives.real(tmp_path / "raw", count=20)
    prepare(tmp_path / "data", archives=coco_archives.write(tmp_path / "archives", content))
    for split in ("train", "val"):
        source = opened(tmp_path / "data", split)
        assert len(source) + source.dropped == 20
        for index, name in enumerate(source.names):
            sample, stem = source.read(index), Path(name).stem
            expected = label_of_id[np.array(Image.open(tmp_path / "raw" / split / "labels" / f"{stem}.png"))]
            np.testing.assert_array_equal(sample.labels, expected)  # they are 256 pixels high or wide already
            photo = np.array(Image.open(tmp_path / "raw" / split / "images" / f"{stem}.jpg").convert("RGB"))
            assert np.mean((sample.image - photo.astype(float)) ** 2) < 10  # above 38 dB
