"""Makes the tables and figures of the paper's section V, from archives and models, or from folders of coloured photos.

python experiments/paper.py --results DIR --archives ARCHIVES --models MODELS --labelled coco_stuff:DATA   # all of it
python experiments/paper.py --results DIR [--output OUT] [--model runs/full] ...

The first command unpacks the published archives in ARCHIVES, colours their photos with every model MODELS/METHOD,
scores them and makes everything; a stopped run resumes. `--limit 20` tries it on the first photos of each set.

DIR/SET/original holds the photos of a set and DIR/SET/METHOD a method's results, as `semcolor colorize` writes them.
SET is imagenet_ctest1k, div2k_valid, places365_ctest1k, coco_stuff_ctest1k, internet or legacy; METHOD is iizuka2016,
larsson2016, zhang2016, regsoft, clasregsoft, segclasregsoft or any other name. Missing parts leave empty cells, with a
footnote that says why. See docs/evaluation.md, "The paper's tables and figures".
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from paper_report.coloring import color_sets, find_models
from paper_report.datasets import open_labelled
from paper_report.layout import archives_in, find_sets, unpack
from paper_report.report import make_report
from paper_report.scoring import Settings

from semcolor_jax.cli import flags as cli
from semcolor_jax.cli.compile_cache import enable_compile_cache
from semcolor_jax.cli.score_commands import parse_size


def _parser() -> argparse.ArgumentParser:
    summary, _, details = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=details, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--results", type=Path, required=True, metavar="DIR", help="folder of the sets")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="folder to write to (RESULTS/paper)")
    parser.add_argument(
        "--folder", action="append", default=[], metavar="SET/METHOD=DIR", help="a folder that lies elsewhere; repeat"
    )
    parser.add_argument(
        "--unpack", action="append", default=[], metavar="SET=ARCHIVE", help="write SET/original from its archive first"
    )
    parser.add_argument(
        "--archives", type=Path, metavar="DIR", help="folder of published archives: writes SET/original"
    )
    parser.add_argument("--models", type=Path, metavar="DIR", help="a model for each METHOD: writes SET/METHOD")
    parser.add_argument("--limit", type=_count, metavar="N", help="the first N photos of each archive alone")
    parser.add_argument(
        "--labelled", metavar="SOURCE:DIR", help="data with label maps for Table 1 and Fig. 9, such as coco_stuff:DATA"
    )
    parser.add_argument("--model", metavar="M", help="work directory or released model for Fig. 23")
    parser.add_argument(
        "--method", default="segclasregsoft", metavar="NAME", help="whose best and worst photos are shown (%(default)s)"
    )
    parser.add_argument("--photos", type=_count, default=5, metavar="N", help="photos in a grid (%(default)s)")
    parser.add_argument("--size", type=parse_size, default=256, metavar="N|full", help="as of score (%(default)s)")
    parser.add_argument("--fid-features", choices=["torchvision", "tf", "vgg16"], default="torchvision")
    parser.add_argument("--fid-weights", type=Path, metavar="FILE", help="the published file of the Inception")
    for kind in ("imagenet", "places365"):
        parser.add_argument(f"--{kind}-weights", type=Path, metavar="FILE", help="VGG16, for top-1")
        parser.add_argument(f"--{kind}-labels", type=Path, metavar="FILE", help="lines `PHOTO CLASS`")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Makes the report; exit code 2 with one sentence for a mistake of the user's."""
    arguments = _parser().parse_args(argv)
    cli.configure_logging()
    settings = Settings(
        size=arguments.size,
        fid_features=arguments.fid_features,
        fid_weights=arguments.fid_weights,
        classifiers={
            "imagenet": (arguments.imagenet_weights, arguments.imagenet_labels),
            "places365": (arguments.places365_weights, arguments.places365_labels),
        },
    )
    enable_compile_cache()
    with cli.user_errors():
        labelled = open_labelled(arguments.labelled) if arguments.labelled else None
        models = find_models(arguments.models) if arguments.models else {}
        archives = archives_in(arguments.archives) if arguments.archives else []
        unpack(arguments.results, [*archives, *arguments.unpack], limit=arguments.limit)
        color_sets(find_sets(arguments.results, arguments.folder), models)
        sets = find_sets(arguments.results, arguments.folder)
        page = make_report(
            sets,
            output=arguments.output or arguments.results / "paper",
            settings=settings,
            method=arguments.method,
            count=arguments.photos,
            model=arguments.model,
            models=models,
            labelled=labelled,
        )
    print(page)


def _count(text: str) -> int:
    if int(text) < 1:
        raise ValueError
    return int(text)


_count.__name__ = "count (1 or more)"


if __name__ == "__main__":
    main()
