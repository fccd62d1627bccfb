import json

import numpy as np
import pytest

from semcolor_jax.data.folder import FolderSource
from semcolor_jax.data.scene_smoothing import gaussian_ranks
from semcolor_jax.errors import UserError
from semcolor_jax.scenes import label
from semcolor_jax.scenes.label import Shard, label_folder, parse_shard, top_scenes
from semcolor_jax.scenes.teacher import Teacher

CATEGORIES = np.array([10, 20, 30, 40, 50, 60])


class Counting:
    """A teacher whose probabilities follow the mean of red; it counts the photos it is shown."""

    def __init__(self):
        self.photos = 0
        self.teacher = Teacher(name="counting", side=8, categories=CATEGORIES, probabilities=self.look)

    def look(self, photos):
        assert photos.shape[1:] == (8, 8, 3)
        self.photos += len(np.unique(photos.reshape(len(photos), -1), axis=0))
        red = photos[..., 0].astype(np.float64).mean(axis=(1, 2)) / 255
        scores = 1 - np.abs(red[:, None] - np.linspace(0, 1, 6))
        return (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def counting():
    return Counting()


@pytest.fixture
def folder(tmp_path, write_photo):
    """Five photos to train on, two to validate, one of them grey; and a label map, which is no photo."""
    root = tmp_path / "set"
    for i in range(5):
        write_photo(root / f"train/images/{i}.png", (50 * i, 100, 100), seed=i)
    write_photo(root / "val/images/red.png", (250, 10, 10), seed=8)
    write_photo(root / "val/images/gray.png", 0, seed=9)
    write_photo(root / "train/labels/0.png", 0)
    return root


def names_in(path):
    return sorted(json.loads(path.read_text()))


def test_the_five_likeliest_are_scaled_to_sum_1():
    pairs = top_scenes(np.array([0.1, 0.3, 0.0, 0.2, 0.2, 0.2]), CATEGORIES)
    assert [category for category, _ in pairs] == [20, 40, 50, 60, 10]
    np.testing.assert_allclose([p for _, p in pairs], [0.3, 0.2, 0.2, 0.2, 0.1])
    pairs = top_scenes(np.array([0.05, 0.3, 0.15, 0.2, 0.2, 0.1]), CATEGORIES)
    np.testing.assert_allclose([p for _, p in pairs], np.array([0.3, 0.2, 0.2, 0.15, 0.1]) / 0.95, atol=1e-6)
    assert top_scenes(np.array([0.25, 0.75]), CATEGORIES[:2]) == [(20, 0.75), (10, 0.25)]


def test_all_photos_are_labelled_and_the_folder_reads_them(folder, counting):
    result = label_folder(folder, counting.teacher, output=folder / "scenes.json")
    assert (result.labelled, result.left, result.output) == (7, 0, folder / "scenes.json")
    assert counting.photos == 7
    assert names_in(folder / "scenes.json") == [
        *(f"train/images/{i}.png" for i in range(5)),
        *("val/images/gray.png", "val/images/red.png"),
    ]
    source = FolderSource(folder, "val")
    sample = source.read(source.names.index("val/images/red.png"))
    assert sample.scene_index[0] == 60
    assert sample.scene_prob.sum() == pytest.approx(1)
    assert sample.scene_prob[0] > sample.scene_prob[1] > 0


def test_what_is_done_is_not_done_again(folder, counting, write_photo):
    label_folder(folder, counting.teacher, output=folder / "scenes.json")
    first = (folder / "scenes.json").read_text()
    result = label_folder(folder, counting.teacher, output=folder / "scenes.json")
    assert (result.labelled, counting.photos) == (0, 7)
    assert (folder / "scenes.json").read_text() == first
    write_photo(folder / "train/images/new.png", (9, 9, 9))
    result = label_folder(folder, counting.teacher, output=folder / "scenes.json")
    assert (result.labelled, counting.photos) == (1, 8)
    assert "train/images/new.png" in names_in(folder / "scenes.json")


def test_a_stopped_run_goes_on_after_its_last_part(folder, counting, monkeypatch):
    monkeypatch.setattr(label, "_PART", 2)
    damaged = folder / "val/images/gray.png"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:60])
    with pytest.raises(UserError, match=r"gray\.png is damaged"):
        label_folder(folder, counting.teacher, output=folder / "scenes.json")
    assert not (folder / "scenes.json").exists()
    done = counting.photos
    assert done == 4  # the third part holds the fifth photo and the damaged one
    damaged.write_bytes(whole)
    result = label_folder(folder, counting.teacher, output=folder / "scenes.json")
    assert (result.labelled, result.left) == (3, 0)
    assert len(names_in(folder / "scenes.json")) == 7


def test_shards_share_the_photos_and_the_last_one_writes_the_file(folder, tmp_path):
    output, teachers = tmp_path / "out.json", [Counting() for _ in range(3)]
    results = [
        label_folder(folder, counting.teacher, output=output, shard=Shard(i, 3))
        for i, counting in enumerate(teachers, 1)
    ]
    assert [result.left for result in results] == [4, 2, 0]
    assert [result.output for result in results] == [None, None, output]
    assert [counting.photos for counting in teachers] == [3, 2, 2]
    alone = tmp_path / "alone.json"
    label_folder(folder, Counting().teacher, output=alone)
    assert output.read_text() == alone.read_text()


def test_the_number_of_shards_may_change_on_the_way(folder, tmp_path, counting):
    label_folder(folder, counting.teacher, output=tmp_path / "out.json", shard=Shard(2, 3))
    result = label_folder(folder, counting.teacher, output=tmp_path / "out.json")
    assert (result.labelled, result.left, counting.photos) == (5, 0, 7)


def test_another_smoothing_needs_no_new_look(folder, tmp_path, counting):
    output = tmp_path / "out.json"
    label_folder(folder, counting.teacher, output=output)
    top5 = json.loads(output.read_text())
    label_folder(folder, counting.teacher, output=output, smoothing="gaussian")
    gaussian = json.loads(output.read_text())
    assert counting.photos == 7
    for name, pairs in top5.items():
        assert [category for category, _ in pairs] == [category for category, _ in gaussian[name]]
        expected = gaussian_ranks(np.array([p for _, p in pairs], np.float32))
        np.testing.assert_allclose([p for _, p in gaussian[name]], expected, atol=1e-5)
    label_folder(folder, counting.teacher, output=output)
    assert json.loads(output.read_text()) == top5


def test_labels_of_two_teachers_do_not_mix(folder, counting):
    label_folder(folder, counting.teacher, output=folder / "scenes.json")
    other = Teacher(name="other", side=8, categories=CATEGORIES, probabilities=counting.look)
    with pytest.raises(UserError, match=r"scenes\.parts holds labels of another teacher"):
        label_folder(folder, other, output=folder / "scenes.json")


def test_labels_made_by_hand_are_not_overwritten(folder, counting):
    (folder / "scenes.json").write_text('{"train/images/0.png": [["beach", 1]]}')
    with pytest.raises(UserError, match="was not made by this command"):
        label_folder(folder, counting.teacher, output=folder / "scenes.json")
    assert "beach" in (folder / "scenes.json").read_text()


def test_damaged_parts_are_named(folder, counting):
    label_folder(folder, counting.teacher, output=folder / "scenes.json", shard=Shard(1, 2))
    (folder / "scenes.parts/x.jsonl").write_text('{"photo": "a", "sce')
    with pytest.raises(UserError, match=r"scenes\.parts is damaged"):
        label_folder(folder, counting.teacher, output=folder / "scenes.json")


def test_places_that_cannot_be_used_are_named(folder, counting, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write to"):
        label_folder(folder, counting.teacher, output=tmp_path / "file/scenes.json")
    with pytest.raises(UserError, match="does not exist"):
        label_folder(tmp_path / "none", counting.teacher, output=tmp_path / "scenes.json")


def test_shards_are_written_as_fractions():
    assert parse_shard("2/8") == Shard(2, 8)
    for text in ("0/2", "3/2", "1", "a/b", "1/2/3", "-1/2"):
        with pytest.raises(UserError, match="i/n"):
            parse_shard(text)
