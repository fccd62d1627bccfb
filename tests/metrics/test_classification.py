import numpy as np
import pytest

from semcolor_jax.errors import UserError
from semcolor_jax.metrics import classification
from semcolor_jax.taxonomy.label_sets import PLACES365


def test_hits_by_hand():
    logits = np.array([[1, 2, 3, 4, 5, 6, 7]] * 4 + [[0, 0, 0, 0, 0, 0, 0]], np.float32)
    hits = classification.rank_hits(logits, np.array([6, 2, 1, 0, 1]))
    assert hits.top1.tolist() == [True, False, False, False, False]
    assert hits.top5.tolist() == [True, True, False, False, True]


def test_labels_from_a_file(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_text("ILSVRC2012_val_00000001.JPEG 65\n\nsub/my photo.jpg\tkitchen\nfirst.jpg 0\nlast.jpg 364\n")
    labels = classification.read_labels(path, classes=365, names=classification.places365_names())
    expected = {"ILSVRC2012_val_00000001": 65, "my photo": PLACES365.index("kitchen"), "first": 0, "last": 364}
    assert labels == expected


def test_places_have_the_names_of_their_folders_and_of_the_published_list():
    names = classification.places365_names()
    index = PLACES365.index("field/wild")
    assert {names["field/wild"], names["field-wild"], names["/f/field/wild"]} == {index}


@pytest.mark.parametrize("line", ["photo.jpg 365", "photo.jpg -1", "photo.jpg nowhere", "17", "photo.jpg 1.5"])
def test_wrong_lines_are_named(tmp_path, line):
    path = tmp_path / "labels.txt"
    path.write_text(f"a.jpg 1\n{line}\n")
    with pytest.raises(UserError, match="line 2"):
        classification.read_labels(path, classes=365, names={})
    with pytest.raises(UserError, match="cannot be read"):
        classification.read_labels(tmp_path / "absent", classes=365, names={})


def test_labels_from_folders(tmp_path):
    for name in ("kitchen/1.jpg", "b/bedroom/2.jpg", "field/wild/3.jpg", "elsewhere/4.jpg", "5.jpg", "desk/6.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for twice in ("kitchen/7.jpg", "b/bedroom/7.jpg"):
        (tmp_path / twice).touch()
    labels = classification.folder_labels(tmp_path, names=classification.places365_names())
    expected = {"1": "kitchen", "2": "bedroom", "3": "field/wild"}
    assert labels == {stem: PLACES365.index(name) for stem, name in expected.items()}


def test_imagenet_folders_are_numbered_only_if_all_are_there(tmp_path):
    for index in range(999):
        (tmp_path / f"n{index:08}").mkdir()
    assert classification.imagenet_names(tmp_path) == {}
    (tmp_path / "n99999999").mkdir()
    assert classification.imagenet_names(tmp_path)["n99999999"] == 999


def test_unknown_kinds_of_files(tmp_path):
    with pytest.raises(UserError, match="unknown kind"):
        classification.Classifier(tmp_path / "vgg16.bin", classes=1000)
