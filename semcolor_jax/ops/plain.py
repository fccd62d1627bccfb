"""XLA's own convolution in this project's layout: images (B, H, W, C), kernels (rows, columns, C, K)."""

from __future__ import annotations

from collections.abc import Sequence

import jax
from jaxtyping import Array, Float

_DIMENSIONS = ("NHWC", "HWIO", "NHWC")


def convolve(
    x: Float[Array, "B H W C"],
    kernel: Float[Array, "i j C K"],
    *,
    stride: int = 1,
    dilation: int = 1,
    padding: str | Sequence[tuple[int, int]] = "SAME",
    precision: jax.lax.Precision | None = None,
) -> Float[Array, "B h w K"]:
    """Returns the convolution (a correlation, as everywhere in the field); `padding` is that of `jax.lax`."""
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        padding,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=_DIMENSIONS,
        precision=precision,
    )
