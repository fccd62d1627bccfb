"""Inception-v3 (Szegedy et al. 2016) up to its 2048 pooled features, for computing FID.

Two networks have this name. torchvision's is the paper's. The TensorFlow graph of 2015, with which FID was defined,
averages over the pixels inside the map where its window overlaps the border, and takes the maximum instead of the
average in its last block; pytorch-fid documents the differences.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, UInt8

from semcolor_jax.formats.torch_vision import IMAGENET_DEVIATION, IMAGENET_MEAN
from semcolor_jax.metrics.valid_area import Sizes

Variant: TypeAlias = Literal["torchvision", "tf"]
SIDE = 299
"""Pixels a side of the network's input."""

Params: TypeAlias = Mapping[str, Mapping[str, Any]]


class InceptionFeatures:
    """The features of uint8 photos, compiled for each shape of batch.

    Raises:
      ValueError: on creation, if the parameters do not fit the network.
    """

    def __init__(self, params: Params, *, variant: Variant):
        self._params = jax.device_put({name: dict(layer) for name, layer in params.items()})
        self._variant: Variant = variant
        photo = jax.ShapeDtypeStruct((1, SIDE, SIDE, 3), jnp.float32)
        try:
            jax.eval_shape(lambda p, x: network(p, x, variant=variant), self._params, photo)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"these are not the layers of Inception-v3 ({error})") from error

    def __call__(self, photos: UInt8[Any, "B H W 3"], *, sizes: np.ndarray) -> Float32[np.ndarray, "B 2048"]:
        """Returns the features of photos of these heights and widths, in the arrays' upper left corners."""
        return np.asarray(_features(self._params, photos, jnp.asarray(sizes, jnp.int32), self._variant))


def prepare(photos: UInt8[Array, "B H W 3"], sizes: Sizes, *, variant: Variant) -> Float[Array, "B 299 299 3"]:
    """Returns the network's input: resized to 299 pixels a side, bilinear without antialiasing, and scaled.

    "torchvision" scales to -1..1 and then applies torchvision's `transform_input`, as is usual in the field, although
    this is meant for photos normalised by ImageNet's mean and deviation. "tf" is x / 128 - 1.
    """
    x = resize_bilinear(photos.astype(jnp.float32), sizes, side=SIDE)
    if variant == "tf":
        return x / 128 - 1
    mean, deviation = (np.array(values, np.float32) for values in (IMAGENET_MEAN, IMAGENET_DEVIATION))
    return (x / 127.5 - 1) * (deviation / 0.5) + (mean - 0.5) / 0.5


def resize_bilinear(images: Float[Array, "B H W c"], sizes: Sizes, *, side: int) -> Float[Array, "B side side c"]:
    """Resizes the upper left corners of these sizes to squares: pixel centres at half integers, edges repeated."""

    def taps(length):
        position = jnp.clip((jnp.arange(side) + 0.5) * (length / side) - 0.5, 0, length - 1)
        low = jnp.floor(position).astype(jnp.int32)
        return low, jnp.minimum(low + 1, length - 1), position - low

    def one(image, size):
        low, high, weight = taps(size[0])
        rows = image[low] + (image[high] - image[low]) * weight[:, None, None]
        low, high, weight = taps(size[1])
        return rows[:, low] + (rows[:, high] - rows[:, low]) * weight[:, None]

    return jax.vmap(one)(images, sizes)


@jax.jit(static_argnames="variant")
def _features(params, photos, sizes, variant):
    return network(params, prepare(photos, sizes, variant=variant), variant=variant)


def network(params: Params, x: Float[Array, "B h w 3"], *, variant: Variant) -> Float[Array, "B 2048"]:
    """Returns the average over the last map, for prepared input."""
    net = _Network(params, variant)
    x = net.conv("Conv2d_1a_3x3", x, stride=2)
    x = net.conv("Conv2d_2a_3x3", x, padding="VALID")
    x = net.conv("Conv2d_2b_3x3", x)
    x = net.conv("Conv2d_3b_1x1", _max_pool(x))
    x = _max_pool(net.conv("Conv2d_4a_3x3", x, padding="VALID"))
    for block in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
        x = net.block_a(block, x)
    x = net.block_b("Mixed_6a", x)
    for block in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):
        x = net.block_c(block, x)
    x = net.block_d("Mixed_7a", x)
    x = net.block_e("Mixed_7b", x, last=False)
    x = net.block_e("Mixed_7c", x, last=True)
    return jnp.mean(x, axis=(1, 2))


class _Network:
    """The layers, by torchvision's names; blocks A to E are Figs. 5, 10, 6, 10 and 7 of the paper."""

    def __init__(self, params: Params, variant: Variant):
        self._params, self._variant = params, variant

    def conv(self, name: str, x: Array, *, stride: int = 1, padding: str | None = None) -> Array:
        layer = self._params[name]
        y = jax.lax.conv_general_dilated(
            x,
            layer["kernel"],
            (stride, stride),
            padding or ("SAME" if stride == 1 else "VALID"),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision=jax.lax.Precision.HIGHEST,
        )
        return jax.nn.relu(y + layer["bias"])

    def chain(self, block: str, branch: str, x: Array, *parts: str, stride: int = 1) -> Array:
        """A branch of several convolutions; the stride is the last one's."""
        for part in parts:
            x = self.conv(f"{block}.{branch}_{part}", x, stride=stride if part == parts[-1] else 1)
        return x

    def average(self, x: Array) -> Array:
        """3x3 means; the TensorFlow graph leaves the border's padding out of them, torchvision counts it as 0."""
        total = jax.lax.reduce_window(x, 0.0, jax.lax.add, (1, 3, 3, 1), (1, 1, 1, 1), "SAME")
        if self._variant == "torchvision":
            return total / 9
        ones = jnp.ones((1, *x.shape[1:3], 1), x.dtype)
        return total / jax.lax.reduce_window(ones, 0.0, jax.lax.add, (1, 3, 3, 1), (1, 1, 1, 1), "SAME")

    def block_a(self, block: str, x: Array) -> Array:
        return _concatenate(
            self.conv(f"{block}.branch1x1", x),
            self.chain(block, "branch5x5", x, "1", "2"),
            self.chain(block, "branch3x3dbl", x, "1", "2", "3"),
            self.conv(f"{block}.branch_pool", self.average(x)),
        )

    def block_b(self, block: str, x: Array) -> Array:
        return _concatenate(
            self.conv(f"{block}.branch3x3", x, stride=2),
            self.chain(block, "branch3x3dbl", x, "1", "2", "3", stride=2),
            _max_pool(x),
        )

    def block_c(self, block: str, x: Array) -> Array:
        return _concatenate(
            self.conv(f"{block}.branch1x1", x),
            self.chain(block, "branch7x7", x, "1", "2", "3"),
            self.chain(block, "branch7x7dbl", x, "1", "2", "3", "4", "5"),
            self.conv(f"{block}.branch_pool", self.average(x)),
        )

    def block_d(self, block: str, x: Array) -> Array:
        return _concatenate(
            self.chain(block, "branch3x3", x, "1", "2", stride=2),
            self.chain(block, "branch7x7x3", x, "1", "2", "3", "4", stride=2),
            _max_pool(x),
        )

    def block_e(self, block: str, x: Array, *, last: bool) -> Array:
        single = self.conv(f"{block}.branch3x3_1", x)
        double = self.chain(block, "branch3x3dbl", x, "1", "2")
        pooled = _max_pool(x, stride=1) if last and self._variant == "tf" else self.average(x)
        return _concatenate(
            self.conv(f"{block}.branch1x1", x),
            *(self.conv(f"{block}.branch3x3_2{part}", single) for part in "ab"),
            *(self.conv(f"{block}.branch3x3dbl_3{part}", double) for part in "ab"),
            self.conv(f"{block}.branch_pool", pooled),
        )


def _concatenate(*maps: Array) -> Array:
    return jnp.concatenate(maps, axis=-1)


def _max_pool(x: Array, *, stride: int = 2) -> Array:
    padding = "VALID" if stride == 2 else "SAME"
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, stride, stride, 1), padding)
