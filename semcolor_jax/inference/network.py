"""Runs the network and decodes its outputs in one program that never holds a whole photo's logits."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, UInt8

from semcolor_jax.color import annealed_mean
from semcolor_jax.inference.branches import ColorChoice, mixed
from semcolor_jax.models.semcolor import Features, Predictions, SemColorNet

_CHUNK_ROWS = 16  # rows of X_map at once: some MB of logits at the usual sizes


class Readout(NamedTuple):
    """What colouring needs from a network's output; None where a branch is off or not requested."""

    ab: Float32[Array, "B H W 2"]
    classes: UInt8[Array, "B H W"] | None
    scene_logits: Float32[Array, "B 365"] | None


def read_out(
    model: SemColorNet,
    variables: dict[str, Any],
    lightness: Float[Array | np.ndarray, "B H W 1"],
    *,
    choice: ColorChoice,
    colors_only: bool = False,
) -> Readout:
    """Returns the final colours and, unless `colors_only`, the likeliest classes and the scene logits.

    A network with an output stride is read at the resolution of X_map.

    The pixel-wise heads run over a few rows at a time, so the 313 and 183 numbers per pixel never exist for a whole
    photo, and unused colour branches are not computed. The choice's numbers are arguments of the compiled program: only
    another branch recompiles it.
    """
    numbers = choice.temperature, choice.share, choice.saturation
    return _read_out(model, variables, lightness, numbers, branch=choice.branch, colors_only=colors_only)


@functools.partial(jax.jit, static_argnames=("model", "branch", "colors_only"))
def _read_out(
    model: SemColorNet,
    variables: dict[str, Any],
    lightness: Float[Array | np.ndarray, "B H W 1"],
    numbers: tuple[float, float, float],
    *,
    branch: str,
    colors_only: bool,
) -> Readout:
    features: Any = model.apply(variables, lightness, train=False, method=model.features)
    assert isinstance(features, Features)
    batch, height, width, channels = features.map.shape
    chunks = -(-height // _CHUNK_ROWS)
    x = jnp.pad(features.map, ((0, 0), (0, chunks * _CHUNK_ROWS - height), (0, 0), (0, 0)))
    x = jnp.moveaxis(x.reshape(batch, chunks, _CHUNK_ROWS, width, channels), 1, 0)

    def read(rows: Float[Array, "B r W C"]) -> tuple[Array, Array | None]:
        heads: Any = model.apply(variables, rows, method=model.heads)
        assert isinstance(heads, Predictions)
        logits = None if colors_only else heads.seg_logits
        ab = _decode(heads, branch, numbers)
        return ab, None if logits is None else jnp.argmax(logits, axis=-1).astype(jnp.uint8)

    def joined(parts: Array) -> Array:
        whole = jnp.moveaxis(parts, 0, 1)
        return whole.reshape(batch, chunks * _CHUNK_ROWS, *whole.shape[3:])[:, :height]

    ab, classes = jax.lax.map(read, x)
    scene_logits = None if colors_only else features.scene_logits
    return Readout(joined(ab), None if classes is None else joined(classes), scene_logits)


def colors(
    model: SemColorNet, variables: dict[str, Any], lightness: Float[Array, "B H W 1"], *, choice: ColorChoice
) -> Float32[Array, "B h w 2"]:
    """Returns the final colours at the resolution of X_map, without a loop over rows: for programs to be exported."""
    plain = model.clone(branches=choice.needs, remat="none")
    features: Any = plain.apply(variables, lightness, train=False, method=plain.features)
    heads: Any = plain.apply(variables, features.map, method=plain.heads)
    return _decode(heads, choice.branch, (choice.temperature, choice.share, choice.saturation))


def _decode(heads: Predictions, branch: str, numbers: tuple[float, float, float]) -> Float32[Array, "*n 2"]:
    """Returns the final colours; the caller has checked that the network has the branches."""
    temperature, share, saturation = numbers
    by_branch = {}
    if branch in ("reg", "both"):
        by_branch["reg"] = heads.ab
    if branch in ("soft", "both"):
        assert heads.color_logits is not None
        by_branch["soft"] = annealed_mean(heads.color_logits, temperature)
    return mixed(by_branch, branch, share=share, saturation=saturation)


@functools.partial(jax.jit, static_argnames=("model",))
def read_all(
    model: SemColorNet, variables: dict[str, Any], lightness: Float[Array | np.ndarray, "B H W 1"]
) -> tuple[Array | None, Array | None, Array | None, Array | None]:
    """Returns everything needed to mix colours later, at the resolution of X_map; None where a branch is off.

    Returns:
      regression's ab (B, h, w, 2), logits of the colours (B, h, w, 313), likeliest classes (B, h, w) uint8, and scene
      logits (B, 365). Unlike `read_out` it holds the logits of whole photos.
    """
    features: Any = model.apply(variables, lightness, train=False, method=model.features)
    heads: Any = model.apply(variables, features.map, method=model.heads)
    classes = None if heads.seg_logits is None else jnp.argmax(heads.seg_logits, axis=-1).astype(jnp.uint8)
    return heads.ab, heads.color_logits, classes, features.scene_logits
