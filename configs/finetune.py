"""Fine-tunes the released model on your own folder of photos: a family album, a town's archive, flowers.

semcolor train --config finetune PHOTOS
semcolor train --config finetune:200 PHOTOS --workdir runs/album    # 200 updates instead of 500

PHOTOS is any folder of colour photos like those to be coloured later; every twentieth is held out, or PHOTOS/val. The
encoder stays frozen, decoder and heads learn slowly; without labels the scene and segmentation branches are left out of
the loss. At the end, the release and the new weights colour held-out photos: a table, and `before_after.png`. `semcolor
colorize old/ -o coloured/ --model runs/finetune` colours with them.

Time: 500 updates are twenty minutes of processor time; after six, the command estimates how long they take.
"""

from ml_collections import ConfigDict

from semcolor_jax.checkpoints.configs import load_config
from semcolor_jax.checkpoints.models import DEFAULT_MODEL, find_model
from semcolor_jax.config import default
from semcolor_jax.errors import UserError


def get_config(steps: str = "500") -> ConfigDict:
    if not steps.isdigit() or not int(steps):
        raise UserError(f"configs/finetune.py:{steps} is unknown: give the number of updates, as in finetune:200.")
    config, released = default(), load_config(find_model(DEFAULT_MODEL))
    config.name = "finetune"
    for field in config.model:
        config.model[field] = released.model[field]
    config.model.frozen_blocks = 5
    for field in config.loss:
        config.loss[field] = released.loss[field]
    config.inference.update(released.inference)
    config.data.source, config.data.dir = "folder", "photos"  # set on the command line
    grown = released.growth if released.growth.epoch else released.data  # the size at the end of its training
    config.data.short_side, config.data.image_size = grown.short_side, grown.image_size
    config.data.batch_size = 16
    config.data.prior_images = 1000
    config.augment.rotate = 5.0
    config.augment.brightness = 0.05
    config.schedule.kind = "horizon"
    config.schedule.steps_total = int(steps)
    config.schedule.horizon_warmup = min(50, int(steps) // 4)
    config.schedule.horizon_stage1 = 0.5
    config.schedule.stage1_rate = 1e-4
    config.schedule.cycle_high = 1e-4
    config.schedule.cycle_low = 1e-5
    config.train.start_from = DEFAULT_MODEL
    config.train.ema_decay = 0.98
    config.train.log_every_steps = 25
    config.train.checkpoint_every_steps = 100
    config.train.keep_checkpoints = 1
    config.train.eval_every_steps = 100
    config.train.eval_samples = 50
    config.train.loss_samples = 100
    config.train.before_after = 50
    return config
