"""Photos of almost no colour are left out of the training, and of the training alone."""

import numpy as np
import pytest
from PIL import Image
from skimage.color import rgb2lab

from semcolor_jax.config import default
from semcolor_jax.data.colourful import ColourfulSource, mean_chroma
from semcolor_jax.data.folder import FolderSource
from semcolor_jax.data.mix import MixedSource
from semcolor_jax.data.sources import make_source
from semcolor_jax.errors import UserError


def photo(rng, saturation):
    grey = rng.integers(60, 200, (20, 30, 1))
    return np.clip(grey + saturation * np.array([40, -20, -30]), 0, 255).astype(np.uint8)


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
        for name, saturation in {"dull": 0.4, "vivid": 1.0, "warm": 0.8}.items():
            Image.fromarray(photo(rng, saturation)).save(tmp_path / split / f"{name}.png")
    return tmp_path


def test_mean_chroma_is_scikit_images_over_a_small_photo():
    image = np.random.default_rng(1).integers(0, 256, (31, 47, 3), dtype=np.uint8)
    lab = rgb2lab(image)
    assert mean_chroma(image) == pytest.approx(np.hypot(lab[..., 1], lab[..., 2]).mean(), abs=0.01)
    large = np.repeat(np.repeat(image, 8, axis=0), 8, axis=1)  # looked at on a grid
    assert mean_chroma(large) == pytest.approx(mean_chroma(image), rel=0.05)


def test_the_dull_photo_is_left_out_of_training_alone_in_a_mix_too(folder):
    config = default()
    config.data.update(dict(source="folder", dir=str(folder), min_chroma=20.0))
    assert sorted(make_source(config, "train").names) == ["train/vivid.png", "train/warm.png"]
    assert len(make_source(config, "val")) == 3
    config.data.update(dict(source="mix", dir="", mix=f"folder:{folder}=2,embedded=1"))
    names = make_source(config, "train").names
    assert sum("dull.png" in name for name in names) == 0
    assert sum("vivid.png" in name for name in names) == 1


def test_samples_sizes_and_supervision_are_those_of_the_photos_that_are_left(folder):
    whole = FolderSource(folder, "train")
    source = ColourfulSource(whole, min_chroma=20.0)
    assert source.dropped == 1
    assert np.array_equal(source.sizes(), [[20, 30], [20, 30]])
    assert source.supervision == (2, 0, 0)
    for index, name in enumerate(source.names):
        assert np.array_equal(source.read(index).image, whole.read(list(whole.names).index(name)).image)


def test_a_threshold_that_leaves_nothing_is_said(folder):
    with pytest.raises(UserError, match=r"min_chroma = 300"):
        ColourfulSource(FolderSource(folder, "train"), min_chroma=300)


def test_a_mix_keeps_its_weights_when_its_sources_lose_photos(folder):
    parts = [FolderSource(folder, "train"), FolderSource(folder, "val")]
    mix = MixedSource(parts, weights=[3.0, 1.0]).each(lambda part: ColourfulSource(part, min_chroma=20.0))
    assert len(mix) == 4
    order = mix.epoch_order(seed=0, epoch=0)
    assert [sum(index // 2 == part for index in order) for part in (0, 1)] == [3, 1]
