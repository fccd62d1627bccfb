"""Handles branches without any labels: refuses the config, or switches the branch off and logs it."""

from __future__ import annotations

import logging

from ml_collections import ConfigDict

from semcolor_jax.baselines.registry import find_method
from semcolor_jax.data.supervision import Supervision
from semcolor_jax.errors import UserError

logger = logging.getLogger(__name__)

_LABELS = {"scene": "scene", "seg": "label map"}
_HOW = {
    "scene": (
        "label the photos with `semcolor data label-scenes --teacher FILE` or, as a stand-in, `--teacher small` "
        "(docs/data.md)"
    ),
    "seg": "add label maps (docs/data.md)",
}


def settle_branches(config: ConfigDict, supervision: Supervision) -> ConfigDict:
    """Returns the config with the loss weight of every branch without labelled photos set to 0.

    Otherwise such a loss would stay 0, and the run would silently train a smaller variant. Logs how many photos teach
    each branch.

    Args:
      config: a complete one; not modified.
      supervision: of the training photos.

    Raises:
      UserError: a branch has no label, and the config requires labels (`config.data.require_labels`, or COCO-Stuff).
    """
    settled = config.copy_and_resolve_references()
    counts = {"scene": supervision.with_scene, "seg": supervision.with_labels}
    learns_from = find_method(config.model.method).labels(config)
    for branch, label in _LABELS.items():
        if branch not in learns_from or config.loss[branch] == 0:
            continue
        if counts[branch]:
            share = counts[branch] / supervision.photos
            logger.info(
                "%s: %d of %d photos have a %s (%.0f%%)", branch, counts[branch], supervision.photos, label, 100 * share
            )
            continue
        if config.data.require_labels or config.data.source == "coco_stuff":
            raise UserError(
                f"None of the {supervision.photos} training photos has a {label}, so the branch {branch!r} would "
                f"learn nothing: {_HOW[branch]}, or set --config.loss.{branch}=0."
            )
        logger.info("%s: no photo has a %s, so this branch is not trained (config.loss.%s = 0)", branch, label, branch)
        settled.loss[branch] = 0.0
    return settled
