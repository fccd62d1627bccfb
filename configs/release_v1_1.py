"""The training of the released checkpoint `semcolor-v1.1`: semcolor-v1, continued with more photos of more kinds.

python experiments/accelerator.py release --device cpu --budget SECONDS --config configs/release_v1_1.py:DATA --output A
python experiments/accelerator.py release --device cpu --budget SECONDS --config configs/release_v1_1.py:DATA,96 \\
    --resume A --output B

DATA holds one folder for each part of the mix below, each with train/ and val/. The first run sees photos of 64 pixels
with the whole encoder frozen; the second continues with 96 pixels, and also trains blocks 4 and 5 of the encoder. It
starts from semcolor-v1, which lies in the history of this repository (docs/release.md). Convolutions compute in
bfloat16, on a CPU only under XLA_FLAGS=--xla_cpu_experimental_onednn_custom_call=true (faster with AVX512-BF16).
"""

import runpy
from pathlib import Path

from ml_collections import ConfigDict

WEIGHTS = {
    "tiny_imagenet": 8.0,  # 64 pixels: in the first run only
    "mini_imagenet_84": 6.0,
    "houses": 6.0,
    "pexels": 3.0,
    "sports": 3.0,
    "coco_panoptic": 2.0,
    "faces": 2.0,
    "human_seg": 2.0,
    "intel_scenes": 2.0,
    "natural_scenes": 2.0,
    "bsds500": 1.5,
    "caltech101": 1.5,
    "clothing": 1.5,
    "imagenette": 1.5,
    "sun_scenes": 1.5,
    "cars_bikes": 1.0,
    "clothing_items": 1.0,
    "flowers": 1.0,
    "food101_64": 1.0,  # 64 pixels: in the first run only
    "grocery": 1.0,
    "labelme_facade": 1.0,
    "pets": 1.0,
    "stanford_background": 1.0,
    "camvid": 0.7,
}
WEIGHTS_96 = {**WEIGHTS, "tiny_imagenet": 0.0, "food101_64": 0.0, "mini_imagenet_84": 8.0}


def get_config(spec: str = "data") -> ConfigDict:
    """Returns the config of the first run, or for "DATA,96" of the second."""
    data, _, size = spec.partition(",")
    release = runpy.run_path(str(Path(__file__).parent / "release.py"))
    config: ConfigDict = release["get_config"](data)
    config.name = "release_v1_1"
    config.data.cache = "device"
    config.data.batch_size = 16
    config.data.min_chroma = 2.5
    config.model.dtype = "bfloat16"
    config.augment.border = 0.02
    config.growth.epoch = 0.0  # one size per run
    config.growth.thaw_epoch = 0.0
    config.optimizer.clip_norm = 1.0
    config.schedule.kind = "horizon"
    config.schedule.stage1_rate = 6e-4
    config.schedule.cycle_high = 6e-4
    config.schedule.horizon_warmup = 100
    config.schedule.horizon_cycles = 0.5
    config.train.start_from = "semcolor-v1"
    config.train.loss_samples = 500
    config.train.eval_samples = 300
    if size == "96":
        _second(config)
    else:
        _first(config)
    weights = WEIGHTS_96 if size == "96" else WEIGHTS
    config.data.mix = ",".join(f"folder:{data}/{name}={weight:g}" for name, weight in weights.items() if weight)
    return config


def _first(config: ConfigDict) -> None:
    config.data.short_side, config.data.image_size = 72, 64
    config.schedule.steps_total = 20_000  # until the rate is measured
    config.schedule.horizon_stage1 = 0.85
    config.schedule.cycle_low = 2e-4


def _second(config: ConfigDict) -> None:
    config.data.short_side, config.data.image_size = 108, 96
    config.model.frozen_blocks = 3
    config.optimizer.encoder_rate = 0.1
    config.schedule.steps_total = 4_000  # until the rate is measured
    config.schedule.stage1_rate = 5e-4
    config.schedule.cycle_high = 5e-4
    config.schedule.horizon_stage1 = 0.25
    config.schedule.cycle_low = 1e-5
