"""Measures single layers in the two forms of `semcolor_jax.ops`: XLA's own, and the one for a CPU.

Each layer runs forward, and forward with the gradients of all its arguments, both forms in turn in one process. The
sizes are those of training on 32 crops of 64 pixels, and of predicting one photo of 256.

    python experiments/benchmarks/layers.py [--only max-pooling -o FILE]

With JAX_PLATFORMS=cuda it tells whether a form made for a CPU is faster there, too.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["SEMCOLOR_OPS"] = "cpu"

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))  # run from anywhere, without an installation

from experiments.benchmarks import common
from semcolor_jax.backend import portable
from semcolor_jax.ops import convolution
from semcolor_jax.ops.pooling import max_pool

PACKAGES = ("jax", "jaxlib", "numpy")
Shape = tuple[int, ...]

LAYERS: dict[str, tuple[Callable[..., jax.Array], Shape, Shape | None]] = {
    "max-pooling, 64 channels": (functools.partial(max_pool, window=2), (32, 64, 64, 64), None),
    "max-pooling, 256 channels": (functools.partial(max_pool, window=2), (32, 16, 16, 256), None),
    "3x3": (convolution.convolve, (32, 64, 64, 64), (3, 3, 64, 64)),
    "3x3, coarse": (convolution.convolve, (32, 8, 8, 512), (3, 3, 512, 512)),
    "3x3, halving": (convolution.convolve_halving, (32, 64, 64, 64), (3, 3, 64, 64)),
    "3x3 dilated by 2": (
        functools.partial(convolution.convolve_dilated, dilation=2),
        (32, 8, 8, 512),
        (3, 3, 512, 512),
    ),
    "4x4 transposed": (convolution.convolve_transposed, (32, 8, 8, 512), (4, 4, 512, 256)),
    "1x1": (convolution.convolve_by_product, (32, 2, 2, 4096), (1, 1, 4096, 4096)),
    "7x7": (convolution.convolve_by_product, (32, 2, 2, 512), (7, 7, 512, 4096)),
    "7x7, a photo": (convolution.convolve_by_product, (1, 8, 8, 512), (7, 7, 512, 4096)),
}
"""Function, shape of the images, and of the kernel where there is one."""


def cases(layer: str) -> dict[str, Callable[[], Any]]:
    """Returns the compiled runs of a layer by what they are and form."""
    function, *shapes = LAYERS[layer]
    rng = np.random.default_rng(0)
    arguments = [jnp.asarray(rng.standard_normal(shape), jnp.float32) for shape in shapes if shape]

    def with_gradients(*arguments: jax.Array) -> Any:
        value, pull_back = jax.vjp(function, *arguments)
        return pull_back(value)  # like a loss of half the squares

    runs = {}
    for what, of_layer in (("forward", function), ("with gradients", with_gradients)):
        for form, context in (("xla", portable()), ("cpu", contextlib.nullcontext())):
            with context:
                # A new function object for each form: JAX would trace one only once.
                compiled = jax.jit(functools.partial(of_layer)).lower(*arguments).compile()
            runs[f"{what}, {form}"] = functools.partial(_run, compiled, arguments)
    return runs


def _run(compiled: Callable[..., Any], arguments: list[jax.Array]) -> None:
    jax.block_until_ready(compiled(*arguments))


def measure(layer: str, *, repeats: int) -> dict[str, Any]:
    """Times both forms of a layer in turn."""
    runs = cases(layer)
    for run in runs.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            seconds[name].append(common.timed(run))
    row: dict[str, Any] = {"shapes": [list(shape) for shape in LAYERS[layer][1:] if shape]}
    for what in ("forward", "with gradients"):
        xla, cpu = seconds[f"{what}, xla"], seconds[f"{what}, cpu"]
        row[what] = {
            "xla_ms": round(1e3 * statistics.median(xla), 2),
            "cpu_ms": round(1e3 * statistics.median(cpu), 2),
            "times_faster": round(common.median_ratio(xla, cpu), 2),
        }
    return row


def main() -> None:
    """Parses the command line, measures, prints and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("-o", "--output", type=Path, help="default: experiments/results/layers.json")
    parser.add_argument("--only", default="", help="layers whose names begin so; needs --output")
    args = parser.parse_args()
    if args.only and not args.output:
        parser.error("--only needs --output: the record has all layers.")
    rows = {}
    for layer in (name for name in LAYERS if name.startswith(args.only)):
        rows[layer] = measure(layer, repeats=args.repeats)
        common.report({"layer": layer, **rows[layer]})
    common.save("layers", {"layers": rows} | common.environment(PACKAGES), output=args.output)
    cells = [
        (
            layer,
            *(row[what][of] for what in ("forward", "with gradients") for of in ("xla_ms", "cpu_ms", "times_faster")),
        )
        for layer, row in rows.items()
    ]
    common.print_table(("", "xla, ms", "cpu", "times", "gradients: xla, ms", "cpu", "times"), cells)


if __name__ == "__main__":
    main()
