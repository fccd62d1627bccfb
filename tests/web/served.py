"""A server of a small network, on a port of its own, in a thread."""

import asyncio
import contextlib
import http.client
import io
import json
import threading
import uuid

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from semcolor_jax.inference.branches import ColorChoice
from semcolor_jax.inference.colorize import Colorizer
from semcolor_jax.models import Predictions
from semcolor_jax.web.app import make_app
from semcolor_jax.web.limits import Limits
from semcolor_jax.web.server import LOOPBACK, make_server, open_socket


class Network:
    """Warm on the left, cold on the right; certain of it on the left, and torn between two colours on the right."""

    def __init__(self):
        self.shapes = []
        self.hold = threading.Event()  # the network waits while it is cleared
        self.hold.set()

    def __call__(self, lightness):
        self.hold.wait(120)
        self.shapes.append(lightness.shape)
        shape = lightness.shape[:3]
        right = np.arange(shape[2]) >= shape[2] / 2
        ab = np.zeros((*shape, 2), np.float32)
        ab[..., 1] = np.where(right, -25, 25)
        logits = np.zeros((*shape, 313), np.float32)
        logits[:, :, ~right, 250] = 9
        logits[:, :, right, 40] = logits[:, :, right, 200] = 9
        seg = np.zeros((*shape, 183), np.float32)
        seg[..., 7] = 1
        seg[:, :, right, 9] = 2
        scenes = np.broadcast_to(np.arange(365, dtype=np.float32), (shape[0], 365))
        return Predictions(
            ab=jnp.asarray(ab),
            color_logits=jnp.asarray(logits),
            seg_logits=jnp.asarray(seg),
            scene_logits=jnp.asarray(scenes),
        )


class Server:
    """What `serving` gives: a port, and requests to it."""

    def __init__(self, port, network, app):
        self.port, self.network, self.app = port, network, app

    def ask(self, method, path, body=None, headers=None, host="localhost"):
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=180)
        with contextlib.closing(connection):
            connection.request(method, path, body, {"Host": f"{host}:{self.port}", **(headers or {})})
            answer = connection.getresponse()
            return answer.status, dict((k.lower(), v) for k, v in answer.getheaders()), answer.read()

    def colorize(self, content, name="old.png", headers=None, **fields):
        body, kind = form({"image": (name, content), **fields})
        return self.ask("POST", "/colorize", body, {"Content-Type": kind, **(headers or {})})


def form(fields):
    """Returns the body and the content type of a multipart form; files are (name, content)."""
    boundary = uuid.uuid4().hex
    parts = []
    for key, value in fields.items():
        name, content = value if isinstance(value, tuple) else (None, str(value).encode())
        file = "" if name is None else f'; filename="{name}"'
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"{file}\r\n\r\n'
        parts.append(head.encode() + content + b"\r\n")
    return b"".join(parts) + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


@contextlib.contextmanager
def serving(limits=None, token=None, colorizer=None):
    """Yields a `Server`."""
    limits = limits or Limits()
    network = Network()
    choice = ColorChoice("both", share=0.25)
    app = make_app(colorizer or Colorizer(network, side=32, choice=choice), limits=limits, token=token)
    started = threading.Event()
    server = make_server(app, limits=limits, on_start=started.set)
    opened = open_socket(LOOPBACK, 0)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[opened])), daemon=True)
    thread.start()
    try:
        assert started.wait(120)
        yield Server(opened.getsockname()[1], network, app)
    finally:
        network.hold.set()
        server.should_exit = True
        thread.join(120)
        opened.close()


@pytest.fixture(scope="module")
def server():
    with serving() as running:
        yield running


def png(height=20, width=30, seed=0):
    """Returns the content of a PNG file of smooth greys."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(30, 220, (4, 4), np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    coarse.convert("RGB").save(file, "PNG")
    return file.getvalue()


def pixels(content):
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB")).astype(int)


def reason(answer):
    """Returns the code and the reason of a refusal."""
    status, headers, body = answer
    assert headers["content-type"] == "application/json"
    found = json.loads(body)
    return status, found["error"], found["reason"]
