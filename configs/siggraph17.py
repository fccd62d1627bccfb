"""Comparison method: Zhang et al., Real-Time User-Guided Image Colorization (SIGGRAPH 2017), trained with random hints.

semcolor train --config siggraph17 --config.data.source=folder --config.data.dir=DIR --workdir W
semcolor train --config siggraph17:runlocal --config.data.source=embedded --workdir W   # to try code

The authors train 15 epochs of ImageNet on the 529 classes without hints, then 10 and 5 on the regression with hints, at
a tenth and a hundredth of the rate. This config trains both at once, each with its published loss, for the same number
of batches at the same rates. The published weights need no training: semcolor model convert siggraph17
siggraph17-df00044c.pth -o W

Expected time: days on one GPU; not measured here. `runlocal`: minutes on two CPU cores.
Expected result: not measured here at full size, because it needs ImageNet.
"""

from ml_collections import ConfigDict

from semcolor_jax.baselines.registry import default_config
from semcolor_jax.errors import UserError


def get_config(arg: str = "") -> ConfigDict:
    if arg not in ("", "runlocal"):
        raise UserError(f"configs/siggraph17.py:{arg} is unknown: there is only :runlocal, for a small and short run.")
    config = default_config("siggraph17")
    config.name = "siggraph17"
    config.data.image_size = 176
    config.data.batch_size = 25
    config.augment.update(dict(rotate=0.0, scale=0.0, translate=0.0, contrast=0.0, brightness=0.0))  # mirrored only
    config.schedule.update(
        dict(kind="steps", steps_rate=1e-4, steps_factor=0.1, steps_at=(768_000, 1_281_000), steps_total=1_537_000)
    )
    if arg == "runlocal":
        config.model.width = 8
        config.data.update(dict(short_side=80, image_size=64, batch_size=4))
        config.schedule.update(dict(steps_rate=1e-3, steps_at=(150,), steps_total=200))
        config.train.update(dict(log_every_steps=20, eval_samples=8))
    return config
