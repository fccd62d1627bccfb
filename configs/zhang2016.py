"""Comparison method: Zhang et al., Colorful Image Colorization (ECCV 2016), with the authors' solver.

semcolor train --config zhang2016 --config.data.source=folder --config.data.dir=DIR --workdir W
semcolor train --config zhang2016:runlocal --config.data.source=embedded --workdir W   # to try code

The authors trained 500 000 batches of 40 on ImageNet. The published weights need no training:
semcolor model convert zhang2016 colorization_release_v2-9b330a0b.pth -o W

Expected time: days on one GPU; not measured here. `runlocal`: minutes on two CPU cores.
Expected result: not measured here at full size, because it needs ImageNet.
"""

from ml_collections import ConfigDict

from semcolor_jax.baselines.registry import default_config
from semcolor_jax.errors import UserError


def get_config(arg: str = "") -> ConfigDict:
    if arg not in ("", "runlocal"):
        raise UserError(f"configs/zhang2016.py:{arg} is unknown: there is only :runlocal, for a small and short run.")
    config = default_config("zhang2016")
    config.name = "zhang2016"
    config.data.image_size = 176
    config.data.batch_size = 40
    config.augment.update(dict(rotate=0.0, scale=0.0, translate=0.0, contrast=0.0, brightness=0.0))  # mirrored only
    config.optimizer.update(dict(name="adam", beta2=0.99, weight_decay=1e-3))
    config.schedule.update(
        dict(kind="steps", steps_rate=3e-5, steps_factor=0.1, steps_at=(225_000, 450_000), steps_total=500_000)
    )
    if arg == "runlocal":
        config.model.width = 8
        config.data.update(dict(short_side=80, image_size=64, batch_size=4))
        config.schedule.update(dict(steps_rate=1e-3, steps_at=(150,), steps_total=200))
        config.train.update(dict(log_every_steps=20, eval_samples=8))
    return config
