"""A training of a few minutes on one accelerator: the recipe of the jobs in experiments/accelerator.py.

python experiments/accelerator.py release --device gpu --budget 480 --config configs/accelerator.py:DATA --output out

DATA holds one folder for each part of the mix below, each with train/ and val/. The network is the paper's, with its
four branches and its joint loss, on the VGG16 encoder with ImageNet weights, all of it trained from the start under a
warm-up; the decoder is slim and stops at half the resolution. The two stages of the learning rate share the run, whose
length follows from the measured rate, and the last update has the lowest. All photos lie in the accelerator's memory.

Expected: one to two million crops of 128 pixels in seven minutes of an H100, by its FLOPs; not yet measured.
"""

from ml_collections import ConfigDict

from semcolor_jax.config import default

WEIGHTS = {
    "mini_imagenet_84": 6.0,
    "houses": 3.0,
    "sports": 3.0,
    "intel_scenes": 2.0,
    "pexels": 2.0,
    "natural_scenes": 2.0,
    "tiny_imagenet": 2.0,  # photos of only 64 pixels
    "caltech101": 1.5,
    "coco_panoptic": 1.5,
    "human_seg": 1.5,
    "imagenette": 1.5,
    "sun_scenes": 1.5,
    "bsds500": 1.0,
    "cars_bikes": 1.0,
    "clothing": 1.0,
    "clothing_items": 1.0,
    "faces": 1.0,
    "flowers": 1.0,
    "food101_64": 1.0,
    "grocery": 1.0,
    "labelme_facade": 1.0,
    "pets": 1.0,
    "stanford_background": 1.0,
    "camvid": 0.7,
}


def get_config(data: str = "data") -> ConfigDict:
    config = default()
    config.name = "accelerator"
    config.model.encoder = "vgg16"
    config.model.width = 48
    config.model.output_stride = 2
    config.model.scene_features = 128
    config.model.dtype = "bfloat16"  # losses, statistics and the weights themselves stay float32
    config.loss.heads = "plain"
    config.loss.reg = 10.0
    config.loss.scene = 0.3
    config.loss.rebalancing_lambda = 0.8
    config.data.source = "mix"
    config.data.mix = ",".join(f"folder:{data}/{name}={weight:g}" for name, weight in WEIGHTS.items())
    config.data.cache = "device"
    config.data.short_side = 144
    config.data.image_size = 128
    config.data.batch_size = 128
    config.data.min_chroma = 4.0
    config.data.prior_images = 10000
    config.augment.rotate = 5.0
    config.augment.brightness = 0.05
    config.optimizer.encoder_rate = 0.5
    config.optimizer.clip_norm = 1.0
    config.schedule.kind = "horizon"
    config.schedule.steps_total = 10_000  # until the rate is measured
    config.schedule.stage1_rate = 8e-4
    config.schedule.cycle_high = 8e-4
    config.schedule.cycle_low = 1e-5
    config.schedule.horizon_warmup = 200
    config.schedule.horizon_stage1 = 0.5
    config.schedule.horizon_cycles = 0.5
    config.train.ema_decay = 0.999
    config.train.eval_samples = 480
    config.inference.update(dict(side=128, branch="both", share=0.25))
    return config
