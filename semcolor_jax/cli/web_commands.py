"""The command `semcolor serve`, which opens a web page to colour photos on."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from semcolor_jax.cli.arguments import add_checkpoint, add_command, model, positive_float, positive_int

PORT = 8313
"""The page's default port: 313 colours."""


def add_parser(commands: Any) -> None:
    """Adds `serve` to the subparsers of the program; imports nothing heavy."""
    parser = add_command(
        commands,
        "serve",
        help="open a page in the browser to colour photos on, with an HTTP endpoint beside it",
        example="semcolor serve --open",
    )
    add = parser.add_argument
    add("--model", type=model, metavar="M", help="released model, work directory or weights (default: the release)")
    add_checkpoint(parser)
    add("--port", type=int, default=PORT, metavar="N", help="of the page (%(default)s); 0 takes any that is free")
    add("--open", action="store_true", help="open the page in the browser")
    add(
        "--share-lan",
        action="store_true",
        help="let other devices of your network in, such as a phone, by a link with a token",
    )
    add("--max-megabytes", type=positive_int, metavar="N", help="of one photo's file (default: 64)")
    add("--max-megapixels", type=positive_float, metavar="N", help="of one photo (default: 64)")
    add("--queue", type=positive_int, metavar="N", help="photos that may wait for the endpoint (default: 64)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Serves until Ctrl-C. Raises `UserError` for a mistake of the user's."""
    import semcolor_jax  # JAX and the extra `web`: only once the arguments are valid
    from semcolor_jax.cli.allocator import return_large_blocks
    from semcolor_jax.cli.compile_cache import enable_compile_cache
    from semcolor_jax.web.limits import MIB, Limits
    from semcolor_jax.web.server import serve

    asked = {
        "upload_bytes": arguments.max_megabytes and arguments.max_megabytes * MIB,
        "pixels": arguments.max_megapixels and int(arguments.max_megapixels * 1e6),
        "queue": arguments.queue,
    }
    limits = dataclasses.replace(Limits(), **{key: value for key, value in asked.items() if value})
    return_large_blocks()
    enable_compile_cache()
    colorizer = semcolor_jax.load(arguments.model, checkpoint=arguments.checkpoint)
    serve(colorizer, port=arguments.port, limits=limits, share_lan=arguments.share_lan, open_page=arguments.open)
