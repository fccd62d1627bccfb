"""Measures one training step, all four branches, against PyTorch: time, peak memory, share of the convolution peak.

  python experiments/benchmarks/train_step.py [--repeats N] [--cases small,full,memory]

needs requirements/bench.txt. Every case is a process of its own; they take turns, one step each, and times are medians
of the turns. Ratios are medians of the ratios within a turn. Our step includes conversion to Lab and soft-encoding;
PyTorch is spared both: it gets Lab and the colour target ready-made, sparse or dense, and uses its fused Adam. Useful
FLOPs are XLA's count for the plain formulation (no chunks, no rewritten gradients); the convolution peak is the best
rate of a few large 3x3 convolutions, by either library, in the same turns.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))  # run from anywhere, without an installation

from semcolor_jax.errors import UserError

SIZES = {
    "small": {"width": 32, "size": 128, "batch": 4},
    "full": {"width": 64, "size": 224, "batch": 2},
    "memory": {"width": 64, "size": 224, "batch": 4, "warm_up": 1},
}
CASES = {
    "semcolor_jax": {"kind": "ours"},
    "torch eager, dense": {"kind": "torch", "dense": True, "compiled": False},
    "torch eager, sparse": {"kind": "torch", "dense": False, "compiled": False},
    "torch.compile, dense": {"kind": "torch", "dense": True, "compiled": True},
    "torch.compile, sparse": {"kind": "torch", "dense": False, "compiled": True},
}
MEMORY_CASES = {
    **CASES,
    "semcolor_jax, remat decoder": {"kind": "ours", "remat": "decoder"},
    "semcolor_jax, remat all": {"kind": "ours", "remat": "all"},
    "semcolor_jax, compiled before": {"kind": "ours"},
    "semcolor_jax, remat decoder, compiled before": {"kind": "ours", "remat": "decoder"},
    "semcolor_jax, remat all, compiled before": {"kind": "ours", "remat": "all"},
}
"""What the case "memory" measures: also ours with blocks computed again in the backward pass, and each once more as in
every later run of a training, when the program comes out of the compilation cache."""
PEAKS = {"peak, jax": {"kind": "peak_jax"}, "peak, torch": {"kind": "peak_torch"}}
PEAK_SHAPES = ((2, 224, 192, 64), (2, 112, 384, 128), (8, 56, 256, 256))
"""Batch, side, input and output channels."""

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "torch")
WARM_UP = 2


def random_batch(settings: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Returns photos, labels and scenes of the case's size; all cases of a size have the same."""
    rng = np.random.default_rng(0)
    batch, size = settings["batch"], settings["size"]
    return {
        "image": rng.integers(0, 256, (batch, size, size, 3), dtype=np.uint8),
        "labels": rng.integers(0, 183, (batch, size, size), dtype=np.uint8),
        "scene_index": np.tile(np.arange(5, dtype=np.int32), (batch, 1)),
        "scene_prob": np.tile(np.array([0.6, 0.1, 0.1, 0.1, 0.1], np.float32), (batch, 1)),
    }


def our_step(settings: Mapping[str, Any], *, heads: str = "fused") -> tuple[Any, Any]:
    """Returns the jitted step and its initial state."""
    import jax

    from semcolor_jax.baselines.build import build_model, init_variables
    from semcolor_jax.config import default
    from semcolor_jax.training.optimizer import build_optimizer
    from semcolor_jax.training.state import create_state
    from semcolor_jax.training.step import make_train_step

    config = default()
    config.model.width, config.loss.heads = settings["width"], heads
    config.train.remat = settings.get("remat", "none")
    model, optimizer = build_model(config), build_optimizer(config, steps_per_epoch=1000)
    variables = init_variables(model, jax.random.key(0, impl="rbg"), config=config)
    weights = np.ones(313, np.float32)
    step = make_train_step(model, optimizer, loss_config=config.loss, rebalancing=weights, seed=0)
    return step, create_state(variables, optimizer)


def ours(settings: Mapping[str, Any]) -> Callable[[], Mapping[str, Any]]:
    """Our step, from uint8 photos on."""
    import jax
    from common import timed

    if "cache" in settings:
        jax.config.update("jax_compilation_cache_dir", settings["cache"])
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    step, state = our_step(settings)
    batch = jax.device_put(random_batch(settings))

    def run() -> None:
        nonlocal state
        state, metrics = step(state, batch)
        jax.block_until_ready((state, metrics))

    for _ in range(settings.get("warm_up", WARM_UP)):
        run()
    return lambda: {"seconds": timed(run)}


def torch_case(settings: Mapping[str, Any]) -> Callable[[], Mapping[str, Any]]:
    """PyTorch's step, from Lab and the colour target on."""
    import torch  # pyright: ignore[reportMissingImports]
    import torch_unet
    from common import timed
    from skimage.color import rgb2lab

    torch.manual_seed(0)
    batch = random_batch(settings)
    tensors = torch_unet.make_batch(batch, rgb2lab(batch["image"]).astype(np.float32), dense=settings["dense"])
    model = torch_unet.UNet(settings["width"])
    step = torch_unet.make_step(model, tensors, torch.ones(313), compiled=settings["compiled"])
    for _ in range(settings.get("warm_up", WARM_UP)):
        step()
    return lambda: {"seconds": timed(step)}


def peak_jax(settings: Mapping[str, Any]) -> Callable[[], Mapping[str, Any]]:
    """The rate of JAX's forward convolutions."""
    import jax
    from common import timed

    del settings
    layout = ("NHWC", "HWIO", "NHWC")
    run = jax.jit(lambda x, k: jax.lax.conv_general_dilated(x, k, (1, 1), "SAME", dimension_numbers=layout))
    arguments = [
        (jax.random.normal(jax.random.key(0), (b, side, side, c)), jax.random.normal(jax.random.key(1), (3, 3, c, k)))
        for b, side, c, k in PEAK_SHAPES
    ]
    for pair in arguments:
        run(*pair).block_until_ready()
    return lambda: {"gflops": _best_rate(lambda i: timed(lambda: run(*arguments[i]).block_until_ready()))}


def peak_torch(settings: Mapping[str, Any]) -> Callable[[], Mapping[str, Any]]:
    """The rate of PyTorch's forward convolutions, in its own layout."""
    import torch  # pyright: ignore[reportMissingImports]
    from common import timed

    del settings
    arguments = [(torch.randn(b, c, side, side), torch.randn(k, c, 3, 3)) for b, side, c, k in PEAK_SHAPES]
    for pair in arguments:
        torch.conv2d(*pair, padding=1)
    return lambda: {"gflops": _best_rate(lambda i: timed(lambda: torch.conv2d(*arguments[i], padding=1)))}


def _best_rate(seconds: Callable[[int], float]) -> float:
    """Returns the best GFLOP/s over the shapes, three tries each."""
    flops = [2 * 9 * b * side**2 * c * k for b, side, c, k in PEAK_SHAPES]
    return max(flops[i] / seconds(i) for i in range(len(flops)) for _ in range(3)) / 1e9


def plain_flops(settings: Mapping[str, Any]) -> Callable[[], Mapping[str, Any]]:
    """XLA's count for the plain formulation, before its optimisations; nothing runs."""
    # With two devices, convolutions keep XLA's own gradients.
    os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
    step, state = our_step(settings, heads="plain")
    flops = step.lower(state, random_batch(settings)).cost_analysis()["flops"]
    return lambda: {"gflop": flops / 1e9}


KINDS = {
    "ours": ours,
    "torch": torch_case,
    "peak_jax": peak_jax,
    "peak_torch": peak_torch,
    "flops": plain_flops,
}


def measure_times(size: str, *, repeats: int) -> dict[str, Any]:
    """Runs all cases of a size in turn."""
    from common import interleave, median_ratio, report, workers

    settings = SIZES[size]
    with workers(__file__, {"flops": {"kind": "flops", **settings}}) as running:
        gflop = running["flops"].ask("run")["gflop"]
    with workers(__file__, {name: {**case, **settings} for name, case in (CASES | PEAKS).items()}) as running:
        answers = interleave(running, repeats=repeats)
    seconds = {name: [answer["seconds"] for answer in answers[name]] for name in CASES}
    peaks = {name: max(answer["gflops"] for answer in answers[name]) for name in PEAKS}
    # The peak of each turn: a slow spell affects both.
    best = [max(answers[name][turn]["gflops"] for name in PEAKS) for turn in range(repeats)]
    rates = [gflop / second for second in seconds["semcolor_jax"]]
    result = {
        "setting": settings,
        "plain_gflop": round(gflop, 1),
        "median_seconds": {name: round(statistics.median(values), 4) for name, values in seconds.items()},
        "times_ours": {
            name: round(median_ratio(seconds[name], seconds["semcolor_jax"]), 3)
            for name in CASES
            if name != "semcolor_jax"
        },
        "conv_peak_gflops": {name: round(value, 1) for name, value in peaks.items()},
        "share_of_conv_peak": round(median_ratio(rates, best), 3),
        "seconds": {name: [round(value, 4) for value in values] for name, values in seconds.items()},
        "conv_gflops": {name: [round(a["gflops"], 1) for a in answers[name]] for name in PEAKS},
    }
    for name in CASES:
        report({"size": size, "case": name, "median_seconds": result["median_seconds"][name]})
    return result


def measure_memory(size: str) -> dict[str, Any]:
    """Runs each case of a size alone, for two steps; returns its peak and the time of the second step."""
    from common import report, workers

    peaks, seconds = {}, {}
    with tempfile.TemporaryDirectory() as cache:
        for name, case in MEMORY_CASES.items():
            with workers(__file__, {name: {**case, **SIZES[size], "cache": cache}}) as running:
                seconds[name] = round(running[name].ask("run")["seconds"], 2)
                peaks[name] = round(running[name].ask("memory")["peak_mb"])
            report({"size": size, "case": name, "peak_mb": peaks[name], "seconds": seconds[name]})
    dense = peaks["torch eager, dense"]
    return {
        "setting": SIZES[size],
        "peak_mb": peaks,
        "share_of_torch_eager_dense": {name: round(peak / dense, 3) for name, peak in peaks.items()},
        "seconds_of_one_step": seconds,
    }


def show(results: Mapping[str, Any]) -> None:
    """Prints tables of what was measured."""
    from common import print_table

    for size, result in results.items():
        print(f"\n{size}: {result['setting']}")
        if "peak_mb" in result:
            shares, seconds = result["share_of_torch_eager_dense"], result["seconds_of_one_step"]
            print_table(
                ("", "peak MB", "of torch eager, dense", "s"),
                [(name, peak, shares[name], seconds[name]) for name, peak in result["peak_mb"].items()],
            )
            continue
        print_table(
            ("", "median s", "its/ours"),
            [(name, second, result["times_ours"].get(name, "")) for name, second in result["median_seconds"].items()],
        )
        print(
            f"{result['plain_gflop']} GFLOP, {result['share_of_conv_peak']:.0%} of the convolution peak of its turn; "
            f"peaks in GFLOP/s: {result['conv_peak_gflops']}"
        )


def main() -> None:
    """Parses the command line, measures, prints and writes the result."""
    from common import RESULTS, environment, save, serve, version

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--cases", default=",".join(SIZES), help=f"of {', '.join(SIZES)}")
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        settings = json.loads(args.worker)
        serve({"run": KINDS[settings["kind"]](settings)})
        return
    sizes = args.cases.split(",")
    if unknown := set(sizes) - set(SIZES):
        raise UserError(f"--cases has no {', '.join(sorted(unknown))}; there are {', '.join(SIZES)}.")
    if version("torch") == "not installed":
        raise UserError("torch is not installed: pip install -r requirements/bench.txt.")
    results = {
        size: measure_memory(size) if size == "memory" else measure_times(size, repeats=args.repeats) for size in sizes
    }
    show(results)
    path = args.output or RESULTS / "train_step.json"
    # Cases that did not run this time keep what they had.
    earlier = json.loads(path.read_text()) if path.exists() else {}
    known = {size: earlier[size] for size in SIZES if size in earlier}
    measured = {size: result | environment(PACKAGES) for size, result in results.items()}
    save("train_step", known | measured, output=path)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        sys.exit(f"error: {error}")
