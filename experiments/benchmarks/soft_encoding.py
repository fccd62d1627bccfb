"""Measures the soft-encoding of 10^6 pixels (five nearest of 313 bins, Gaussian weights) against scikit-learn.

The reference is what public implementations do on the host: `NearestNeighbors(n_neighbors=5,
algorithm="ball_tree")` on the bins, `kneighbors`, exp, normalising. Both encode the same pixels in the same process,
in turn. `soft_encode` returns two arrays (n, 5), `soft_encode_planes` ten of n. "in a step" is `soft_encode` inside a
larger jitted program that uses the code at once: each pixel's sum of five entries of a table.

    python experiments/benchmarks/soft_encoding.py
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.neighbors import NearestNeighbors

sys.path.insert(0, str(Path(__file__).parents[2]))  # run from anywhere, without an installation

from experiments.benchmarks import common
from semcolor_jax.color import AB_BINS, rgb_to_lab, soft_encode, soft_encode_planes

PACKAGES = ("jax", "jaxlib", "numpy", "scikit-learn")
SIGMA = 5.0
REFERENCE = "scikit-learn"


def pixels(count: int) -> np.ndarray:
    """Returns the ab of a photo, scikit-image's "coffee", repeated with noise to this many pixels."""
    from skimage import data

    ab = rgb_to_lab(data.coffee(), xp=np)[..., 1:].reshape(-1, 2)
    noise = np.random.default_rng(0).normal(0, 2, (count, 2))
    return (np.resize(ab, (count, 2)) + noise).astype(np.float32)


def cases(ab: np.ndarray) -> dict[str, Callable[[], Any]]:
    """Returns what to time, the reference first."""
    search = NearestNeighbors(n_neighbors=5, algorithm="ball_tree").fit(AB_BINS)
    encode, encode_planes = jax.jit(soft_encode), jax.jit(soft_encode_planes)
    table = jnp.asarray(np.random.default_rng(1).uniform(0.5, 2, len(AB_BINS)), jnp.float32)

    def scikit_learn() -> Any:
        distance, index = search.kneighbors(ab)
        weights = np.exp(-(distance**2) / (2 * SIGMA**2))
        return index, weights / weights.sum(axis=1, keepdims=True)

    @jax.jit
    def consumed(ab: jax.Array) -> jax.Array:
        code = soft_encode(ab)
        return sum(code.weights[:, k] * table[code.indices[:, k]] for k in range(5))  # type: ignore[return-value]

    on_device = jnp.asarray(ab)
    return {
        REFERENCE: scikit_learn,
        "soft_encode": lambda: jax.block_until_ready(encode(on_device)),
        "soft_encode_planes": lambda: jax.block_until_ready(encode_planes(on_device)),
        "soft_encode in a step": lambda: jax.block_until_ready(consumed(on_device)),
    }


def measure(*, count: int, repeats: int, calls: int) -> dict[str, Any]:
    """Times all cases in turn; ours as the mean of `calls` calls, because one takes only milliseconds."""
    timed = cases(pixels(count))
    for run in timed.values():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(repeats):
        for name, run in timed.items():
            number = 1 if name == REFERENCE else calls
            seconds[name].append(statistics.median(common.timed(run) for _ in range(number)))
    rows = {}
    for name, values in seconds.items():
        rows[name] = {
            "milliseconds": round(1e3 * statistics.median(values), 2),
            "times_faster": round(common.median_ratio(seconds[REFERENCE], values), 1),
            "repeats_ms": [round(1e3 * value, 2) for value in values],
        }
        common.report({"case": name, **rows[name]})
    return {"cases": rows, "pixels": count, "calls_per_repeat": calls}


def main() -> None:
    """Parses the command line, measures, prints and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pixels", type=int, default=10**6)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--calls", type=int, default=15)
    parser.add_argument("-o", "--output", type=Path, help="default: experiments/results/soft_encoding.json")
    args = parser.parse_args()
    result = measure(count=args.pixels, repeats=args.repeats, calls=args.calls)
    common.save("soft_encoding", result | common.environment(PACKAGES), output=args.output)
    rows = [(name, case["milliseconds"], case["times_faster"]) for name, case in result["cases"].items()]
    common.print_table(("", "ms", "x faster"), rows)


if __name__ == "__main__":
    main()
