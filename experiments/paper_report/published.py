"""The figures stated in the paper's text (section V-D), to compare with measured ones.

Tables 3 and 4 have more; only figures repeated in the running text are here. "best" is the best of the paper's own
three networks: the text gives their L2ab without saying which it is.
"""

from __future__ import annotations

from collections.abc import Mapping

BEST = "best"

STATED: Mapping[tuple[str, str, str], float] = {
    ("imagenet_ctest1k", "larsson2016", "psnr_channels"): 23.335,
    ("div2k_valid", "larsson2016", "psnr_channels"): 23.49,
    ("coco_stuff_ctest1k", "larsson2016", "psnr_channels"): 23.773,
    ("imagenet_ctest1k", "larsson2016", "ssim"): 0.869,
    ("div2k_valid", "larsson2016", "ssim"): 0.929,
    ("div2k_valid", BEST, "l2_ab_channels"): 0.068,
    ("places365_ctest1k", BEST, "l2_ab_channels"): 0.442,
    ("coco_stuff_ctest1k", BEST, "l2_ab_channels"): 0.223,
}
"""By set, method and column of `semcolor_jax.evaluation.score.measures.COLUMNS`."""

ROWS: Mapping[str, str] = {
    "larsson2016": "Larsson et al. (the paper's figure)",
    BEST: "best of RegSoft, ClasRegSoft, SegClasRegSoft (the paper's figure)",
}

SILENT = "The text of the paper does not state this value of its table."

NOT_COMPARABLE = (
    "The paper's figures are those of its authors' networks and programs. It does not say at which size it scores; "
    "L2ab as printed (eq. 23) shrinks with the size, so the paper's values and ours need not have the same scale."
)
