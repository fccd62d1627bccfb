"""The job "benchmark": the training step against PyTorch's on the same device, one after the other.

The network is the paper's U-Net with its own encoder and all four branches, and both take batches of the same shapes:
ours starts from uint8 photos, while PyTorch gets Lab and the sparse colour target ready-made. Both compute in bfloat16
if the device does: PyTorch with autocast, channels_last and torch.compile. Each has its own process, so that neither
holds the other's memory.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

if __name__ == "__main__":  # as a worker: a script finds the package of its own checkout
    sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SIZES = {"width": 64, "size": 224, "batch": 64, "bf16": True, "blocks": 5}
TINY = {"width": 4, "size": 32, "batch": 2, "bf16": False, "blocks": 1}
IN_A_BLOCK = 10


def run(session: Any, *, tiny: bool) -> dict[str, Any]:
    """Measures both and records times, peak memory and their ratios.

    A missing library or failing program is recorded as such; the other is still measured.
    """
    settings = TINY if tiny else SIZES
    result: dict[str, Any] = {"settings": settings}
    for case, kind in (("semcolor_jax", "ours"), ("torch", "torch")):
        result[case] = _measure({"kind": kind, **settings}, seconds=max(session.remaining, 1.0))
        session.log(f"{case}: {result[case]}")
        session.record("benchmark", result)
    ours, theirs = result["semcolor_jax"], result["torch"]
    if "step_ms" in ours and "step_ms" in theirs:
        result["times_as_fast"] = round(theirs["step_ms"] / ours["step_ms"], 3)
        if theirs.get("peak_gib") and ours.get("peak_gib"):
            result["share_of_memory"] = round(ours["peak_gib"] / theirs["peak_gib"], 3)
    session.record("benchmark", result)
    return result


def _measure(settings: dict[str, Any], *, seconds: float) -> dict[str, Any]:
    command = [sys.executable, __file__, "--worker", json.dumps(settings)]
    environment = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}  # so that the peak is what was used
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return {"error": f"not finished within {seconds:.0f} s"}
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        return {"error": (done.stderr.strip().splitlines() or ["no output"])[-1][:400]}
    return json.loads(lines[-1])


def timed_steps(step: Callable[[], Any], *, blocks: int) -> dict[str, float]:
    """Returns the time to compile and that of a step, the median over blocks.

    Args:
      step: returns its loss, on the device. Training needs no loss before the next step is on its way, so the host
        waits for the device after `IN_A_BLOCK` steps only.
      blocks: how many.
    """
    begin = time.perf_counter()
    float(step())
    compile_seconds = time.perf_counter() - begin

    def block() -> float:
        losses = [step() for _ in range(IN_A_BLOCK)]
        return float(losses[-1])

    times, loss = [], block()
    for _ in range(blocks):
        begin = time.perf_counter()
        loss = block()
        times.append((time.perf_counter() - begin) / IN_A_BLOCK)
    return {
        "compile_seconds": round(compile_seconds, 1),
        "step_ms": round(1000 * float(np.median(times)), 3),
        "loss": round(loss, 4),
    }


def ours(settings: dict[str, Any]) -> dict[str, Any]:
    """Our step, from uint8 photos on the device."""
    import jax

    from accelerator_jobs.speed import memory, rate_of
    from semcolor_jax.baselines.build import build_model, init_variables
    from semcolor_jax.config import default
    from semcolor_jax.training.optimizer import build_optimizer
    from semcolor_jax.training.state import create_state
    from semcolor_jax.training.step import make_train_step

    config = default()
    config.model.width, config.loss.heads = settings["width"], "plain"
    config.model.dtype = "bfloat16" if settings["bf16"] else "float32"
    model, optimizer = build_model(config), build_optimizer(config, steps_per_epoch=1000)
    variables = init_variables(model, jax.random.key(0, impl="rbg"), config=config)
    step: Any = make_train_step(
        model, optimizer, loss_config=config.loss, rebalancing=np.ones(313, np.float32), seed=config.seed
    )
    state, batch = create_state(variables, optimizer), jax.device_put(random_batch(settings))
    lowered = step.lower(state, batch)

    def one() -> jax.Array:
        nonlocal state
        state, metrics = step(state, batch)
        return metrics["loss"]

    result = timed_steps(one, blocks=settings["blocks"])
    rate = rate_of(lowered, step, state, batch, calls_per_second=1000 / result["step_ms"])
    return {**result, **memory(), **rate}


def torch_case(settings: dict[str, Any]) -> dict[str, Any]:
    """PyTorch's step, from Lab and the sparse colour target on the device."""
    sys.path.insert(0, str(BENCHMARKS))
    import torch  # pyright: ignore[reportMissingImports]
    import torch_unet  # pyright: ignore[reportMissingImports]
    from skimage.color import rgb2lab

    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() and settings["bf16"] else "cpu")
    torch.backends.cudnn.benchmark = True
    batch = random_batch(settings)
    lab = rgb2lab(batch["image"]).astype(np.float32)
    tensors = torch_unet.make_batch(batch, lab, dense=False)
    tensors = {name: tensor.to(device) for name, tensor in tensors.items()}
    model = torch_unet.UNet(settings["width"]).to(device, memory_format=torch.channels_last)
    weights = torch.ones(313, device=device)
    autocast = torch.bfloat16 if settings["bf16"] else None
    step = torch_unet.make_step(model, tensors, weights, compiled=True, autocast=autocast)
    result = timed_steps(step, blocks=settings["blocks"])
    if device.type == "cuda":
        result["peak_gib"] = round(torch.cuda.max_memory_allocated() / 2**30, 3)
    return result


def random_batch(settings: dict[str, Any]) -> dict[str, np.ndarray]:
    """Returns photos, labels and scenes of the case's size, the same in each process."""
    rng, batch, size = np.random.default_rng(0), settings["batch"], settings["size"]
    return {
        "image": rng.integers(0, 256, (batch, size, size, 3), dtype=np.uint8),
        "labels": rng.integers(0, 183, (batch, size, size), dtype=np.uint8),
        "scene_index": np.tile(np.arange(5, dtype=np.int32), (batch, 1)),
        "scene_prob": np.tile(np.array([0.6, 0.1, 0.1, 0.1, 0.1], np.float32), (batch, 1)),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worker", required=True, help="settings of one case, as JSON")
    wanted = json.loads(parser.parse_args().worker)
    print(json.dumps({"ours": ours, "torch": torch_case}[wanted["kind"]](wanted)), flush=True)
