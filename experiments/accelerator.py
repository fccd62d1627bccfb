"""Short, prepared runs on one accelerator: each job ends by itself within its budget, with everything saved.

python experiments/accelerator.py JOB --budget SECONDS [--config configs/accelerator.py:DATA] [--config.FIELD=VALUE ...]

  smoke       does everything run; images a second of each form of the step, memory, going on from saved weights
  balance     the gradient of each loss at the encoder, and the loss weights that make them equal
  trials      the recipe against its variants, for equal times
  release     one training over the whole budget; --resume goes on with the weights of an earlier one
  benchmark   the step against PyTorch's, in the same call
  ablation    the paper's ablations, as many images each; --finished names the results of an earlier session
  comparison  the comparison methods, likewise
  assemble    from --resume PARTS to a released model in --output, with the final colour of --config; no training

With `--device cpu` smoke makes its own photos and every size is small, so that a fresh clone can try it. The folder
--output then holds at most a few files: report.tar.gz (log, results, tables, metrics), weights.part1, 2, ... and
caches.tar (compiled programs, for --caches of the next session). docs/accelerator.md has the whole sequence.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]  # a script finds the package of its own checkout

JOBS = ("smoke", "balance", "trials", "release", "benchmark", "ablation", "comparison", "assemble")
RESERVE = 20.0
"""Seconds left at the end for scoring and saving."""


def parse(argv: Sequence[str] | None = None) -> tuple[argparse.Namespace, list[str]]:
    """Returns the options, and the overrides of the config."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", choices=JOBS)
    parser.add_argument("--device", choices=("cpu", "gpu"), default="gpu", help="%(default)s unless given")
    parser.add_argument("--budget", type=float, default=150.0, metavar="SECONDS", help="of all (%(default)s)")
    parser.add_argument("--config", default=str(ROOT / "configs" / "accelerator.py"), metavar="FILE[:DATA]")
    parser.add_argument("--output", type=Path, default=Path("runs/accelerator/output"), help="what is to be kept")
    parser.add_argument("--workdir", type=Path, default=Path("runs/accelerator/work"), help="everything else")
    parser.add_argument("--resume", type=Path, metavar="PARTS", help="folder of weights.part1, 2, ...")
    parser.add_argument("--caches", type=Path, metavar="FILE", help="caches.tar of an earlier session")
    parser.add_argument("--finished", type=Path, metavar="FILE", help="results.json of an earlier session")
    parser.add_argument("--part-mib", type=float, default=15.0, metavar="N", help="largest part (%(default)s)")
    parser.add_argument("--batches", default="", metavar="N,...", help="smoke: other sizes of the batch to try")
    parser.add_argument("--images", type=int, default=500_000, help="ablation, comparison: of each run (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="ablation, comparison: of weights and order (%(default)s)")
    parser.add_argument("--only", default="", metavar="RUN,...", help='ablation, comparison: "RegSoft", "Zhang 2016"')
    parser.add_argument("--tiny", action="store_true", help="made-up photos and the smallest sizes, on any device")
    return parser.parse_known_args(argv)


def choose_device(device: str, *, caches: Path) -> None:
    """Sets what JAX reads on import: the platform, its share of memory, and the folder of compiled programs."""
    os.environ["JAX_PLATFORMS"] = {"cpu": "cpu", "gpu": "cuda,cpu"}[device]  # on the CPU, operations are counted
    os.environ.setdefault("SEMCOLOR_OPS", "xla")  # on a CPU, tries the accelerator's program
    if "XLA_PYTHON_CLIENT_MEM_FRACTION" not in os.environ:  # the earlier name; JAX refuses both
        os.environ.setdefault("XLA_CLIENT_MEM_FRACTION", ".92")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(caches)
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    os.environ["JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES"] = "xla_gpu_per_fusion_autotune_cache_dir"


def main(argv: Sequence[str] | None = None) -> None:
    """Runs one job; log, results and compiled programs are saved whatever happens."""
    options, overrides = parse(argv)
    choose_device(options.device, caches=(options.workdir / "compiled").absolute())
    from accelerator_jobs.session import Session

    from semcolor_jax.cli import exits, flags
    from semcolor_jax.errors import UserError

    with exits.user_errors():
        session = Session(
            output=options.output, workdir=options.workdir, budget=options.budget, part_mib=options.part_mib
        )
        config = flags.load_config(options.config, overrides, program="accelerator.py")
        if options.tiny or (options.device == "cpu" and options.job == "smoke"):
            from accelerator_jobs import tiny

            photos = session.workdir / "photos"
            tiny.write_photos(photos)
            config = tiny.shrink(config, photos=photos)
        session.restore_caches(options.caches)
        try:
            run(session, options, config)
            session.log("done")
        except UserError as error:
            session.log(f"error: {error}")
            raise
        finally:
            session.save_report()
            session.save_caches()


def run(session: Any, options: argparse.Namespace, config: ConfigDict) -> None:
    """Runs the job that the options name."""
    import jax
    from accelerator_jobs import benchmark, release, smoke, trials

    from semcolor_jax.errors import UserError
    from semcolor_jax.files import read_json

    logging.getLogger("semcolor_jax").setLevel(logging.WARNING)
    device = jax.local_devices()[0]
    if (device.platform == "cpu") != (options.device == "cpu"):  # JAX takes the CPU where it finds no GPU
        raise UserError(f"--device is {options.device}, but JAX finds only a {device.platform}: give --device cpu.")
    session.log(f"{options.job} on {device.device_kind}, jax {jax.__version__}, {session.budget:.0f} s")
    finished = read_json(options.finished).get(options.job, {}) if options.finished else {}
    match options.job:
        case "smoke":
            sizes = tuple(int(size) for size in options.batches.split(",") if size)
            smoke.run(session, config, seconds=session.budget / 30, batch_sizes=sizes)
        case "balance":
            release.run_balance(session, config, until=session.budget - RESERVE)
        case "trials":
            balanced = release.run_balance(session, config, until=session.elapsed + 0.1 * session.remaining)
            trials.run_trials(session, config, reserve=RESERVE, balanced=balanced)
        case "release":
            release.run(session, config, resume=options.resume, reserve=RESERVE)
        case "benchmark":
            benchmark.run(session, tiny=options.tiny or options.device == "cpu")
        case "ablation" | "comparison" as job:
            only = [title for title in options.only.split(",") if title]
            trials.run_cases(
                session, job, config, images=options.images, seed=options.seed, finished=finished, only=only
            )
        case "assemble":
            release.assemble(session, options.resume, config=config)


if __name__ == "__main__":
    main()
