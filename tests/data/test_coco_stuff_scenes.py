"""COCO-Stuff prepared and labelled by one command, as the README has it, then teaches the scene branch."""

import numpy as np
import pytest
from coco_archives import opened

from semcolor_jax.cli.main import main
from semcolor_jax.config import default
from semcolor_jax.data.folder import Split
from semcolor_jax.data.supervision import Supervision, supervision_of
from semcolor_jax.errors import UserError
from semcolor_jax.scenes.teacher import load_teacher
from semcolor_jax.training.supervision import settle_branches


def test_prepared_with_a_teacher_every_photo_has_scenes(archives, tmp_path):
    prepare = ["data", "prepare", "coco_stuff", "-o", str(tmp_path / "data"), "--archives", str(archives)]
    config = default()
    config.data.source = "coco_stuff"

    main(prepare)
    with pytest.raises(UserError, match="--teacher small"):
        settle_branches(config, supervision_of(opened(tmp_path / "data", "train")))

    main([*prepare, "--teacher", "small"])  # what is prepared already stays
    splits: tuple[tuple[Split, int], ...] = (("train", 2), ("val", 1))
    for split, photos in splits:
        source = opened(tmp_path / "data", split)
        assert supervision_of(source) == Supervision(photos, with_labels=photos, with_scene=photos)
        for index in range(photos):
            sample = source.read(index)
            np.testing.assert_allclose(sample.scene_prob.sum(), 1, atol=1e-5)
            assert set(sample.scene_index) <= set(load_teacher("small").categories.tolist())
    assert settle_branches(config, supervision_of(opened(tmp_path / "data", "train"))) == config


def test_a_mistyped_teacher_is_said_before_the_work(archives, tmp_path, capsys):
    prepare = ["data", "prepare", "coco_stuff", "-o", str(tmp_path / "data"), "--archives", str(archives)]
    with pytest.raises(SystemExit):
        main([*prepare, "--teacher", str(tmp_path / "none.h5")])
    assert "there is no teacher file" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()
