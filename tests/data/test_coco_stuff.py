import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from semcolor_jax.config import default
from semcolor_jax.data import coco_stuff
from semcolor_jax.data.coco_stuff import LABEL_ARCHIVE, find_prepared, prepare_from_archives
from semcolor_jax.data.sources import make_source
from semcolor_jax.data.taxonomy import coco_stuff_id
from semcolor_jax.errors import UserError

SIZES = {
    "train2017/000000000009": (300, 280),
    "train2017/000000000025": (40, 30),
    "val2017/000000000139": (30, 20),
}


def _encoded(array, suffix):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format={"jpg": "JPEG", "png": "PNG"}[suffix])
    return buffer.getvalue()


def _ids(width, height):
    """The published coding: left half person (0), then sky-other (156), the last tenth unlabeled (255)."""
    ids = np.zeros((height, width), np.uint8)
    ids[:, width // 2 :] = 156
    ids[:, -width // 10 :] = 255
    return ids


@pytest.fixture
def archives(tmp_path):
    """The three archives in their published layout, with three tiny samples."""
    folder = tmp_path / "archives"
    folder.mkdir()
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(folder / LABEL_ARCHIVE, "w") as labels:
        for split in ("train", "val"):
            with zipfile.ZipFile(folder / f"{split}2017.zip", "w") as photos:
                photos.writestr(f"{split}2017/", "")
                for name, (width, height) in SIZES.items():
                    if name.startswith(split):
                        photo = np.broadcast_to(rng.integers(0, 256, 3, np.uint8), (height, width, 3)).copy()
                        photo[:, : width // 2] = 255 - photo[:, : width // 2]
                        photos.writestr(f"{name}.jpg", _encoded(photo, "jpg"))
                        labels.writestr(f"{name}.png", _encoded(_ids(width, height), "png"))
    return folder


def test_prepared_archives_are_a_data_set(archives, tmp_path):
    out = tmp_path / "out"
    assert find_prepared(out, "train") is None
    prepare_from_archives(archives, out)
    train, val = find_prepared(out, "train"), find_prepared(out, "val")
    assert train.names == ["train/images/000000000009.jpg", "train/images/000000000025.jpg"]
    assert val.names == ["val/images/000000000139.jpg"]
    large, small = train.read(0), train.read(1)
    assert large.image.shape == (256, 274, 3)  # 300 x 280 with the short side reduced to 256
    assert small.image.shape == (30, 40, 3)  # small photos are left as they are
    person, sky = coco_stuff_id("person"), coco_stuff_id("sky-other")
    np.testing.assert_array_equal(small.labels[0], [person] * 20 + [sky] * 16 + [0] * 4)
    assert set(np.unique(large.labels)) == {0, person, sky}
    np.testing.assert_array_equal(large.labels[:, :136], person)
    np.testing.assert_array_equal(large.labels[:, 138:245], sky)


def test_labels_json_names_all_182_published_ids(archives, tmp_path):
    prepare_from_archives(archives, tmp_path)
    table = json.loads((tmp_path / "labels.json").read_text())
    assert [int(i) for i in table["classes"]] == list(range(182))
    # From COCO-Stuff's labels.txt, which counts from 1: 1 person, 92 banner, 157 sky-other, 182 wood.
    classes = [table["classes"][str(i)] for i in (0, 91, 156, 181)]
    assert classes == ["person", "banner", "sky-other", "wood"]
    assert table["unlabeled"] == 255


def test_preparing_goes_on_where_it_was_interrupted(archives, tmp_path, monkeypatch):
    write = coco_stuff.write_image
    written = []

    def interrupted(path, array):
        if path.name == "000000000139.jpg":
            raise KeyboardInterrupt
        write(path, array)

    monkeypatch.setattr(coco_stuff, "write_image", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare_from_archives(archives, tmp_path)
    assert find_prepared(tmp_path, "train") is None
    monkeypatch.setattr(coco_stuff, "write_image", lambda path, array: written.append(path.name) or write(path, array))
    prepare_from_archives(archives, tmp_path)
    assert written == ["000000000139.png", "000000000139.jpg"]
    assert len(find_prepared(tmp_path, "val")) == 1


@pytest.mark.parametrize("name", ["train2017.zip", "val2017.zip", LABEL_ARCHIVE])
def test_missing_and_damaged_archives_are_named(archives, tmp_path, name):
    content = (archives / name).read_bytes()
    (archives / name).write_bytes(content[:-30])
    with pytest.raises(UserError, match=rf"{name} is not a whole zip file"):
        prepare_from_archives(archives, tmp_path / "out")
    middle = len(content) // 3
    (archives / name).write_bytes(content[:middle] + bytes(99) + content[middle + 99 :])
    with pytest.raises(UserError, match=rf"{name}.*download it again"):
        prepare_from_archives(archives, tmp_path / "out")
    (archives / name).unlink()
    with pytest.raises(UserError, match=rf"there is no file .*{name}"):
        prepare_from_archives(archives, tmp_path / "out")


def test_other_archives_are_refused(archives, tmp_path):
    with zipfile.ZipFile(archives / LABEL_ARCHIVE, "w") as labels:
        labels.writestr("readme.txt", "")
    with pytest.raises(UserError, match=rf"{LABEL_ARCHIVE} lacks train2017/000000000009\.png"):
        prepare_from_archives(archives, tmp_path / "out")
    with zipfile.ZipFile(archives / "train2017.zip", "w") as photos:
        photos.writestr("../../evil.jpg", "")
    with pytest.raises(UserError, match="holds no photos train2017/"):
        prepare_from_archives(archives, tmp_path / "out")


def test_without_the_data_set_the_message_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    config = default()
    assert config.data.source == "coco_stuff"
    with pytest.raises(UserError) as caught:
        make_source(config, "train")
    for part in (
        "train2017.zip",
        "118,287",
        "stuffthingmaps",
        "prepare coco_stuff",
        "--config.data.source=folder",
    ):
        assert part in str(caught.value)


def test_the_data_set_is_found_in_the_default_folder(archives, tmp_path, monkeypatch):
    prepare_from_archives(archives, tmp_path / "coco_stuff")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert len(make_source(default(), "val")) == 1
