"""Load-tests `POST /colorize` with many clients: does each get an answer, how soon, and with how much memory?

Before the clock starts one photo and then two batches of photos are coloured, so that all programs are compiled.
Each client sends one photo after the other, as fast as answers come. A 429 is an answer, too: the client waits as told.

    python experiments/benchmarks/serve_load.py                       # 64 clients for 60 s
    python experiments/benchmarks/serve_load.py --clients 8 --seconds 20 --side 1024
"""

from __future__ import annotations

import argparse
import collections
import http.client
import io
import os
import re
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2]))  # run from anywhere, without an installation

from experiments.benchmarks import common
from semcolor_jax.errors import UserError
from semcolor_jax.inference.photo_files import BATCH

PACKAGES = ("jax", "jaxlib", "numpy", "pillow", "starlette", "uvicorn")
TIMEOUT = 300.0  # seconds after which a client counts no answer


def photo(side: int) -> bytes:
    """Returns a JPEG of the proportions 3:2, smooth as photos are."""
    coarse = np.random.default_rng(0).integers(20, 235, (12, 18), np.uint8)
    file = io.BytesIO()
    image = Image.fromarray(coarse).resize((side * 3 // 2, side), Image.Resampling.BICUBIC)
    image.save(file, "JPEG", quality=92)
    return file.getvalue()


def form(content: bytes) -> tuple[bytes, str]:
    """Returns a form with the photo, and its content type."""
    boundary = uuid.uuid4().hex
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="photo.jpg"\r\n\r\n'
    return head.encode() + content + f"\r\n--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


class Client(threading.Thread):
    """One client; `answers` has the status and the seconds of each request, and "none" where there was no answer."""

    def __init__(self, port: int, content: bytes, end: float):
        super().__init__(daemon=True)
        self.port, self.end = port, end
        self.body, self.kind = form(content)
        self.answers: list[tuple[str, float]] = []

    def run(self) -> None:
        """Sends requests until the time is up."""
        while time.monotonic() < self.end:
            began = time.monotonic()
            status, wait = self._ask()
            self.answers.append((status, time.monotonic() - began))
            time.sleep(min(wait, max(0.0, self.end - time.monotonic())))

    def _ask(self) -> tuple[str, float]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT)
        try:
            connection.request("POST", "/colorize", self.body, {"Content-Type": self.kind, "Host": "localhost"})
            answer = connection.getresponse()
            complete = len(answer.read()) == int(answer.getheader("content-length", "0"))
            return str(answer.status) if complete else "none", float(answer.getheader("retry-after", "0"))
        except (OSError, http.client.HTTPException):
            return "none", 1.0
        finally:
            connection.close()


def start_server() -> tuple[subprocess.Popen[str], int]:
    """Starts `semcolor serve` on a free port."""
    environment = os.environ | {"PYTHONPATH": str(common.ROOT)}
    command = [sys.executable, "-m", "semcolor_jax", "serve", "--port", "0"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if found := re.search(r"localhost:(\d+)/", line):
            return process, int(found.group(1))
    raise UserError(f"The server ended with exit code {process.wait()}; see above.")


def peak_megabytes(process: int) -> float | None:
    """Returns a process's peak memory, as Linux counts it; None elsewhere."""
    status = Path(f"/proc/{process}/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.is_file() else None
    return None if found is None else round(int(found.group(1)) * 1024 / 1e6, 1)


def _at_once(port: int, content: bytes, count: int) -> None:
    threads = [threading.Thread(target=Client(port, content, 0)._ask) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def measure(clients: int, seconds: float, side: int) -> dict[str, Any]:
    """Starts a server, lets the clients load it, and returns the result."""
    content = photo(side)
    process, port = start_server()
    try:
        warm = Client(port, content, 0)
        first = time.monotonic()
        warm._ask()
        first = time.monotonic() - first
        idle = peak_megabytes(process.pid)
        warming = common.timed(lambda: _at_once(port, content, 2 * BATCH))  # compiles the program of a batch
        end = time.monotonic() + seconds
        running = [Client(port, content, end) for _ in range(clients)]
        for client in running:
            client.start()
        for client in running:
            client.join()
        peak = peak_megabytes(process.pid)
    finally:
        process.terminate()
        process.wait()
    answers = [answer for client in running for answer in client.answers]
    coloured = np.array([taken for status, taken in answers if status == "200"])
    return {
        "clients": clients,
        "seconds": seconds,
        "photo": [side * 3 // 2, side],
        "answers": dict(collections.Counter(status for status, _ in answers)),
        "clients_without_a_photo": sum(all(status != "200" for status, _ in client.answers) for client in running),
        "photos_per_second": round(len(coloured) / seconds, 2),
        "latency_seconds": {
            f"p{percent}": round(float(np.percentile(coloured, percent)), 3) for percent in (50, 90, 99, 100)
        }
        if len(coloured)
        else {},
        "first_photo_seconds": round(first, 2),
        "warm_up_seconds": round(warming, 2),
        "peak_mb_after_one_photo": idle,
        "peak_mb": peak,
    }


def main() -> None:
    """Measures and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--side", type=int, default=512, help="short side of the photo")
    parser.add_argument("--note", default="", help="what else the machine did")
    parser.add_argument("--output", type=Path, help="default: experiments/results/serve_load.json")
    arguments = parser.parse_args()
    result = measure(arguments.clients, arguments.seconds, arguments.side)
    result |= common.environment(PACKAGES) | {"note": arguments.note}
    common.report(result)
    common.save("serve_load", result, output=arguments.output)
    if "none" in result["answers"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
