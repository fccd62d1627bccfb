"""Runs the program `semcolor` as `python -m semcolor_jax`."""

import sys

from semcolor_jax.cli.main import main

if __name__ == "__main__":
    main(sys.argv[1:])
