"""The training of semcolor-v1, which `release_v1_1.py` continues to the released checkpoint.

semcolor train --config release:DATA --workdir runs/release

DATA holds one folder for each part of the mix below, each with train/ and val/ (docs/release.md says where they come
from and how their scene labels are made). The network is the paper's, with its four branches and its joint loss, on the
VGG16 encoder with ImageNet weights; the decoder is slim and stops at half the resolution, because ab needs no more.
First the encoder is frozen and the photos are small; then they grow; in stage 2 the encoder's upper blocks are
fine-tuned.
"""

from ml_collections import ConfigDict

from semcolor_jax.config import default

WEIGHTS = {
    "tiny_imagenet": 8.0,  # 27,000 photos of everything, but only 64 pixels
    "intel_scenes": 4.0,
    "pexels": 3.0,
    "natural_scenes": 2.5,
    "caltech101": 2.0,
    "clothing": 2.0,
    "flowers": 2.0,
    "stanford_background": 2.0,
    "sun_scenes": 2.0,
    "bsds500": 1.5,
    "coco_panoptic": 1.5,
    "labelme_facade": 1.2,
    "camvid": 0.8,
}


def get_config(data: str = "data") -> ConfigDict:
    config = default()
    config.name = "release"
    config.model.encoder = "vgg16"
    config.model.frozen_blocks = 5
    config.model.width = 32
    config.model.output_stride = 2
    config.model.scene_features = 128
    config.loss.reg = 10.0
    config.loss.scene = 0.3
    config.loss.rebalancing_lambda = 0.8
    config.data.source = "mix"
    config.data.mix = ",".join(f"folder:{data}/{name}={weight:g}" for name, weight in WEIGHTS.items())
    config.data.short_side = 76
    config.data.image_size = 64
    config.data.batch_size = 16
    config.data.prior_images = 10000
    config.augment.rotate = 5.0
    config.augment.brightness = 0.05
    config.growth.epoch = 1.0
    config.growth.short_side = 112
    config.growth.image_size = 96
    config.growth.thaw_epoch = 1.6
    config.growth.frozen_blocks = 3
    config.optimizer.encoder_rate = 0.05
    config.schedule.stage1_rate = 1e-3
    config.schedule.stage1_epochs = 1.4
    config.schedule.cycle_high = 8e-4
    config.schedule.cycle_low = 1e-5
    config.schedule.cycle_epochs = 2  # stage 2 is 0.475 of a cycle and ends at 5e-5, a little above the lowest rate
    config.schedule.stage2_epochs = 0.95
    config.train.ema_decay = 0.999
    config.train.log_every_steps = 50
    config.train.checkpoint_every_steps = 250
    config.train.eval_every_steps = 1000
    config.train.eval_samples = 150
    config.train.grid_samples = 16
    config.inference.update(dict(side=96, branch="both", share=0.25))  # chosen by experiments/color_choice.py
    return config
