"""Takes the pictures of docs/web.md: the page of `semcolor serve` with the embedded photos, at two widths.

python experiments/page_pictures.py                 # into docs/images
python experiments/page_pictures.py --output DIR

Needs the extras `web`, `train` (the photos) and `dev`, and Chromium (`make browser`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

import semcolor_jax
from semcolor_jax.color import rgb_to_lab
from semcolor_jax.data import embedded
from semcolor_jax.inference.branches import grey_copy
from semcolor_jax.inference.colorize import Colorizer
from semcolor_jax.web.app import make_app
from semcolor_jax.web.limits import Limits
from semcolor_jax.web.server import LOOPBACK, make_server, open_socket

BROWSERS = [path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))]
CHROMIUM = os.environ.get("CHROMIUM") or (BROWSERS[0] if BROWSERS else "/usr/bin/chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PHOTOS = ("china", "coffee", "astronaut", "chelsea")
HINTS = {"#8db4dc": [(0.52, 0.14), (0.64, 0.3), (0.82, 0.2)], "#a8452f": [(0.46, 0.66)]}
"""Of the first photo: a stroke and a point, in shares of its width and height."""

SIZES = {"desktop": (1280, 860), "phone": (390, 844)}


@contextlib.contextmanager
def served(colorizer: Colorizer) -> Iterator[str]:
    """Yields the address of a server of the page."""
    started, limits, opened = threading.Event(), Limits(), open_socket(LOOPBACK, 0)
    server = make_server(make_app(colorizer, limits=limits), limits=limits, on_start=started.set)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[opened])), daemon=True)
    thread.start()
    started.wait()
    try:
        yield f"http://localhost:{opened.getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join()
        opened.close()


def photos() -> list[dict[str, Any]]:
    """Returns the embedded photos without their colour, as files to upload."""
    found = {sample.name: sample.image for sample in embedded.photos()}
    files = []
    for name in PHOTOS:
        content = io.BytesIO()
        grey = grey_copy(rgb_to_lab(found[name], xp=np)[..., :1])
        Image.fromarray(grey).save(content, "JPEG", quality=95)
        files.append({"name": f"{name}.jpg", "mimeType": "image/jpeg", "buffer": content.getvalue()})
    return files


def take(page: Page, address: str, name: str, output: Path) -> None:
    """Goes through the page and takes its pictures."""

    def shot(view: str) -> None:
        page.screenshot(path=output / f"page-{view}-{name}.jpg", type="jpeg", quality=88)

    page.goto(address)
    page.wait_for_selector("html[data-ready]")
    page.set_input_files("#files", photos())  # type: ignore[arg-type]
    expect(page.locator("#strip [data-state=ready]")).to_have_count(len(PHOTOS), timeout=120_000)
    page.wait_for_selector("#variants canvas")
    page.locator("#split").fill("38")
    page.locator("#saturation").fill("1.3")
    page.locator("#saturation").blur()
    page.wait_for_timeout(500)
    shot("compare")
    page.locator("input[value=hints]").check(force=True)
    box = page.locator("#frame").bounding_box()
    assert box is not None
    for count, (colour, places) in enumerate(HINTS.items(), start=1):
        (x, y), *others = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in places]
        page.mouse.move(x, y)
        page.mouse.down()
        for place in others:
            page.mouse.move(*place, steps=10)
        page.mouse.up()
        page.locator(f"#hints li:nth-child({count}) input").fill(colour)
    page.wait_for_selector("#likely-colours button")
    page.wait_for_selector("#frame:not([data-working])")
    page.wait_for_timeout(500)
    shot("hints")
    page.locator("input[value=explain]").check(force=True)
    page.wait_for_selector("#classes button")
    box = page.locator("#frame").bounding_box()  # hints are shown smaller on a phone
    assert box is not None
    page.mouse.click(box["x"] + 0.55 * box["width"], box["y"] + 0.2 * box["height"])
    page.wait_for_selector("#plane:not([hidden])")
    page.wait_for_timeout(500)
    shot("explain")


def main() -> None:
    """Takes all pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("docs/images"))
    output = parser.parse_args().output
    with served(semcolor_jax.load()) as address, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for name, (width, height) in SIZES.items():
            phone = name == "phone"
            context = browser.new_context(
                viewport={"width": width, "height": height}, color_scheme="light", has_touch=phone, is_mobile=phone
            )
            context.set_default_timeout(120_000)
            take(context.new_page(), address, name, output)
            context.close()
        browser.close()


if __name__ == "__main__":
    main()
