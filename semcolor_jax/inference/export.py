"""Exports a network, with the decoding of its colours, as one file that runs without this package.

    lightness (b, 32 h, 32 w, 1), L of 0..100  -->  ab (b, 32 h / s, 32 w / s, 2), CIE units

for any number of photos b and any sides that are multiples of 32; s is the network's output stride. The rest is up to
an image library: shrink the photo, take its lightness, upsample ab bilinearly, recombine both.

StableHLO is what `jax.export` serialises, and its `deserialize` reads. jax2onnx (the extra `export`) writes ONNX. It
gets only primitives, because it patches the Flax and JAX functions that it knows, which vary by version. It supports
symbolic sides, not multiples of them; so it gets an extra input of sides h and w, and the finished graph computes these
from the lightness's sides.
"""

from __future__ import annotations

import dataclasses
import logging
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax import export
from jax.extend import core
from jaxtyping import Array, Float, Float32

from semcolor_jax.backend import portable
from semcolor_jax.checkpoints.models import OpenedModel
from semcolor_jax.errors import UserError
from semcolor_jax.inference.branches import BRANCHES, ColorChoice
from semcolor_jax.inference.network import colors
from semcolor_jax.inference.restore import color_choice
from semcolor_jax.models import SemColorNet

if TYPE_CHECKING:
    import onnx

SIDES = 32
"""Sides of the network's input are multiples of this."""

_PLATFORMS = ("cpu", "cuda", "rocm", "tpu")
_CALLS = ("jit", "pjit", "closed_call", "custom_jvp_call", "custom_vjp_call")
_INPUT, _CELLS, _OUTPUT = "lightness", "cells", "ab"


@dataclasses.dataclass(frozen=True)
class Network:
    """A network to export: its colours, and the facts that a program using it needs.

    Attributes:
      colors: lightness (B, H, W, 1) to ab (B, H / stride, W / stride, 2); sides are multiples of `SIDES`.
      facts: name, longest short side to shrink photos to, and output stride, as text.
    """

    colors: Callable[[Float[Array, "B H W 1"]], Float32[Array, "B h w 2"]]
    facts: dict[str, str]


def network_of(opened: OpenedModel) -> Network:
    """Returns the exportable part of a model: its colours, decoded as `config.inference` says.

    Raises:
      UserError: it is another method's, or lacks a colour branch that the config names.
    """
    model, choice = opened.model, color_choice(opened.config)
    if not isinstance(model, SemColorNet):
        raise UserError(f"Only networks of the method 'semcolor' are exported, not of {opened.config.model.method!r}.")
    missing = [branch for branch in choice.needs if branch not in model.branches]
    if missing:
        present = [branch for branch in BRANCHES if branch in model.branches]
        raise UserError(f"The network has no branch {missing[0]!r}; it has: {', '.join(present) or 'none'}.")
    return Network(_function(model, opened.variables, choice), _facts(opened, choice))


def signature(network: Network) -> str:
    """Returns one line on the exported program's input and output."""
    side = SIDES // int(network.facts["stride"])
    return f"{_INPUT} (b, {SIDES}*h, {SIDES}*w, 1) -> {_OUTPUT} (b, {side}*h, {side}*w, 2)"


def to_stablehlo(network: Network) -> bytes:
    """Returns the network, with its weights, as `jax.export` serialises it, for CPU, CUDA, ROCm and TPU."""
    batch, down, across = export.symbolic_shape(f"b, {SIDES}*h, {SIDES}*w")
    lightness = jax.ShapeDtypeStruct((batch, down, across, 1), jnp.float32)
    with portable():
        exported = export.export(jax.jit(network.colors), platforms=_PLATFORMS)(lightness)
    return bytes(exported.serialize())


def to_onnx(network: Network) -> onnx.ModelProto:
    """Returns the network as an ONNX model, with its weights, and `facts` in its metadata.

    Raises:
      ModuleNotFoundError: the extra `export` is not installed.
    """
    batch, cells_down, cells_across = export.symbolic_shape("b, h, w")
    lightness = jax.ShapeDtypeStruct((batch, SIDES * cells_down, SIDES * cells_across, 1), jnp.float32)
    cells = jax.ShapeDtypeStruct((cells_down, cells_across), jnp.float32)
    with portable():
        traced = jax.make_jaxpr(network.colors)(lightness)

    def primitives(lightness: Array, cells: Array) -> Array:
        del cells  # only its sides matter
        return _run(traced, [lightness])[0]

    model = _convert(primitives, [lightness, cells])
    _without_cells(model.graph)
    for key, value in network.facts.items():
        model.metadata_props.add(key=key, value=value)
    return model


def _function(model: SemColorNet, variables: dict[str, Any], choice: ColorChoice) -> Callable[[Array], Array]:
    return lambda lightness: colors(model, variables, lightness, choice=choice)


def _facts(opened: OpenedModel, choice: ColorChoice) -> dict[str, str]:
    return {
        "model": opened.name,
        "side": str(opened.config.inference.side),
        "stride": str(opened.config.model.output_stride),
        "colours": f"branch {choice.branch}, temperature {choice.temperature:g}, share {choice.share:g}",
    }


def _run(program: Any, arguments: Sequence[Any]) -> list[Any]:
    """Applies a closed jaxpr, and those that it calls, one primitive at a time."""
    known = dict(zip(program.jaxpr.constvars, program.consts, strict=True))
    known |= dict(zip(program.jaxpr.invars, arguments, strict=True))

    def read(variable: Any) -> Any:
        return variable.val if isinstance(variable, core.Literal) else known[variable]

    for equation in program.jaxpr.eqns:
        inputs = [read(variable) for variable in equation.invars]
        if equation.primitive.name in _CALLS:
            called = equation.params.get("jaxpr") or equation.params["call_jaxpr"]
            outputs = _run(called, inputs)
        elif equation.primitive.name == "reduce_window_max":
            outputs = [_pool(*inputs, **equation.params)]
        else:
            found = equation.primitive.bind(*inputs, **equation.params)
            outputs = found if equation.primitive.multiple_results else [found]
        known |= dict(zip(equation.outvars, outputs, strict=True))
    return [read(variable) for variable in program.jaxpr.outvars]


def _pool(x: Array, *, window_dimensions: Sequence[int], window_strides: Sequence[int], **others: Any) -> Array:
    """Returns the network's max-pooling as a reduction: jax2onnx would emit one over four axes, which ONNX lacks."""
    if not tuple(window_dimensions) == tuple(window_strides) == (1, 2, 2, 1) or any(map(any, others["padding"])):
        # Not a user's mistake: another network would need another form here.
        raise ValueError(f"cannot export max-pooling of {window_dimensions} in steps of {window_strides}")
    batch, height, width, channels = x.shape
    return jnp.max(x.reshape(batch, height // 2, 2, width // 2, 2, channels), axis=(2, 4))


def _convert(function: Callable[..., Array], inputs: Sequence[jax.ShapeDtypeStruct]) -> onnx.ModelProto:
    """Calls jax2onnx, without its warnings about parts that are not needed here."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from jax2onnx import to_onnx as convert

            return convert(
                function, inputs, model_name="semcolor", input_names=[_INPUT, _CELLS], output_names=[_OUTPUT]
            )
    finally:
        logging.disable(disabled)


def _without_cells(graph: onnx.GraphProto) -> None:
    """Computes h and w from the sides of the lightness, and removes the input that gave them."""
    from onnx import helper

    graph.initializer.append(helper.make_tensor("cell", data_type=7, dims=[1], vals=[SIDES]))  # 7: int64
    nodes = []
    for node in graph.node:
        if _CELLS in node.input:
            axis = next((attribute.i for attribute in node.attribute if attribute.name == "start"), 0)
            (height,) = node.output
            side = f"{height}_side"
            nodes.append(helper.make_node("Shape", [_INPUT], [side], start=axis + 1, end=axis + 2))
            node = helper.make_node("Div", [side, "cell"], [height])
        nodes.append(node)
    inputs = [value for value in graph.input if value.name != _CELLS]
    del graph.node[:], graph.input[:]
    graph.node.extend(nodes)
    graph.input.extend(inputs)
