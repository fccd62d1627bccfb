"""Comparison method: Iizuka et al., Let there be Color! (SIGGRAPH 2016).

semcolor train --config iizuka2016 --config.data.source=folder --config.data.dir=DIR --workdir W
semcolor train --config iizuka2016:runlocal --config.data.source=embedded --workdir W   # to try code

The photos' scenes train its classifier: label them with `semcolor data label-scenes`; without labels, only colour is
trained. The paper trains on Places; its batch of 128, Adadelta and 11 epochs of 2.3 million photos are quoted from
memory, see docs/comparison_methods.md. The published weights, a Torch7 file, need their own converter:
tools/iizuka_t7_to_npz.py.

Expected time: weeks on one GPU; not measured here. `runlocal`: minutes on two CPU cores.
Expected result: not measured here at full size, because it needs Places.
"""

from ml_collections import ConfigDict

from semcolor_jax.baselines.registry import default_config
from semcolor_jax.errors import UserError


def get_config(arg: str = "") -> ConfigDict:
    if arg not in ("", "runlocal"):
        raise UserError(f"configs/iizuka2016.py:{arg} is unknown: there is only :runlocal, for a small and short run.")
    config = default_config("iizuka2016")
    config.name = "iizuka2016"
    config.data.batch_size = 128
    config.augment.update(dict(rotate=0.0, scale=0.0, translate=0.0, contrast=0.0, brightness=0.0))  # mirrored only
    config.optimizer.name = "adadelta"
    config.schedule.update(dict(kind="steps", steps_rate=1.0, steps_at=(), steps_total=200_000))
    if arg == "runlocal":
        config.model.width = 8
        config.model.global_side = 64
        config.optimizer.name = "adam"
        config.data.update(dict(short_side=80, image_size=64, batch_size=4))
        config.schedule.update(dict(steps_rate=1e-3, steps_at=(150,), steps_total=200))
        config.train.update(dict(log_every_steps=20, eval_samples=8))
    return config
