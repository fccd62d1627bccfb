"""Convolutions of the networks: XLA's own, or on a CPU forms that run faster there.

On a CPU, in training, layers of many channels take fewer multiplications (`winograd`). So does the part of a decoder
block's first convolution that sees an image just upsampled (there, or in `packed_convolution`). For the other layers,
XLA writes the gradient with respect to the kernel as a convolution whose window is the whole image. On a CPU that runs
at a tenth of the speed of the forward convolution. The same sum over pixels p,

    dK[i, j] = sum_p  x[stride p + (i, j)]^T  g[p],

is a matrix product of nine shifted copies of one factor with the other. Rows of the image are taken a few at a time, so
that the copies stay in the cache. Which factor is copied does not change the result; the narrower one costs less.

That is for float32. In bfloat16, oneDNN's convolutions (`backend.computes_bfloat16`) are faster than these forms. XLA
leaves to oneDNN all but the gradient with respect to the input, because that reverses the kernel; with the kernel
reversed beforehand it, too, runs there, more than twice as fast.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from semcolor_jax.backend import barrier, on_one_cpu
from semcolor_jax.ops import packed_convolution, plain, winograd
from semcolor_jax.ops.rows import rows_per_chunk

SIDE = 3
CHUNK_PIXELS = 2048
"""Output pixels with nine shifted copies in memory at once."""
Pads = tuple[tuple[int, int], tuple[int, int]]
Padding = Literal["SAME"] | Pads
_ONE: Pads = ((1, 1), (1, 1))  # pixels of padding around the image
WINOGRAD_CHANNELS = 128
"""From this many input and output channels on, Winograd's form is faster."""
WINOGRAD_CHANNELS_UPSAMPLED = 64
"""The same for an image just upsampled, where it saves more."""


def convolve(
    inputs: Float[Array, "B H W C"], kernel: Float[Array, "3 3 C K"], *, stride: int = 1
) -> Float[Array, "B h w K"]:
    """Returns the SAME convolution; any dtype, the same for both.

    In the "xla" form it is `lax.conv_general_dilated`: the chunks below would have to be summed over the devices one by
    one, and GPU libraries have good kernel gradients.
    """
    return _convolve(inputs, kernel, stride) if on_one_cpu() else plain.convolve(inputs, kernel, stride=stride)


def convolve_halving(inputs: Float[Array, "B H W C"], kernel: Float[Array, "3 3 C K"]) -> Float[Array, "B h w K"]:
    """Returns every second row and column of the SAME convolution, as with padding (1, 1) and stride 2 in PyTorch.

    (`convolve` with stride 2 pads an even side at its end only.) Any dtype, the same for both.
    """
    if not on_one_cpu():
        return plain.convolve(inputs, kernel, stride=2, padding=_ONE)
    return _convolve(inputs, kernel, 2, _ONE)


def convolve_dilated(
    inputs: Float[Array, "B H W C"], kernel: Float[Array, "3 3 C K"], *, dilation: int
) -> Float[Array, "B H W K"]:
    """Returns the SAME convolution whose taps lie `dilation` pixels apart; any dtype, the same for both.

    On one CPU, every `dilation`-th pixel of every `dilation`-th row is an image of its own, convolved as usual.
    """
    if not on_one_cpu():
        return plain.convolve(inputs, kernel, dilation=dilation)
    batch, height, width, _ = inputs.shape
    padded = jnp.pad(inputs, ((0, 0), (0, -height % dilation), (0, -width % dilation), (0, 0)))
    rows, columns = padded.shape[1] // dilation, padded.shape[2] // dilation
    split = padded.reshape(batch, rows, dilation, columns, dilation, -1).transpose(0, 2, 4, 1, 3, 5)
    outputs = _convolve(split.reshape(-1, rows, columns, inputs.shape[-1]), kernel, 1)
    joined = outputs.reshape(batch, dilation, dilation, rows, columns, -1).transpose(0, 3, 1, 4, 2, 5)
    return joined.reshape(batch, rows * dilation, columns * dilation, -1)[:, :height, :width]


def convolve_by_product(inputs: Float[Array, "B H W C"], kernel: Float[Array, "k k C K"]) -> Float[Array, "B H W K"]:
    """Returns the SAME convolution with a kernel of any odd size, meant for small images; any dtype, the same for both.

    On one CPU it is one product of the matrix with a row per tap and channel, where XLA's convolution takes seconds for
    7x7 taps on a few pixels. Taps that see nothing but padding, from every pixel, are left out.
    """
    if not on_one_cpu():
        return plain.convolve(inputs, kernel)
    height, width = inputs.shape[1:3]
    down, across = (min(taps // 2, side - 1) for taps, side in zip(kernel.shape[:2], (height, width), strict=True))
    row, column = kernel.shape[0] // 2, kernel.shape[1] // 2
    kernel = kernel[row - down : row + down + 1, column - across : column + across + 1]
    padded = jnp.pad(inputs, ((0, 0), (down, down), (across, across), (0, 0)))
    shifts = itertools.product(range(2 * down + 1), range(2 * across + 1))
    columns = jnp.concatenate([padded[:, i : i + height, j : j + width] for i, j in shifts], axis=-1)
    return columns @ kernel.reshape(-1, kernel.shape[-1])


def convolve_joined(
    x: Float[Array, "B h w C"], skip: Float[Array, "B 2*h 2*w D"], kernel: Float[Array, "3 3 C+D K"]
) -> Float[Array, "B 2*h 2*w K"]:
    """Returns the SAME convolution of x, upsampled 2x by nearest neighbours and concatenated with `skip`.

    On one CPU the two parts are convolved separately, and neither the upsampled x nor the joined array ever exists.
    """
    if not on_one_cpu():
        return plain.convolve(jnp.concatenate([upsample(x), skip], axis=-1), kernel)
    of_x, of_skip = jnp.split(kernel, [x.shape[-1]], axis=2)
    return _convolve_upsampled(x, of_x) + _convolve(skip, of_skip, 1)


def convolve_transposed(x: Float[Array, "B h w C"], kernel: Float[Array, "4 4 C K"]) -> Float[Array, "B 2*h 2*w K"]:
    """Returns the transposed convolution of stride 2 and padding 1, the adjoint of that with the kernel reversed.

    On one CPU no zeros are put between the pixels of x.
    """
    if not on_one_cpu():
        return jax.lax.conv_transpose(x, kernel, strides=(2, 2), padding=((2, 2), (2, 2)))
    return _convolve_packed(x, packed_convolution.fold_transposed(kernel))


def upsample(x: Float[Array, "B H W C"]) -> Float[Array, "B 2*H 2*W C"]:
    """Nearest neighbour: every pixel becomes 2x2 equal ones."""
    batch, height, width, channels = x.shape
    x = jnp.broadcast_to(x[:, :, None, :, None, :], (batch, height, 2, width, 2, channels))
    return x.reshape(batch, 2 * height, 2 * width, channels)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _convolve(inputs: Array, kernel: Array, stride: int, padding: Padding = "SAME") -> Array:
    # Without a gradient: batches are small, and the transforms of the kernels would take most of the time.
    return plain.convolve(inputs, kernel, stride=stride, padding=padding)


def _forward(inputs: Array, kernel: Array, stride: int, padding: Padding) -> tuple[Array, tuple[Array, Array]]:
    if _saves_by_winograd(inputs, kernel, stride):
        return winograd.apply(winograd.SAME, inputs, kernel), (inputs, kernel)
    return plain.convolve(inputs, kernel, stride=stride, padding=padding), (inputs, kernel)


def _backward(stride: int, padding: Padding, residuals: tuple[Array, Array], upstream: Array) -> tuple[Array, Array]:
    # Otherwise XLA keeps the transforms of the forward pass, several times larger than the inputs, until here. Not the
    # kernel: the state is donated, and XLA would copy it for the barrier.
    inputs, kernel = residuals
    inputs, upstream = barrier((inputs, upstream))
    if kernel.dtype == jnp.bfloat16 and stride == 1:
        of_inputs = plain.convolve(upstream, kernel[::-1, ::-1].swapaxes(2, 3))
        _, pull_back = jax.vjp(lambda k: plain.convolve(inputs, k), kernel)
        (of_kernel,) = pull_back(upstream)
    elif _saves_by_winograd(inputs, kernel, stride):
        of_inputs = winograd.input_gradient(winograd.SAME, upstream, kernel)
        of_kernel = winograd.kernel_gradient(winograd.SAME, inputs, upstream)
    else:
        _, pull_back = jax.vjp(lambda x: plain.convolve(x, kernel, stride=stride, padding=padding), inputs)
        (of_inputs,) = pull_back(upstream)
        of_kernel = kernel_gradient(inputs, upstream, stride=stride, padding=padding)
    return _together(of_inputs, of_kernel.astype(kernel.dtype))


_convolve.defvjp(_forward, _backward)


def _together(of_inputs: Array, of_kernel: Array) -> tuple[Array, Array]:
    """Computes both gradients now, so that XLA frees the activations before the optimizer runs."""
    return barrier((of_inputs, of_kernel))


def _saves_by_winograd(inputs: Array, kernel: Array, stride: int) -> bool:
    """Whether the transforms cost less than the products they save; both grow with the pixels."""
    even = inputs.shape[1] % 2 == 0 and inputs.shape[2] % 2 == 0
    return stride == 1 and even and _suits_winograd(kernel, WINOGRAD_CHANNELS)


def _suits_winograd(kernel: Array, channels: int) -> bool:
    return kernel.dtype != jnp.bfloat16 and min(kernel.shape[2:]) >= channels


@jax.custom_vjp
def _convolve_upsampled(x: Array, kernel: Array) -> Array:
    return packed_convolution.apply(x, kernel)


def _forward_upsampled(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    if _suits_winograd(kernel, WINOGRAD_CHANNELS_UPSAMPLED):
        return winograd.apply(winograd.UPSAMPLED, x, kernel), (x, kernel)
    return packed_convolution.apply(x, kernel), (x, kernel)


def _backward_upsampled(residuals: tuple[Array, Array], upstream: Array) -> tuple[Array, Array]:
    x, kernel = residuals
    x, upstream = barrier((x, upstream))
    if _suits_winograd(kernel, WINOGRAD_CHANNELS_UPSAMPLED):
        of_x = winograd.input_gradient(winograd.UPSAMPLED, upstream, kernel)
        of_kernel = winograd.kernel_gradient(winograd.UPSAMPLED, x, upstream)
    else:
        of_x, of_packed = _packed_gradients(x, packed_convolution.fold(kernel), upstream)
        of_kernel = packed_convolution.unfold(of_packed)
    return _together(of_x, of_kernel.astype(kernel.dtype))


_convolve_upsampled.defvjp(_forward_upsampled, _backward_upsampled)


@jax.custom_vjp
def _convolve_packed(x: Array, packed: Array) -> Array:
    return packed_convolution.apply_packed(x, packed)


def _forward_packed(x: Array, packed: Array) -> tuple[Array, tuple[Array, Array]]:
    return packed_convolution.apply_packed(x, packed), (x, packed)


def _backward_packed(residuals: tuple[Array, Array], upstream: Array) -> tuple[Array, Array]:
    x, packed = residuals
    x, upstream = barrier((x, upstream))
    of_x, of_packed = _packed_gradients(x, packed, upstream)
    return _together(of_x, of_packed.astype(packed.dtype))


_convolve_packed.defvjp(_forward_packed, _backward_packed)


def _packed_gradients(x: Array, packed: Array, upstream: Array) -> tuple[Array, Array]:
    """Returns the gradients of `packed_convolution.apply_packed`; that of the kernel is float32."""
    blocks = _correlate(packed_convolution.pack(upstream), x, padding=((0, 0), (0, 0)), stride=1, side=2)
    of_packed = jnp.moveaxis(blocks[::-1, ::-1], -1, -2)
    return packed_convolution.input_gradient(upstream, packed), of_packed


def kernel_gradient(
    inputs: Float[Array, "B H W C"], upstream: Float[Array, "B h w K"], *, stride: int, padding: Padding = "SAME"
) -> Float[Array, "3 3 C K"]:
    """Returns the gradient of a 3x3 convolution with respect to its kernel, float32.

    Args:
      inputs: of the convolution.
      upstream: the gradient with respect to its output.
      stride: of both axes.
      padding: of the convolution; SAME where the stride is 1.
    """
    if stride == 1 and inputs.shape[-1] >= upstream.shape[-1]:
        # Copies of `upstream`, shifted the other way: the nine blocks come out in reverse order.
        blocks = _correlate(upstream, inputs, padding=((1, 1), (1, 1)), stride=1)
        return jnp.moveaxis(blocks[::-1, ::-1], -1, -2)
    same = jax.lax.padtype_to_pads(inputs.shape[1:3], (SIDE, SIDE), (stride, stride), "SAME")
    return _correlate(inputs, upstream, padding=same if padding == "SAME" else padding, stride=stride)


def _correlate(
    copied: Float[Array, "B H W M"],
    other: Float[Array, "B h w N"],
    *,
    padding: Sequence[tuple[int, int]],
    stride: int,
    side: int = SIDE,
) -> Float[Array, "side side M N"]:
    """Returns sum_p copied[stride p + (i, j)]^T other[p] for each of the shifts (i, j) of the padded array."""
    batch, height, width, channels = other.shape
    padded = jnp.pad(copied, ((0, 0), *padding, (0, 0)))
    rows = rows_per_chunk(height, row_pixels=batch * width, pixels=CHUNK_PIXELS)
    span, across = stride * (rows - 1) + 1, stride * (width - 1) + 1

    def chunk(total, index):
        window = jax.lax.dynamic_slice_in_dim(padded, index * rows * stride, span + side - 1, axis=1)
        pixels = jax.lax.dynamic_slice_in_dim(other, index * rows, rows, axis=1).reshape(-1, channels)
        copies = [window[:, i : i + span : stride, j : j + across : stride] for i in range(side) for j in range(side)]
        columns = jnp.concatenate(copies, axis=-1).reshape(pixels.shape[0], -1)
        # The narrower factor goes first: XLA transposes it.
        return total + jnp.einsum("pn,pm->nm", pixels, columns, preferred_element_type=jnp.float32), None

    zeros = jnp.zeros((channels, side**2 * copied.shape[-1]), jnp.float32)
    total, _ = jax.lax.scan(chunk, zeros, jnp.arange(height // rows))
    return jnp.moveaxis(total.reshape(channels, side, side, -1), 0, -1)
