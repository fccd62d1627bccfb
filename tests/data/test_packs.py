import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from semcolor_jax.config import default, validate
from semcolor_jax.data.example import Sample
from semcolor_jax.data.folder import Split
from semcolor_jax.data.packs import PackedSet, open_pack, pack_sample, write_parts
from semcolor_jax.data.sources import make_source
from semcolor_jax.errors import UserError

SETS = [PackedSet("houses", 2.0, "made up"), PackedSet("pets", 1.0, "made up")]


def _sample(index, *, labelled=False, height=40, width=56):
    corners = np.random.default_rng(index).integers(0, 256, (2, 2, 3)).astype(np.uint8)
    image = np.asarray(Image.fromarray(corners).resize((width, height), Image.Resampling.BILINEAR))
    labels = np.full((height, width), index if labelled else 255, np.uint8)
    labels[: height // 2] = 255
    return Sample(
        name=f"photo {index}.jpg",
        image=image,
        labels=labels,
        scene_index=np.full(5, index, np.int32),
        scene_prob=np.full(5, 0.2 if labelled else 0, np.float32),
    )


def _photos():
    """Six photos of set 0 and three of set 1 to train on, one of each to validate; every second one is labelled."""
    splits: tuple[tuple[int, Split, int], ...] = ((0, "train", 6), (1, "train", 3), (0, "val", 1), (1, "val", 1))
    kinds: list[tuple[int, Split]] = [(number, split) for number, split, count in splits for _ in range(count)]
    return [
        pack_sample(_sample(i, labelled=i % 2 == 0), set=number, split=split, short_side=40, quality=90)
        for i, (number, split) in enumerate(kinds)
    ]


@pytest.fixture
def pack(tmp_path):
    photos = _photos()
    mib = (sum(photo.bytes for photo in photos) / 3 + 2**16 + 500) / 2**20
    files = write_parts(tmp_path, SETS, photos, part_mib=mib)
    assert len(files) >= 3
    assert all(file.stat().st_size <= mib * 2**20 for file in files)
    return tmp_path


def test_what_is_packed_comes_back(pack):
    source = open_pack(str(pack), "train")
    assert source.name == "houses=2,pets=1"
    assert source.names == [f"{name}/photo {i}.jpg" for i, name in enumerate(["houses"] * 6 + ["pets"] * 3)]
    for index in range(9):
        sample, expected = source.read(index), _sample(index, labelled=index % 2 == 0)
        assert np.abs(sample.image.astype(int) - expected.image).mean() < 4
        for field in ("labels", "scene_index", "scene_prob"):
            np.testing.assert_array_equal(getattr(sample, field), getattr(expected, field))
            assert getattr(sample, field).dtype == getattr(expected, field).dtype
    np.testing.assert_array_equal(source.sizes(), [(40, 56)] * 9)
    assert source.supervision == (9, 5, 5)


def test_training_mixes_by_weight_and_validation_takes_each_once(pack):
    order = open_pack(str(pack), "train").epoch_order(seed=0, epoch=0)
    assert (order < 6).sum() == 6
    val = open_pack(str(pack), "val")
    assert sorted(val.epoch_order(seed=0, epoch=0)) == [0, 1]
    assert val.names == ["houses/photo 9.jpg", "pets/photo 10.jpg"]


def test_photos_are_shrunk_and_never_enlarged():
    large = pack_sample(_sample(0, height=90, width=120), set=0, split="val", short_side=30, quality=80)
    assert large.size == (30, 40)
    assert pack_sample(_sample(0), set=0, split="val", short_side=144, quality=80).size == (40, 56)


def test_inside_tf_data_it_is_what_the_host_reads(pack):
    from semcolor_jax.data.cpu_tf import tf

    source = open_pack(str(pack), "train")
    examples: Any = tf.data.Dataset.range(9).map(source.load).as_numpy_iterator()
    for index, loaded in enumerate(examples):
        for field, array in loaded.items():
            np.testing.assert_array_equal(array, getattr(source.read(index), field))


def test_a_config_names_it(pack):
    config = default()
    config.data.source, config.data.dir = "pack", str(pack)
    validate(config)
    assert len(make_source(config, "train")) == 9
    config.data.dir = ""
    with pytest.raises(UserError, match=r"config\.data\.dir must name the folder"):
        validate(config)


def test_a_missing_part_is_named(pack):
    sorted(pack.glob("*.npz"))[1].unlink()
    with pytest.raises(UserError, match="lacks part 2 of the"):
        open_pack(str(pack), "train")


def test_no_parts_damaged_parts_and_other_packs_are_refused(pack, tmp_path_factory):
    with pytest.raises(UserError, match="no parts of a pack"):
        open_pack(str(pack / "none"), "train")
    with pytest.raises(UserError, match="has parts of a pack already"):
        write_parts(pack, SETS, _photos(), part_mib=1)
    other = tmp_path_factory.mktemp("other")
    write_parts(other, SETS[:1], _photos()[:6], part_mib=1)
    with pytest.raises(UserError, match="several packs"):
        open_pack(f"{pack},{other}", "train")
    with pytest.raises(UserError, match="no photo of the split 'val'"):
        open_pack(str(other), "val")
    (file,) = other.glob("*.npz")
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(UserError, match=r"part-01-of-01\.npz is no part of a pack"):
        open_pack(str(other), "train")


def test_the_form_is_plain_numpy(pack):
    with np.load(sorted(pack.glob("*.npz"))[0], allow_pickle=False) as file:
        manifest = json.loads(file["manifest"].tobytes())
        assert file["photo"][:4].tobytes() == b"RIFF"
    assert manifest["sets"][0] == {"name": "houses", "weight": 2.0, "provenance": "made up"}
    assert manifest["part"] == 1
