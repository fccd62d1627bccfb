import numpy as np
import pytest

from semcolor_jax.errors import UserError
from semcolor_jax.scenes.head import SceneHead
from semcolor_jax.scenes.train_head import Confusion, ScenePhotos, format_held_out, measure, train_head
from semcolor_jax.taxonomy.label_sets import PLACES365, places365_id

BLUE, GREEN, RED = (60, 90, 220), (50, 160, 60), (200, 60, 50)


@pytest.fixture
def folders(tmp_path, write_photo):
    """Two sets of blue skies, green forests and red kitchens, one of them with names of its own."""
    for i in range(4):
        split = "val" if i == 3 else "train"
        write_photo(tmp_path / f"one/{split}/sky/{i}.jpg", BLUE, seed=i)
        write_photo(tmp_path / f"one/{split}/kitchen/{i}.jpg", RED, seed=10 + i)
        write_photo(tmp_path / f"one/{split}/unknown place/{i}.jpg", RED, seed=20 + i)
        write_photo(tmp_path / f"two/{split}/wood/{i}.png", GREEN, seed=30 + i)
    (tmp_path / "two/taxonomy.yaml").write_text("scenes: {wood: forest/broadleaf}\n")
    return [tmp_path / "one", tmp_path / "two"]


def test_the_teacher_learns_from_all_folders_and_is_measured_on_each(folders):
    trained = train_head(folders, side=32)
    names = ["forest/broadleaf", "kitchen", "sky"]
    np.testing.assert_array_equal(trained.head.categories, [places365_id(name) for name in names])
    one, two = trained.held_out
    assert [(x.folder, x.trained_on, x.scores.images) for x in (one, two)] == [("one", 6, 2), ("two", 3, 1)]
    assert one.scores.top1 == two.scores.top1 == 1
    assert one.confusions == []
    assert trained.head.record["scenes"] == dict.fromkeys(names, 3)
    assert [result["top1"] for result in trained.head.record["held_out"]] == [1, 1]
    assert "one: trained on 6 photos; held out 2: top-1 100.0%" in format_held_out(trained.held_out)


def test_photos_without_a_scene_or_with_only_one_are_no_lesson(tmp_path, write_photo):
    for split in ("train", "val"):
        write_photo(tmp_path / f"set/{split}/somewhere/a.jpg", RED)
    with pytest.raises(UserError, match="no train photo in the folder set has a scene"):
        train_head([tmp_path / "set"], side=32)
    for split in ("train", "val"):
        write_photo(tmp_path / f"set/{split}/kitchen/a.jpg", RED)
    with pytest.raises(UserError, match=r"'kitchen'.*at least two"):
        train_head([tmp_path / "set"], side=32)


def test_accuracy_and_confusions_by_hand():
    """The head says category 3, 5 or 8, whichever feature is largest; category 9 it never saw."""
    head = SceneHead(np.eye(3, dtype=np.float32), np.zeros(3, np.float32), np.array([3, 5, 8], np.int32), side=8)
    features = np.array([[9, 1, 2], [1, 9, 2], [1, 9, 2], [2, 1, 9], [9, 2, 1]], np.float32)
    result = measure(head, ScenePhotos(features, np.array([3, 3, 3, 8, 9], np.int64)), folder="set", trained_on=7)
    assert result.scores.top1 == 2 / 5
    assert result.scores.top5 == 4 / 5
    assert result.confusions == [
        Confusion(PLACES365[3], PLACES365[5], photos=2),
        Confusion(PLACES365[9], PLACES365[3], photos=1),
    ]
