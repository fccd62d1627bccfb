from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.special import softmax

from semcolor_jax.errors import UserError
from semcolor_jax.scenes.head import FEATURES, SceneHead, imagenet_features, load_head, save_head
from semcolor_jax.scenes.teacher import load_teacher

ROOT = Path(__file__).parents[2]
SMALL = ROOT / "semcolor_jax/scenes/small_teacher.npz"


@pytest.fixture
def photos():
    return np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)


def test_a_head_of_ones_own(tmp_path, photos):
    rng = np.random.default_rng(1)
    kernel, bias = rng.normal(size=(1024, 3)).astype(np.float32), rng.normal(size=3).astype(np.float32)
    record = {"format": 1, "features": FEATURES}
    save_head(
        tmp_path / "teacher.npz", SceneHead(kernel, bias, np.array([5, 7, 300], np.int32), side=32, record=record)
    )
    teacher = load_teacher(tmp_path / "teacher.npz")
    assert teacher.side == 32
    np.testing.assert_array_equal(teacher.categories, [5, 7, 300])
    expected = softmax(np.asarray(imagenet_features()(photos)) @ kernel + bias, axis=1)
    np.testing.assert_allclose(teacher.probabilities(photos), expected, atol=1e-5)


def test_vgg16_places365(tmp_path, photos, write_constant_h5):
    bias = np.random.default_rng(2).normal(size=365).astype(np.float32)
    teacher = load_teacher(write_constant_h5(tmp_path / "vgg16.h5", bias))
    assert teacher.side == 32
    np.testing.assert_array_equal(teacher.categories, range(365))
    np.testing.assert_allclose(teacher.probabilities(photos), np.tile(softmax(bias), (2, 1)), atol=1e-6)


def test_teachers_are_told_apart_by_content(tmp_path, write_constant_h5):
    names = set()
    for seed in (0, 0, 1):
        bias = np.random.default_rng(seed).normal(size=365)
        names.add(load_teacher(write_constant_h5(tmp_path / "vgg16.h5", bias)).name)
    assert len(names) == 2


@pytest.mark.parametrize("name", ["teacher.npz", "vgg16.h5", "vgg16.caffemodel"])
def test_a_missing_file_is_named_with_where_teachers_are(tmp_path, name):
    with pytest.raises(UserError) as error:
        load_teacher(tmp_path / name)
    published = ("543 MB", "github.com/GKalliatakis", "places2.csail.mit.edu")
    for words in (name, *published, "--teacher small", "train-teacher"):
        assert words in str(error.value)


def test_other_networks_are_refused(tmp_path, write_constant_h5):
    with pytest.raises(UserError, match="knows 1000 classes, but 365 are wanted"):
        load_teacher(write_constant_h5(tmp_path / "imagenet.h5", np.zeros(1000)))
    path = write_constant_h5(tmp_path / "vgg16.h5", np.zeros(365))
    with h5py.File(path, "a") as file:
        del file["block4_conv1/block4_conv1/kernel:0"]
        file.create_dataset("block4_conv1/block4_conv1/kernel:0", (3, 3, 100, 512), np.float32)
    with pytest.raises(UserError, match="not VGG16: layer conv4_1"):
        load_teacher(path)


def test_an_unknown_kind_is_refused(tmp_path):
    (tmp_path / "teacher.txt").touch()
    with pytest.raises(UserError, match=r"unknown kind; known are \.npz, \.pth, \.h5"):
        load_teacher(tmp_path / "teacher.txt")


def test_the_small_teacher_says_what_it_stands_in_for(photos, caplog):
    caplog.set_level("INFO")
    teacher = load_teacher("small")
    assert teacher.name.startswith("small_teacher.npz sha256:")
    assert len(teacher.categories) == 17
    assert "stand-in for VGG16-Places365: it knows 17 of 365 scenes" in caplog.text
    squares = photos.repeat(3, axis=1).repeat(3, axis=2)
    np.testing.assert_allclose(np.asarray(teacher.probabilities(squares)).sum(axis=1), 1, atol=1e-5)


def test_the_small_teachers_accuracy_stands_in_its_file_and_in_the_docs():
    held_out = load_head(SMALL).record["held_out"]
    text = (ROOT / "docs/data.md").read_text(encoding="utf-8")
    assert [folder["folder"] for folder in held_out] == ["sun_scenes", "intel_scenes", "houses"]
    for folder in held_out:
        row = f"| {folder['images']} | {100 * folder['top1']:.1f} % | {100 * folder['top5']:.1f} % |"
        assert row in text, row
        assert folder["top1"] > folder["majority_top1"] + 0.3
