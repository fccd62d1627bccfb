"""Measures the speed of one program's step: compile time, images a second, share of the chip's peak, memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax

from semcolor_jax.errors import UserError

PEAK_TFLOPS = {"H100": 989.0, "H200": 989.0, "A100": 312.0}
"""Dense bf16, from the data sheets, by a part of the device's name."""
WARM_UP = 10


def memory() -> dict[str, float]:
    """Returns the device's memory in GiB: in use, and this process's peak; nothing if unknown."""
    stats = jax.local_devices()[0].memory_stats() or {}
    names = {"bytes_in_use": "in_use_gib", "peak_bytes_in_use": "peak_gib", "bytes_limit": "limit_gib"}
    return {title: round(stats[name] / 2**30, 3) for name, title in names.items() if name in stats}


def step_alone(step: Any, state: Any, batch: Any, *, batch_size: int, seconds: float) -> tuple[Any, dict[str, Any]]:
    """Repeats the step on one batch for `seconds`, after ten warm-up steps.

    Args:
      step: jitted; it donates the state.
      state: to begin with.
      batch: of the one shape to measure.
      batch_size: photos in it.
      seconds: to measure for, without compilation and warm-up.

    Returns:
      the state, and compile_seconds, step_ms, images_per_second, temporary_gib, memory, and where the chip is known the
      TFLOP/s of the program as it was written and their share of the chip's bf16 peak. "memory" is the whole process's.
    """
    begin = time.perf_counter()
    lowered = step.lower(state, batch)
    compiled = lowered.compile()
    state, metrics = compiled(state, batch)
    jax.block_until_ready(metrics)
    compile_seconds = time.perf_counter() - begin
    for _ in range(WARM_UP):
        state, metrics = compiled(state, batch)
    jax.block_until_ready(metrics)
    steps, begin = 0, time.perf_counter()
    while True:
        for _ in range(WARM_UP):
            state, metrics = compiled(state, batch)
        jax.block_until_ready(metrics)
        steps += WARM_UP
        if (spent := time.perf_counter() - begin) >= seconds:
            break
    result: dict[str, Any] = {
        "compile_seconds": round(compile_seconds, 1),
        "step_ms": round(1000 * spent / steps, 3),
        "images_per_second": round(batch_size * steps / spent, 1),
        "loss": float(metrics["loss"]),
        "memory": memory(),
    }
    if analysis := compiled.memory_analysis():
        result["temporary_gib"] = round(analysis.temp_size_in_bytes / 2**30, 3)
    return state, result | rate_of(lowered, step, state, batch, calls_per_second=steps / spent)


def rate_of(lowered: Any, step: Any, *arguments: Any, calls_per_second: float) -> dict[str, Any]:
    """Returns `share_of_peak` of a jitted function's calls, or why nobody counts its operations.

    They are counted as the program was written, before XLA optimises it. An accelerator's client does not
    (`Lowered.cost_analysis` is None), but JAX's CPU client does for the same program.

    Args:
      lowered: `step.lower(*arguments)`.
      step: jitted.
      arguments: its arguments; only shapes and dtypes matter.
      calls_per_second: as measured.
    """
    counts = lowered.cost_analysis()
    if counts is None:
        shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), arguments)
        try:
            with jax.default_device(jax.local_devices(backend="cpu")[0]):
                counts = step.lower(*shapes).cost_analysis()
        except (RuntimeError, NotImplementedError) as error:  # the time was measured all the same
            return {"operations": f"not counted: {error}"}
    return share_of_peak(counts["flops"] * calls_per_second)


def share_of_peak(flops_per_second: float) -> dict[str, float]:
    """Returns the rate in TFLOP/s, and its share of the chip's bf16 peak where that is known."""
    rate = flops_per_second / 1e12
    kind = jax.local_devices()[0].device_kind
    peaks = [peak for name, peak in PEAK_TFLOPS.items() if name in kind]
    return {"tflops": round(rate, 3)} | ({"share_of_peak": round(rate / peaks[0], 4)} if peaks else {})


def attempt(job: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Returns the job's result, or the compiler's or device's error, so that others are still tried."""
    try:
        return job()
    except (jax.errors.JaxRuntimeError, NotImplementedError, UserError) as error:  # UserError: it does not fit
        return {"error": f"{type(error).__name__}: {str(error).splitlines()[0][:400]}"}
