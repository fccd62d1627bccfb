"""A first training, in minutes on two CPU cores: the paper's network, small, on photos from the dependencies.

semcolor train --config quickstart        (or: make quickstart)

It trains on crops of seven photos and is evaluated on other parts of the same photos: a check that everything runs and
all four branches learn, not a colorizer for unseen photos.
"""

from ml_collections import ConfigDict

from semcolor_jax.config import default


def get_config() -> ConfigDict:
    config = default()
    config.name = "quickstart"
    config.model.encoder = "vgg16"  # ImageNet weights, frozen: seven photos can train a decoder, but not an encoder
    config.model.frozen_blocks = 5
    config.model.width = 16
    config.model.scene_features = 128
    config.data.source = "embedded"
    config.loss.reg = 10.0  # in ab / 110 a squared error is a hundred times smaller than a cross-entropy
    config.data.short_side = 80
    config.data.image_size = 64
    config.data.batch_size = 8
    config.schedule.stage1_rate = 1e-3  # a small decoder takes larger steps than the paper's network
    config.schedule.cycle_high = 2e-3
    config.schedule.stage1_epochs = 10
    config.schedule.stage2_epochs = 4  # half a cycle, to end at the lowest rate
    config.train.log_every_steps = 50
    config.train.checkpoint_every_steps = 200
    config.train.eval_every_steps = 400
    config.train.eval_samples = 0
    config.train.grid_samples = 6
    config.inference.side = 160
    return config
