"""The paper's training: COCO-Stuff 118k, 224x224, four branches, two stages.

semcolor train --config full --config.data.dir=DATA                    # COCO-Stuff, prepared as docs/data.md says
semcolor train --config full:regsoft --config.data.dir=DATA            # ablations of Table 2: regsoft,
semcolor train --config full:clasregsoft --config.data.dir=DATA        # clasregsoft, segclasregsoft
semcolor train --config full:segclasregsoft,runlocal --config.data.source=embedded --workdir W   # to try code

Own data: --config.data.source=folder --config.data.dir=DIR (photos; label maps and scenes where you have them).

Expected time: the paper names three days per configuration on one GTX 1080; not yet measured here on a GPU.
Expected result: the paper's Tables 3 and 4; not yet measured here, because it needs COCO-Stuff (about 20 GB).
"""

from ml_collections import ConfigDict

from semcolor_jax.config import VARIANTS, default
from semcolor_jax.errors import UserError

# Of eq. 16: with them, all losses have similar gradients at the encoder (experiments/results/loss_weights.md).
LOSS_WEIGHTS = {"soft": 1.0, "reg": 46.0, "scene": 0.13, "seg": 3.5}


def get_config(arg: str = "") -> ConfigDict:
    config = default()
    config.loss.update(LOSS_WEIGHTS)
    variant, *options = (arg or "segclasregsoft").split(",")
    unknown = [name for name in (variant, *options) if name not in (*VARIANTS, "runlocal")]
    if unknown:
        raise UserError(f"configs/full.py:{arg} is unknown: give one of {', '.join(VARIANTS)}, then ,runlocal.")
    if variant == "runlocal":
        variant, options = "segclasregsoft", ["runlocal"]
    config.name = variant
    config.model.variant = variant
    config.data.require_labels = arg.startswith(variant)  # requested by name: trained in full, or not at all
    if "runlocal" in options:
        config.model.width = 8
        config.data.batch_size = 2
        config.data.short_side = 80
        config.data.image_size = 64
        config.schedule.stage1_epochs = 1
        config.schedule.stage2_epochs = 1
        config.train.log_every_steps = 5
        config.train.eval_samples = 8
    return config
