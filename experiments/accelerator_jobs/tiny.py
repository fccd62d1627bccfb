"""Makes synthetic photos and shrinks the jobs to sizes that two CPU cores train in seconds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from semcolor_jax.color import BIN_TABLE_ID, NUM_BINS
from semcolor_jax.data.example import Sample
from semcolor_jax.data.prior import Prior, save_prior

PHOTOS = 24
SIDE = 48
PRIOR = "prior.json"


def write_photos(folder: Path) -> None:
    """Writes made-up photos of two shapes as a folder source: train/ and val/, label maps, scenes, and a prior."""
    scenes = {}
    for split in ("train", "val"):
        for name in ("images", "labels"):
            (folder / split / name).mkdir(parents=True, exist_ok=True)
        for number in range(PHOTOS):
            sample = _sample(number, height=SIDE, width=SIDE + 8 * (number % 2))
            file = f"{split}/images/{number}.png"
            Image.fromarray(sample.image).save(folder / file)
            Image.fromarray(sample.labels).save(folder / split / "labels" / f"{number}.png")
            pairs = zip(sample.scene_index, sample.scene_prob, strict=True)
            scenes[file] = [[int(index), float(share)] for index, share in pairs]
    names = {"1": "person", "2": "bicycle"}
    (folder / "labels.json").write_text(json.dumps({"classes": names}), encoding="utf-8")
    (folder / "scenes.json").write_text(json.dumps(scenes), encoding="utf-8")
    provenance = {"bin_table": BIN_TABLE_ID, "source": "all colours alike", "images": 0, "pixels": 0, "seed": 0}
    save_prior(folder / PRIOR, Prior(np.full(NUM_BINS, 1 / NUM_BINS), provenance))


def shrink(config: ConfigDict, *, photos: Path) -> ConfigDict:
    """Returns the recipe with the made-up photos and a network of a few filters."""
    tiny = config.copy_and_resolve_references()
    tiny.model.encoder, tiny.model.width, tiny.model.scene_features = "vgg_like", 4, 8
    tiny.model.dtype = "float32"  # CPUs compute in float32
    tiny.data.source, tiny.data.mix = "mix", f"folder:{photos}=1"
    tiny.data.short_side, tiny.data.image_size, tiny.data.batch_size = 36, 32, 4
    tiny.data.min_chroma, tiny.data.prior = 1.0, str(photos / PRIOR)
    tiny.schedule.horizon_warmup, tiny.schedule.steps_total = 5, 40
    tiny.train.eval_samples = 8
    return tiny


def _sample(number: int, *, height: int, width: int) -> Sample:
    rng = np.random.default_rng(number)
    corners = Image.fromarray(rng.integers(0, 256, (2, 3, 3)).astype(np.uint8))
    image = np.asarray(corners.resize((width, height), Image.Resampling.BICUBIC))
    labels = np.where(image[..., 0] > 127, 1, 2).astype(np.uint8)
    index = np.arange(number % 361, number % 361 + 5, dtype=np.int32)
    return Sample(f"{number}", image, labels, index, np.array([0.6, 0.1, 0.1, 0.1, 0.1], np.float32))
