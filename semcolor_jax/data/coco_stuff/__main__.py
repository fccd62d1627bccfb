"""`python -m semcolor_jax.data.coco_stuff [FLAGS]`: `tfds build` of this folder, with its flags.

The program `tfds` itself imports apache-beam and mlcroissant for its other commands; they are not needed to build.
"""

from __future__ import annotations

from pathlib import Path

from absl import app
from tensorflow_datasets.scripts.cli import build, cli_utils

from semcolor_jax.cli import flags as cli


def main(arguments: build.Args) -> None:
    """Runs the command."""
    cli.configure_logging()
    arguments.positional_datasets.append(str(Path(__file__).parent))
    arguments.execute()


if __name__ == "__main__":
    with cli.user_errors():
        app.run(main, flags_parser=cli_utils.make_flags_parser(build.Args, description="Builds coco_stuff."))
