"""Trains, evaluates or colorizes with one experiment's config: `semcolor` for those who work in a checkout.

python launch.py --config configs/full.py --config.data.dir=DATA            # in runs/full, or --workdir DIR
python launch.py --config configs/full.py:regsoft,runlocal --config.data.source=embedded --workdir runs/try
python launch.py --task evaluate --workdir runs/full                        # the whole validation split of its training
python launch.py --task colorize --workdir runs/full --output out/ old_photo.jpg

Every other flag is one of `semcolor TASK --help`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from semcolor_jax.cli.arguments import Parser
from semcolor_jax.cli.main import main as semcolor


def main(argv: Sequence[str]) -> None:
    """Runs `semcolor TASK` with the same flags; the model of `evaluate` and `colorize` is `--workdir`."""
    summary, _, details = (__doc__ or "").partition("\n\n")
    parser = Parser(prog="launch.py", description=summary, epilog=details)
    parser.add_argument("--task", choices=["train", "evaluate", "colorize"], default="train", help="%(default)s")
    parser.add_argument("--workdir", metavar="W", help="folder of checkpoints, metrics and samples (runs/NAME)")
    arguments, rest = parser.parse_known_args(argv)
    if arguments.workdir is not None:
        rest = ["--workdir" if arguments.task == "train" else "--model", arguments.workdir, *rest]
    semcolor([arguments.task, *rest], program="launch.py")


if __name__ == "__main__":
    main(sys.argv[1:])
