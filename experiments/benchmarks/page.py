"""Measures how fast the page of `semcolor serve` responds, in Chromium, for one large photo at screen size.

A control is moved, and the clock runs until the picture has been painted and the screen has shown the next frame:
saturation and soft weight are mixed in the browser, the temperature is requested, hints are spread by the server.
Medians over REPEATS changes, and the slowest; the first of each control is left out, because it compiles.

    python experiments/benchmarks/page.py
    python experiments/benchmarks/page.py --width 1280 --height 960 --repeats 20

Needs the extras `web`, `train` (the photo) and `dev`, and Chromium (`make browser`).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[2]))  # run from anywhere, without an installation

from experiments.benchmarks import common
from experiments.benchmarks.serve_load import start_server
from experiments.page_pictures import CHROMIUM, FLAGS

PACKAGES = ("jax", "jaxlib", "numpy", "scipy", "starlette", "uvicorn", "playwright")
CHANGES: dict[str, tuple[float, float]] = {
    "saturation": (0.6, 1.6),
    "share": (0.1, 0.9),
    "temperature": (0.2, 0.9),
}
CHANGE = """async ([id, value]) => {
  const control = document.querySelector(id), frame = document.getElementById("frame");
  const next = () => new Promise((done) => requestAnimationFrame(done));
  const began = performance.now();
  control.value = value;
  control.dispatchEvent(new Event("input"));
  do await next(); while (frame.dataset.working);
  await next();
  return (performance.now() - began) / 1000;
}"""
PATIENCE = 300_000  # milliseconds


def seconds_of(page: Page, selector: str, values: list[Any]) -> dict[str, float]:
    """Sets a control to the values, one after the other; returns the seconds until the picture appears."""
    taken = [page.evaluate(CHANGE, [selector, value]) for value in values][1:]
    return {"median": round(statistics.median(taken), 3), "slowest": round(max(taken), 3)}


def measure(page: Page, address: str, photo: Path, repeats: int) -> dict[str, Any]:
    """Returns the seconds of each control, and those from choosing the photo to its colours."""
    page.goto(address)
    page.wait_for_selector("html[data-ready]")
    upload = []
    for count in (1, 2):  # the first compiles
        began = time.perf_counter()
        page.set_input_files("#files", photo)
        page.wait_for_selector(f"#strip li:nth-child({count})[data-state=ready]", state="attached")
        upload.append(round(time.perf_counter() - began, 2))
    found: dict[str, Any] = {"photo to colours": {"first": upload[0], "second": upload[1]}}
    page.wait_for_selector("#variants canvas")
    for name, (low, high) in CHANGES.items():
        values = [low + (high - low) * step / repeats for step in range(repeats + 1)]
        found[name] = seconds_of(page, f"#{name}", [round(value, 2) for value in values])
    page.locator("input[value=hints]").check(force=True)
    box = page.locator("#frame").bounding_box()
    assert box is not None
    for x, y in ((0.3, 0.3), (0.6, 0.7)):
        page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])
        page.wait_for_selector("#frame:not([data-working])")
    colours = [f"#{40 + 8 * step:02x}60a0" for step in range(repeats + 1)]
    found["colour of a hint"] = seconds_of(page, "#hints li:last-child input", colours)
    return found


def main() -> None:
    """Measures and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=4000)
    parser.add_argument("--height", type=int, default=3000)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--note", default="", help="what else the machine did")
    parser.add_argument("--output", type=Path, help="default: experiments/results/page.json")
    asked = parser.parse_args()
    process, port = start_server()
    try:
        with tempfile.TemporaryDirectory() as folder, sync_playwright() as play:
            photo = Path(folder) / "photo.jpg"
            common.write_photo(photo, width=asked.width, height=asked.height)
            browser = play.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            page = browser.new_page(viewport={"width": 1280, "height": 860})
            page.set_default_timeout(PATIENCE)
            seconds = measure(page, f"http://localhost:{port}/", photo, asked.repeats)
            shown = page.evaluate("() => { const c = document.getElementById('colour'); return [c.width, c.height]; }")
            browser.close()
    finally:
        process.terminate()
        process.wait()
    result = {"photo": [asked.width, asked.height], "shown": shown, "seconds": seconds}
    result |= common.environment(PACKAGES) | {"note": asked.note}
    common.report(result)
    common.save("page", result, output=asked.output)


if __name__ == "__main__":
    main()
