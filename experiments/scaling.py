"""Estimates the cost of the full-size step from its compiled program, and what it means for 8 and 256 GPUs.

  python experiments/scaling.py

Nothing here is measured on a GPU. FLOPs and bytes are XLA's counts for the form that several devices take ("xla" of
`semcolor_jax.backend`, with the config's heads) at 224 x 224. Collectives, with the trip counts of their loops, are
read from the program compiled for 8 and 64 fake CPU devices. Rates of GPUs and links are inputs (`DEVICES`, `LINKS`,
vendors' figures) and `UTILIZATION` is an assumption. Writes experiments/results/scaling.json.
"""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "experiments" / "results" / "scaling.json"
SIZE, WIDTH = 224, 64
TRAINING_IMAGES = 118_287  # COCO 2017 train
UTILIZATION = 0.4
"""Of the arithmetic peak; convolutional networks of this kind reach 0.3 to 0.5."""

# From the vendor's data sheets ("NVIDIA A100 Tensor Core GPU", "NVIDIA H100 Tensor Core GPU"): dense peak in TFLOP/s,
# half of what is given there with sparsity; memory bandwidth in GB/s. NVLink: half of what both directions have there.
DEVICES = {
    "A100 80GB SXM, bf16": {"tflops": 312.0, "memory_gbs": 2039.0, "nvlink": "NVLink, A100"},
    "A100 80GB SXM, tf32": {"tflops": 156.0, "memory_gbs": 2039.0, "nvlink": "NVLink, A100"},
    "H100 80GB SXM, bf16": {"tflops": 989.4, "memory_gbs": 3350.0, "nvlink": "NVLink, H100"},
}
LINKS = {  # bytes per second and device, one direction
    "NVLink, A100": 300e9,
    "NVLink, H100": 450e9,
    "InfiniBand HDR 200 Gbit/s per GPU": 25e9,
    "Ethernet 25 Gbit/s per GPU": 3.125e9,
}
BATCHES = (8, 16, 32, 64)
"""Images per device."""

_BYTES = {"f32": 4, "bf16": 2, "s32": 4, "u32": 4, "pred": 1, "f16": 2, "u8": 1}


_COLLECTIVE = re.compile(
    r"\s*(?:ROOT )?%?\S+ = (.*?) (all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(?:-start)?\("
)
_CALLED = re.compile(r"(?:calls|to_apply|body|condition|true_computation|false_computation)=%?([\w.\-]+)")


def collectives(hlo: str) -> dict[str, dict[str, int]]:
    """Returns how many collectives of each kind a compiled program runs per device and step, and the bytes they take.

    One in a loop counts once per trip.

    Raises:
      ValueError: a loop with collectives has no trip count.
    """
    bodies, entry = _computations(hlo)
    totals: dict[str, dict[str, int]] = {}

    def visit(name: str, times: int | None) -> None:
        for line in bodies.get(name, ()):
            if found := _COLLECTIVE.match(line):
                if times is None:
                    raise ValueError(f"how many trips the loop {name} makes is not known, and it holds a collective.")
                total = totals.setdefault(found.group(2), {"count": 0, "bytes": 0})
                total["count"] += times
                total["bytes"] += times * _bytes(found.group(1))
            trips: int | None = 1
            if re.search(r" while\(", line):
                known = re.search(r'"known_trip_count":\{"n":"(\d+)"', line)
                trips = int(known.group(1)) if known else None
            for called in _CALLED.findall(line):
                visit(called, None if times is None or trips is None else times * trips)

    visit(entry, 1)
    return totals


def _computations(hlo: str) -> tuple[dict[str, list[str]], str]:
    """Returns the lines of each computation of a program by its name, and the name of its entry computation."""
    bodies: dict[str, list[str]] = {}
    name = entry = ""
    for line in hlo.splitlines():
        head = re.match(r"(ENTRY )?%?([\w.\-]+) \(.*\{\s*$", line)
        if head:
            name = head.group(2)
            bodies[name] = []
            entry = name if head.group(1) else entry
        elif name:
            bodies[name].append(line)
    return bodies, entry


def _bytes(shapes: str) -> int:
    """Returns the bytes of the arrays that a result type names, such as "(f32[4]{0}, bf16[2]{0})"."""
    arrays = re.findall(r"(\w+)\[([\d,]*)\]", shapes)
    return sum(_BYTES[kind] * math.prod(int(side) for side in filter(None, sides.split(","))) for kind, sides in arrays)


def compiled_step(devices: int, *, size: int, heads: str, compiled: bool, width: int = WIDTH) -> dict[str, Any]:
    """Returns counts of the step with one image per device, on fake devices; runs in its own process."""
    import jax
    import numpy as np

    from semcolor_jax.baselines.build import build_model, init_variables
    from semcolor_jax.config import default
    from semcolor_jax.training import sharding
    from semcolor_jax.training.optimizer import build_optimizer
    from semcolor_jax.training.state import create_state
    from semcolor_jax.training.step import make_train_step

    config = default()
    config.model.width, config.loss.heads = width, heads
    model, optimizer = build_model(config), build_optimizer(config, steps_per_epoch=1000)
    mesh = sharding.device_mesh()
    assert mesh.size == devices

    def make_state() -> Any:
        return create_state(init_variables(model, jax.random.key(0, impl="rbg"), config=config), optimizer)

    def placed(tree: Any, place: Any) -> Any:
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), tree)

    shapes = jax.eval_shape(make_state)
    images = jax.ShapeDtypeStruct
    batch = {
        "image": images((devices, size, size, 3), np.uint8),
        "labels": images((devices, size, size), np.uint8),
        "scene_index": images((devices, 5), np.int32),
        "scene_prob": images((devices, 5), np.float32),
    }
    step = make_train_step(model, optimizer, loss_config=config.loss, rebalancing=np.ones(313, np.float32), seed=0)
    lowered = cast(Any, step).lower(
        placed(shapes, sharding.replicated(mesh)), placed(batch, sharding.batch_split(mesh))
    )
    result: dict[str, Any] = {"parameters": sum(leaf.size for leaf in jax.tree.leaves(shapes.params))}
    counts = lowered.cost_analysis()
    result["gflop_per_image"] = counts["flops"] / devices / 1e9
    if compiled:
        program = lowered.compile()
        result["collectives"] = collectives(program.as_text())
        # Of one device's program, with its share of the batch: one image.
        result["gbytes_per_image"] = program.cost_analysis()["bytes accessed"] / 1e9
    return result


def in_own_process(devices: int, **settings: Any) -> dict[str, Any]:
    """Runs `compiled_step` with this many fake devices."""
    environment = os.environ | {
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(ROOT),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    command = [sys.executable, __file__, json.dumps({"devices": devices, **settings})]
    output = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    return json.loads(output.splitlines()[-1])


def project(
    *, gflop: float, gbytes: float, gradient_bytes: int, devices: int, batch: int, device: str, link: str
) -> dict[str, Any]:
    """Returns the time of a step and of an epoch, if the ring all-reduce does not overlap with anything.

    Args:
      gflop: per image.
      gbytes: memory traffic of one image's step; an upper bound, since XLA counts every pass on a CPU.
      gradient_bytes: all-reduced per step.
      devices: in all.
      batch: images per device.
      device: a key of `DEVICES`.
      link: a key of `LINKS`.
    """
    rates = DEVICES[device]
    compute = batch * gflop * 1e9 / (rates["tflops"] * 1e12 * UTILIZATION)
    memory = batch * gbytes / rates["memory_gbs"]
    reduce = 2 * (devices - 1) / devices * gradient_bytes / LINKS[link]
    step = max(compute, memory) + reduce
    return {
        "devices": devices,
        "batch_per_device": batch,
        "device": device,
        "link": link,
        "compute_ms": round(compute * 1e3, 2),
        "memory_ms": round(memory * 1e3, 2),
        "all_reduce_ms": round(reduce * 1e3, 2),
        "efficiency": round(max(compute, memory) / step, 3),
        "epoch_seconds": round(TRAINING_IMAGES / (devices * batch) * step, 1),
    }


def main() -> None:
    """Counts, projects, writes and prints."""
    from semcolor_jax.config import default
    from semcolor_jax.files import write_json

    counted = in_own_process(2, size=SIZE, heads=default().loss.heads, compiled=True)
    # What is all-reduced does not depend on the image's size: gradients, batch statistics, scalars.
    reduced = {
        str(devices): in_own_process(devices, size=32, heads=default().loss.heads, compiled=True)["collectives"]
        for devices in (8, 64)
    }
    gradient_bytes = reduced["8"]["all-reduce"]["bytes"]
    rows = [
        project(
            gflop=counted["gflop_per_image"],
            gbytes=counted["gbytes_per_image"],
            gradient_bytes=gradient_bytes,
            devices=devices,
            batch=batch,
            device=device,
            link=link,
        )
        for device in DEVICES
        for devices, link in (
            (8, DEVICES[device]["nvlink"]),
            (256, "InfiniBand HDR 200 Gbit/s per GPU"),
            (256, "Ethernet 25 Gbit/s per GPU"),
        )
        for batch in BATCHES
    ]
    result = {
        "note": "computed from compiled programs and data sheets, not measured",
        "per_image": {key: round(counted[key], 2) for key in ("gflop_per_image", "gbytes_per_image")},
        "parameters": counted["parameters"],
        "collectives_per_step": reduced,
        "inputs": {"devices": DEVICES, "links": LINKS, "utilization": UTILIZATION, "images": TRAINING_IMAGES},
        "projections": rows,
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    write_json(RESULT, result)
    print(json.dumps({key: result[key] for key in ("per_image", "parameters", "collectives_per_step")}, indent=1))
    for row in rows:
        print(json.dumps(row))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(compiled_step(**json.loads(sys.argv[1]))))
    else:
        main()
