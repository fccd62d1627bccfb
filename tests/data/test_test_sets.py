import io
import re
import tarfile
import zipfile
from typing import Any

import numpy as np
import pytest
from PIL import Image

from semcolor_jax import config as configs
from semcolor_jax.config import default
from semcolor_jax.data import test_sets
from semcolor_jax.data.archive import open_archive
from semcolor_jax.data.cpu_tf import tf
from semcolor_jax.data.folder import Split
from semcolor_jax.data.sources import make_source
from semcolor_jax.errors import UserError

# By source: the archive, the folder in it, the file name of photo i, photos in the test set; all as published.
SETS = {
    "imagenet_ctest1k": ("ILSVRC2012_img_val.tar", "", lambda i: f"ILSVRC2012_val_{i + 1:08d}.JPEG", 1000),
    "places365_ctest1k": ("val_256.tar", "val_256/", lambda i: f"Places365_val_{i + 1:08d}.jpg", 1000),
    "coco_stuff_ctest1k": ("val2017.zip", "val2017/", lambda i: f"{139 + 7 * i:012d}.jpg", 1000),
    "div2k_valid": ("DIV2K_valid_HR.zip", "DIV2K_valid_HR/", lambda i: f"{801 + i:04d}.png", 100),
}


def _encoded(array, suffix):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG" if suffix == "png" else "JPEG", quality=95)
    return buffer.getvalue()


def _photo(i):
    """Every 100th photo is grey; the others' colour tells them apart."""
    color = (128, 128, 128) if i % 100 == 7 else (200, i % 200, i // 8)
    return np.broadcast_to(np.array(color, np.uint8), (4, 6, 3))


def _files(name, *, extra=0):
    """Returns the content of the archive, by path in it."""
    _, folder, name_of, count = SETS[name]
    numbers = range(5000 if name == "coco_stuff_ctest1k" else count + extra)
    cheap = _encoded(_photo(7), name_of(0)[-3:])  # beyond the test set
    return {
        f"{folder}{name_of(i)}": _encoded(_photo(i), name_of(i)[-3:]) if i < count else cheap for i in reversed(numbers)
    }


def _write(folder, name, files):
    archive = folder / SETS[name][0]
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as file:
            for path, content in files.items():
                file.writestr(path, content)
    else:
        with tarfile.open(archive, "w") as file:
            for path, content in files.items():
                info = tarfile.TarInfo(path)
                info.size = len(content)
                file.addfile(info, io.BytesIO(content))
    return archive


def _unpack(folder, files):
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def _source(name, path, split: Split = "val") -> Any:
    config = default()
    config.data.source, config.data.dir = name, str(path)
    configs.validate(config)
    return make_source(config, split)


def _error(name, path):
    with pytest.raises(UserError) as caught:
        _source(name, path)
    return str(caught.value)


def test_the_config_knows_the_sets():
    assert tuple(test_sets.TEST_SETS) == configs.TEST_SETS
    assert set(SETS) <= set(configs.CHOICES["data.source"])


@pytest.mark.parametrize("name", SETS)
def test_the_archive_gives_the_first_photos_by_name(tmp_path, name):
    _, _, name_of, count = SETS[name]
    source = _source(name, _write(tmp_path, name, _files(name, extra=3)))
    assert (source.name, len(source)) == (name, count)
    assert list(source.names) == [name_of(i) for i in range(count)]
    assert source.grey == count // 100
    for index in (0, 7, count - 1):
        sample = source.read(index)
        assert sample.name == name_of(index)
        assert np.abs(sample.image.astype(int) - _photo(index)).max() <= 3
        assert (sample.labels == 255).all()
        assert not sample.scene_prob.any()


@pytest.mark.parametrize("name", ["coco_stuff_ctest1k", "div2k_valid"])
def test_a_folder_of_the_photos_or_of_the_archive_is_as_good(tmp_path, name):
    files = _files(name)
    unpacked = _source(name, _unpack(tmp_path / "unpacked", files))
    (tmp_path / "downloads").mkdir()
    _write(tmp_path / "downloads", name, files)
    packed = _source(name, tmp_path / "downloads")
    assert list(unpacked.names) == list(packed.names)
    np.testing.assert_array_equal(unpacked.read(3).image, packed.read(3).image)


def test_photos_in_folders_of_their_classes_are_found(tmp_path):
    files = {f"n{i % 10:08d}/{path}": content for i, (path, content) in enumerate(_files("imagenet_ctest1k").items())}
    assert _source("imagenet_ctest1k", _unpack(tmp_path, files)).names[0] == "ILSVRC2012_val_00000001.JPEG"


def test_grey_photos_are_kept_and_counted(tmp_path, caplog):
    with caplog.at_level("INFO"):
        _source("div2k_valid", _write(tmp_path, "div2k_valid", _files("div2k_valid")))
    assert "div2k_valid: 1 of 100 photos are grey; they are kept" in caplog.text


def test_load_gives_what_read_gives(tmp_path):
    source = _source("div2k_valid", _write(tmp_path, "div2k_valid", _files("div2k_valid")))
    dataset = tf.data.Dataset.range(3).map(tf.autograph.experimental.do_not_convert(source.load))
    for index, example in enumerate(dataset.as_numpy_iterator()):
        sample = source.read(index)
        for key in ("image", "labels", "scene_index", "scene_prob"):
            np.testing.assert_array_equal(example[key], getattr(sample, key))
            assert example[key].dtype == getattr(sample, key).dtype


@pytest.mark.parametrize("name", SETS)
def test_missing_photos_are_said_with_where_to_get_them(tmp_path, name):
    files = _files(name)
    _, folder, name_of, count = SETS[name]
    del files[f"{folder}{name_of(16)}"], files[f"{folder}{name_of(42)}"]
    said = _error(name, _write(tmp_path, name, files))
    if name == "coco_stuff_ctest1k":
        assert "holds 4,998 photos" in said
        assert "5,000 are published" in said
    else:
        assert f"lacks 2 of the {count:,} photos of {name}, the first being {name_of(16)}" in said
    assert re.search(r"is published at https?://\S+.* \(\d\.\d GB", said)


def test_other_folders_and_archives_are_refused(tmp_path):
    assert "there is no" in _error("div2k_valid", tmp_path / "none")
    (tmp_path / "empty").mkdir()
    assert "lacks 1,000 of the 1,000 photos" in _error("imagenet_ctest1k", tmp_path / "empty")
    assert "holds 0 photos" in _error("coco_stuff_ctest1k", tmp_path / "empty")
    (tmp_path / "text.tar").write_text("no archive" * 100)
    assert "is not a whole zip or tar file" in _error("places365_ctest1k", tmp_path / "text.tar")
    twice = {"a/0801.png": b"", "b/0801.png": b""}
    assert "holds 0801.png twice, as a/0801.png and b/0801.png" in _error("div2k_valid", _unpack(tmp_path / "t", twice))


@pytest.mark.parametrize("name", ["places365_ctest1k", "div2k_valid"])
def test_an_archive_cut_short_is_refused(tmp_path, name):
    archive = _write(tmp_path, name, _files(name))
    content = archive.read_bytes()
    archive.write_bytes(content[: len(content) // 2])
    assert "is not a whole" in _error(name, archive)
    assert archive.name in _error(name, archive)


def test_a_damaged_photo_is_named(tmp_path):
    files = _files("div2k_valid")
    files["DIV2K_valid_HR/0815.png"] = files["DIV2K_valid_HR/0815.png"][:40]
    said = _error("div2k_valid", _write(tmp_path, "div2k_valid", files))
    assert "DIV2K_valid_HR.zip: DIV2K_valid_HR/0815.png" in said
    assert "damaged" in said


def test_a_tar_is_not_searched_beyond_the_test_set(tmp_path):
    archive = _write(tmp_path, "places365_ctest1k", {f"val/{letter}.jpg": b"x" for letter in "badc"})
    assert open_archive(archive, wanted=["a.jpg", "b.jpg"]).names == {"val/a.jpg", "val/b.jpg"}
    assert len(open_archive(archive, wanted=["a.jpg", "e.jpg"]).names) == 4
    assert len(open_archive(archive).names) == 4


def test_there_is_nothing_to_train_on(tmp_path):
    archive = _write(tmp_path, "div2k_valid", _files("div2k_valid"))
    with pytest.raises(UserError, match="div2k_valid is a test set and has no split 'train'"):
        _source("div2k_valid", archive, split="train")


def test_the_config_must_name_the_archive():
    with pytest.raises(UserError, match=r"config\.data\.dir must name its archive"):
        _source("div2k_valid", "")
