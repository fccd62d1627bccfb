"""A branch without labels is refused or switched off; it never trains on nothing without saying so."""

import logging

import numpy as np
import pytest
from PIL import Image

from semcolor_jax.baselines.registry import default_config
from semcolor_jax.config import default
from semcolor_jax.data.folder import FolderSource
from semcolor_jax.data.mix import MixedSource
from semcolor_jax.data.supervision import Supervision, supervision_of
from semcolor_jax.errors import UserError
from semcolor_jax.training.supervision import settle_branches

NOTHING = Supervision(photos=20, with_labels=0, with_scene=0)


def test_an_own_folder_without_labels_loses_both_branches(caplog):
    config = default()
    config.data.source = "folder"
    with caplog.at_level(logging.INFO, logger="semcolor_jax"):
        settled = settle_branches(config, NOTHING)
    assert (settled.loss.scene, settled.loss.seg, settled.loss.reg) == (0, 0, 1)
    assert (config.loss.scene, config.loss.seg) == (1, 1)
    assert "config.loss.scene = 0" in caplog.text
    assert "config.loss.seg = 0" in caplog.text


@pytest.mark.parametrize(("source", "required"), [("coco_stuff", False), ("folder", True)])
def test_what_was_asked_for_by_name_is_refused_in_one_sentence(source, required):
    config = default()
    config.data.source, config.data.require_labels = source, required
    with pytest.raises(UserError, match=r"None of the 20 .*scene.*label-scenes.*--config\.loss\.scene=0"):
        settle_branches(config, NOTHING._replace(with_labels=20))
    config.loss.scene = 0.0
    assert settle_branches(config, NOTHING._replace(with_labels=20)) == config


def test_branches_that_the_variant_lacks_need_no_labels():
    config = default()
    config.data.source, config.model.variant = "coco_stuff", "regsoft"
    assert settle_branches(config, NOTHING) == config


def test_a_method_needs_the_labels_that_its_losses_look_at():
    zhang, iizuka = default_config("zhang2016"), default_config("iizuka2016")
    zhang.data.source = iizuka.data.source = "coco_stuff"
    assert settle_branches(zhang, NOTHING) == zhang
    with pytest.raises(UserError, match=r"None of the 20 .*scene"):
        settle_branches(iizuka, NOTHING)
    assert settle_branches(iizuka, NOTHING._replace(with_scene=5)) == iizuka


def test_the_share_of_few_labels_is_said(caplog):
    config = default()
    with caplog.at_level(logging.INFO, logger="semcolor_jax"):
        assert settle_branches(config, Supervision(photos=20, with_labels=20, with_scene=3)) == config
    assert "scene: 3 of 20 photos have a scene (15%)" in caplog.text


def test_sources_count_their_labels(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    for folder in ("plain", "beach"):
        (tmp_path / "photos" / folder).mkdir(parents=True)
        for index in range(2):
            pixels = rng.integers(0, 256, (8, 8, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / folder / f"{index}.png")
    source = FolderSource(tmp_path / "photos")
    assert supervision_of(source) == (4, 0, 2)
    assert supervision_of(MixedSource([source, source], weights=[1, 2])) == (8, 0, 4)


def test_a_source_that_cannot_say_is_taken_to_have_all():
    class Unknown:
        name, names = "unknown", ["a", "b"]

        def __len__(self):
            return 2

        def read(self, index):
            raise NotImplementedError  # nobody looks at a sample

        load = read

    assert supervision_of(Unknown()) == (2, 2, 2)
