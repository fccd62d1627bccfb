"""Turns the published weights of Iizuka et al. 2016 (Torch7) into the `.npz` that `semcolor` reads.

pip install torchfile                                        # once; from 2017 and unmaintained, so only this needs it
python tools/iizuka_t7_to_npz.py colornet.t7 colornet.npz
semcolor model convert iizuka2016 colornet.npz -o runs/iizuka2016

The layers are found by the shapes of their kernels, in the order of the graph. Only the convolutions of 512 to 512
channels are alike: the last one before that of 512 to 256 is the mid-level one, the others are the global features'.
Stops with a sentence where the file has other layers. The file itself was not at hand when this was written.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from semcolor_jax.baselines.methods.iizuka2016 import layer_shapes

STATISTICS = ("weight", "bias", "running_mean", "running_var")


def modules_of(module: Any) -> Iterator[Any]:
    """Yields the modules of a Torch7 network that have weights, depth first, in the order of the graph."""
    if module.weight is not None:
        yield module
    for child in module.modules or ():
        yield from modules_of(child)


def kernel_of(module: Any) -> np.ndarray | None:
    """Returns a layer's kernel (O, I, H, W) or (O, I), None for a batch normalisation."""
    if module.running_mean is not None:
        return None
    kernel = np.asarray(module.weight)
    if module.kH is not None and kernel.ndim == 2:  # nn.SpatialConvolutionMM keeps a matrix
        kernel = kernel.reshape(len(kernel), -1, int(module.kH), int(module.kW))
    return kernel


def named(modules: Sequence[Any]) -> dict[str, np.ndarray]:
    """Returns the arrays of the converted file but its "mean".

    Args:
      modules: with weights, in the order of the graph; what the two branches share may come twice.

    Raises:
      SystemExit: a layer is missing.
    """
    kernels = [kernel_of(module) for module in modules]
    free = [
        index
        for index, kernel in enumerate(kernels)
        if kernel is not None
        and not any(other is not None and np.array_equal(kernel, other) for other in kernels[:index])
    ]

    def take(name: str, shape: tuple[int, ...], *, before: int | None = None) -> int:
        found = [index for index, kernel in enumerate(kernels) if index in free and np.shape(kernel) == shape]
        if before is not None:
            found = [index for index in reversed(found) if index < before]
        if not found:
            sys.exit(f"error: the file has no layer of the shape {shape}, which {name} has.")
        free.remove(found[0])
        return found[0]

    shapes = layer_shapes()
    places = {"mid_level.conv2": take("mid_level.conv2", shapes["mid_level.conv2"])}
    places["mid_level.conv1"] = take("mid_level.conv1", shapes["mid_level.conv1"], before=places["mid_level.conv2"])
    places |= {name: take(name, shape) for name, shape in shapes.items() if name not in places}
    arrays = {}
    for name, index in places.items():
        arrays[f"{name}.weight"] = np.asarray(kernels[index])
        arrays[f"{name}.bias"] = np.asarray(modules[index].bias)
        following = modules[index + 1] if index + 1 < len(modules) else None
        if following is not None and following.running_mean is not None and "conv" in name:
            norm = name.replace("conv", "norm")
            arrays |= {f"{norm}.{statistic}": np.asarray(getattr(following, statistic)) for statistic in STATISTICS}
    return arrays


def main(arguments: Sequence[str]) -> None:
    """Reads the Torch7 file and writes the `.npz`."""
    if len(arguments) != 2:
        sys.exit("usage: python tools/iizuka_t7_to_npz.py colornet.t7 colornet.npz")
    import torchfile  # pyright: ignore[reportMissingImports]

    content = torchfile.load(arguments[0])
    network = content[b"model"]
    arrays = named(list(modules_of(network)))
    np.savez(Path(arguments[1]), allow_pickle=False, mean=np.float32(content[b"mean"]), **arrays)


if __name__ == "__main__":
    main(sys.argv[1:])
