"""Measures a training step of `configs/accelerator.py` on a CPU in float32, and in bfloat16 with oneDNN's kernels.

  python experiments/benchmarks/bfloat16.py [--repeats N]

The processor should have AVX512-BF16 or AMX; others only emulate bfloat16. Every case is a process of its own; they
take turns, one step each. Weights are random: training does not change the speed.
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import statistics
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # run from anywhere, without an installation

SIZES = {"encoder trained": {"frozen": 0}, "encoder frozen": {"frozen": 5}}
CASES = {"float32": {"dtype": "float32"}, "bfloat16": {"dtype": "bfloat16"}}
SIDE, BATCH = 64, 16
WARM_UP = 2


def prepare(settings: Mapping[str, Any]) -> Callable[[], Mapping[str, Any]]:
    """Returns what times one step of the case."""
    os.environ["SEMCOLOR_OPS"] = "cpu"
    if settings["dtype"] == "bfloat16":
        os.environ["XLA_FLAGS"] = "--xla_cpu_experimental_onednn_custom_call=true"
    import jax
    import numpy as np
    from common import timed
    from train_step import random_batch

    from semcolor_jax.baselines.build import build_model, init_variables
    from semcolor_jax.training.optimizer import build_optimizer
    from semcolor_jax.training.state import create_state
    from semcolor_jax.training.step import make_train_step

    config = runpy.run_path(str(ROOT / "configs" / "accelerator.py"))["get_config"]()
    config.model.dtype, config.model.pretrained = settings["dtype"], False
    config.model.frozen_blocks = settings["frozen"]
    model, optimizer = build_model(config), build_optimizer(config, steps_per_epoch=1000)
    variables = init_variables(model, jax.random.key(0, impl="rbg"), config=config)
    weights = np.ones(313, np.float32)
    step = make_train_step(model, optimizer, loss_config=config.loss, rebalancing=weights, seed=0)
    state, batch = create_state(variables, optimizer), jax.device_put(random_batch({"batch": BATCH, "size": SIDE}))

    def run() -> None:
        nonlocal state
        state, metrics = step(state, batch)
        jax.block_until_ready((state, metrics))

    for _ in range(WARM_UP):
        run()
    return lambda: {"seconds": timed(run)}


def measure(settings: Mapping[str, Any], *, repeats: int) -> dict[str, Any]:
    """Times both cases in turn."""
    from common import interleave, median_ratio, workers

    with workers(__file__, {name: {**case, **settings} for name, case in CASES.items()}) as running:
        answers = interleave(running, repeats=repeats)
        peaks = {name: round(worker.ask("memory")["peak_mb"]) for name, worker in running.items()}
    seconds = {name: [answer["seconds"] for answer in answers[name]] for name in CASES}
    return {
        "crops_per_second": {name: round(BATCH / statistics.median(values), 1) for name, values in seconds.items()},
        "float32_over_bfloat16": round(median_ratio(seconds["float32"], seconds["bfloat16"]), 3),
        "peak_mb": peaks,
        "seconds": {name: [round(value, 4) for value in values] for name, values in seconds.items()},
    }


def main() -> None:
    """Parses the command line, measures, prints and writes the result."""
    from common import environment, print_table, save, serve

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        serve({"run": prepare(json.loads(args.worker))})
        return
    results = {name: measure(settings, repeats=args.repeats) for name, settings in SIZES.items()}
    print_table(
        ("", "crops/s float32", "bfloat16", "times as fast"),
        [(name, *row["crops_per_second"].values(), row["float32_over_bfloat16"]) for name, row in results.items()],
    )
    setting = {"side": SIDE, "batch": BATCH, "config": "configs/accelerator.py"}
    save("bfloat16", {"setting": setting, **results, **environment(("jax", "jaxlib"))}, output=args.output)


if __name__ == "__main__":
    main()
