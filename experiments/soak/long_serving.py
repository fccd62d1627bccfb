"""Runs `semcolor serve` for an hour under light load, and watches its memory.

python experiments/soak/long_serving.py [--minutes 60] [--every 10]
(or: make soak)

Every ten seconds one photo is sent, of four sizes in turn: once to `POST /colorize`, the next time as the page does
(begin a session, add the photo, fetch it at full size, end the session). The server's resident memory is noted once a
minute, between photos. `memory.summary` defines flat; `experiments/results/long_serving.json` has its result, the
answers, and every minute's memory. Any answer other than a coloured photo is a failure, too. Pages left open are not
tested: their memory is freed after 30 minutes (docs/web.md).
"""

from __future__ import annotations

import argparse
import collections
import http.client
import itertools
import json
import sys
import time
from pathlib import Path
from typing import Any

from memory import resident_mb, summary

sys.path.insert(0, str(Path(__file__).parents[2]))  # run from anywhere, without an installation

from experiments.benchmarks import common
from experiments.benchmarks.serve_load import form, photo, start_server

PACKAGES = ("jax", "jaxlib", "numpy", "pillow", "starlette", "uvicorn")
SIDES = (320, 512, 768, 1024)
"""Short sides of the photos, in pixels; 3:2."""
TIMEOUT = 120.0  # seconds
JPEG = b"\xff\xd8"


class Visitor:
    """Sends photos to the server at `port`, alternating between both ways; `answers` counts the outcomes."""

    def __init__(self, port: int):
        self._port, self._photos = port, [photo(side) for side in SIDES]
        self._turns = itertools.count()
        self.answers: collections.Counter[str] = collections.Counter()

    def bring(self) -> None:
        """Sends the next photo and counts the answer: "200 /colorize", or "no photo" with the reason."""
        turn = next(self._turns)
        content, way = self._photos[turn // 2 % len(self._photos)], (self.by_endpoint, self.by_page)[turn % 2]
        try:
            picture = way(content)
            self.answers[f"{way.__name__}, {'coloured' if picture.startswith(JPEG) else 'no photo'}"] += 1
        except (OSError, http.client.HTTPException, RuntimeError) as error:
            self.answers[f"{way.__name__}, {error or type(error).__name__}"] += 1

    def by_endpoint(self, content: bytes) -> bytes:
        """Returns the coloured photo's file. Raises `RuntimeError` if the server refuses."""
        body, kind = form(content)
        return self._ask("POST", "/colorize", body, {"Content-Type": kind})

    def by_page(self, content: bytes) -> bytes:
        """The same, in a session of the page, ended afterwards."""
        session = json.loads(self._ask("POST", "/api/sessions"))["session"]
        own = {"Semcolor-Session": session}
        taken = json.loads(self._ask("POST", "/api/photos?name=photo.jpg", content, own))
        picture = self._ask("POST", f"/api/photos/{taken['id']}/download", b"{}", own)
        self._ask("POST", "/api/end", session.encode())
        return picture

    def _ask(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=TIMEOUT)
        try:
            connection.request(method, path, body, {"Host": "localhost"} | (headers or {}))
            answer = connection.getresponse()
            content = answer.read()
            if answer.status >= 300:
                raise RuntimeError(f"{path.partition('?')[0]} answered {answer.status}")
            return content
        finally:
            connection.close()


def watch(minutes: float, every: float) -> dict[str, Any]:
    """Starts a server, sends it photos, and returns the result."""
    process, port = start_server()
    try:
        visitor, megabytes, begun = Visitor(port), [resident_mb(process.pid)], time.monotonic()
        while (now := time.monotonic() - begun) < 60 * minutes:
            visitor.bring()
            time.sleep(max(0.0, every - (time.monotonic() - begun - now)))
            if (time.monotonic() - begun) // 60 >= len(megabytes):
                megabytes.append(resident_mb(process.pid))
    finally:
        process.terminate()
        process.wait()
    answers = dict(visitor.answers)
    return summary(megabytes, unit="minutes", per=60) | {"every_seconds": every, "sides": SIDES, "answers": answers}


def main() -> int:
    """Watches and writes the result; 1 if the memory grew or a photo was not coloured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--every", type=float, default=10.0, help="seconds from one photo to the next")
    parser.add_argument("--note", default="", help="what else the machine did")
    parser.add_argument("--output", type=Path, help="default: experiments/results/long_serving.json")
    options = parser.parse_args()
    if options.minutes < 10:
        parser.error("--minutes must be 10 or more: fewer make no fifths to compare.")
    result = watch(options.minutes, options.every) | common.environment(PACKAGES) | {"note": options.note}
    common.save("long_serving", result, output=options.output)
    common.report({name: value for name, value in result.items() if name != "megabytes"})
    return int(not result["flat"] or any(not answer.endswith("coloured") for answer in result["answers"]))


if __name__ == "__main__":
    sys.exit(main())
