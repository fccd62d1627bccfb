"""`semcolor data train-teacher` and `label-scenes`, from their arguments to their files."""

import json

import numpy as np
import pytest

from semcolor_jax.cli.main import main
from semcolor_jax.data.example import Sample


def test_train_a_head_and_label_a_folder_with_it(tmp_path, write_photo, capsys):
    for i in range(3):
        split = "val" if i == 2 else "train"
        write_photo(tmp_path / f"set/{split}/sky/{i}.jpg", (60, 90, 220), seed=i)
        write_photo(tmp_path / f"set/{split}/kitchen/{i}.jpg", (200, 60, 50), seed=10 + i)
    write_photo(tmp_path / "mine/a.jpg", (60, 90, 220), seed=20)
    teacher = tmp_path / "teacher.npz"
    main(["data", "train-teacher", str(tmp_path / "set"), "-o", str(teacher), "--side", "32"])
    assert "top-1 100.0%" in capsys.readouterr().out
    main(["data", "label-scenes", str(tmp_path / "mine"), "--teacher", str(teacher)])
    (pairs,) = json.loads((tmp_path / "mine/scenes.json").read_text()).values()
    assert pairs[0][0] == 306  # "sky" in categories_places365.txt
    assert sum(probability for _, probability in pairs) == pytest.approx(1, abs=1e-5)


def test_label_with_vgg16_places365_in_shards(tmp_path, write_photo, write_constant_h5):
    for i in range(3):
        write_photo(tmp_path / f"mine/{i}.jpg", (60, 90, 220), seed=i)
    bias = np.zeros(365)
    bias[[4, 3, 9, 100, 200]] = np.log([16, 8, 4, 2, 1.5])
    weights = write_constant_h5(tmp_path / "vgg16.h5", bias)
    output = tmp_path / "scenes.json"
    arguments = ["data", "label-scenes", tmp_path / "mine", "--teacher", weights, "-o", output]
    for shard in ("1/2", "2/2"):
        assert not output.exists()
        main([*map(str, arguments), "--shard", shard, "--smoothing", "top5"])
    labels = json.loads(output.read_text())
    assert sorted(labels) == ["0.jpg", "1.jpg", "2.jpg"]
    for pairs in labels.values():
        assert [index for index, _ in pairs] == [4, 3, 9, 100, 200]
        np.testing.assert_allclose([p for _, p in pairs], np.array([16, 8, 4, 2, 1.5]) / 31.5, atol=1e-5)


def test_label_coco_stuff(tmp_path, monkeypatch, write_constant_h5):
    """Where `CocoStuffSource` reads them: DATA/coco_stuff/scenes.json, by published names, of both splits."""

    class Prepared:
        def __init__(self, data_dir, split, *, short_side):
            assert (str(data_dir), short_side) == (str(tmp_path), 1)
            self.names = [f"{split}2017/{i:012d}.jpg" for i in range(2)]

        def read(self, index):
            image = np.full((20, 30, 3), 100 * index, np.uint8)
            return Sample(self.names[index], image, image[..., 0], np.zeros(5, np.int32), np.zeros(5, np.float32))

    monkeypatch.setattr("semcolor_jax.data.coco_stuff.find_prepared", Prepared)
    weights = write_constant_h5(tmp_path / "vgg16.h5", np.zeros(365))
    (tmp_path / "coco_stuff").mkdir()
    main(["data", "label-scenes", str(tmp_path), "--source", "coco_stuff", "--teacher", str(weights)])
    assert list(json.loads((tmp_path / "coco_stuff/scenes.json").read_text())) == [
        *("train2017/000000000000.jpg", "train2017/000000000001.jpg"),
        *("val2017/000000000000.jpg", "val2017/000000000001.jpg"),
    ]


def test_coco_stuff_must_be_prepared(tmp_path, capsys, write_constant_h5):
    weights = write_constant_h5(tmp_path / "vgg16.h5", np.zeros(365))
    with pytest.raises(SystemExit):
        main(["data", "label-scenes", str(tmp_path), "--source", "coco_stuff", "--teacher", str(weights)])
    assert "prepare coco_stuff" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["label-scenes", "d", "--teacher", "none.h5"], "543 MB"),
        (["label-scenes", "d", "--teacher", "none.h5", "--shard", "5/4"], "shard '5/4'"),
        (["train-teacher", "none", "-o", "t.npz"], "none"),
    ],
)
def test_mistakes_are_one_sentence(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_:
        main(["data", *arguments])
    assert exit_.value.code == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert words in last


@pytest.mark.parametrize("option", ["--side=0", "--l2=-1", "--side=x"])
def test_numbers_must_be_positive(option, capsys):
    with pytest.raises(SystemExit):
        main(["data", "train-teacher", "d", "-o", "t.npz", option])
    assert "invalid positive" in capsys.readouterr().err
