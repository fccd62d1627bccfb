"""Comparison method: Larsson et al., Learning Representations for Automatic Colorization (ECCV 2016), authors' solver.

semcolor train --config larsson2016 --config.data.source=folder --config.data.dir=DIR --workdir W
semcolor train --config larsson2016:runlocal --config.data.source=embedded --workdir W   # to try code

The authors trained two million batches of 8 on ImageNet. The published weights need no training:
semcolor model convert larsson2016 autocolorize.caffemodel.h5 -o W

Expected time: weeks on one GPU; not measured here. `runlocal`: minutes on two CPU cores.
Expected result: not measured here at full size, because it needs ImageNet.
"""

from ml_collections import ConfigDict

from semcolor_jax.baselines.registry import default_config
from semcolor_jax.errors import UserError


def get_config(arg: str = "") -> ConfigDict:
    if arg not in ("", "runlocal"):
        raise UserError(f"configs/larsson2016.py:{arg} is unknown: there is only :runlocal, for a small and short run.")
    config = default_config("larsson2016")
    config.name = "larsson2016"
    config.data.short_side = 352
    config.data.image_size = 352
    config.augment.update(dict(rotate=0.0, scale=0.0, translate=0.0, contrast=0.0, brightness=0.0))  # mirrored only
    config.optimizer.update(dict(name="sgd", momentum=0.9, weight_decay=5e-4))
    config.schedule.update(
        dict(
            kind="steps",
            steps_rate=1e-3,
            steps_factor=0.1,
            steps_at=(1_000_000, 1_500_000, 1_750_000),
            steps_total=2_000_000,
        )
    )
    if arg == "runlocal":
        config.model.width = 8
        config.optimizer.update(dict(name="adam", weight_decay=0.0))  # the head's tiny start needs SGD's many steps
        config.data.update(dict(short_side=80, image_size=64, batch_size=4))
        config.schedule.update(dict(steps_at=(150,), steps_total=200))
        config.train.update(dict(log_every_steps=20, eval_samples=8))
    return config
