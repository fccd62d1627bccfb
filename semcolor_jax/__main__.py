"""`python -m semcolor_jax`: the program `semcolor`."""

import sys

from semcolor_jax.cli.main import main

if __name__ == "__main__":
    main(sys.argv[1:])
