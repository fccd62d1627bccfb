"""Runs the web application on a port, and tells the user its address and its limits."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
import webbrowser
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from semcolor_jax.errors import UserError
from semcolor_jax.inference.colorize import Colorizer
from semcolor_jax.web.app import make_app
from semcolor_jax.web.limits import Limits

LOOPBACK, EVERYWHERE = "127.0.0.1", "0.0.0.0"  # noqa: S104 - the latter only with --share-lan, and a token
_BACKLOG = 256
_CONNECTIONS = 512  # sockets at one time, keep-alive included


class PatientProtocol(H11Protocol):
    """Uvicorn's, but also ends connections on which no request begins: half a head would hold a socket for ever."""

    patience = 20.0

    def connection_made(self, transport: Any) -> None:
        """Starts the clock for the first request."""
        super().connection_made(transport)
        self.loop.call_later(self.patience, self._end_if_idle)

    def _end_if_idle(self) -> None:
        if self.cycle is None and not self.transport.is_closing():
            self.transport.close()


def make_server(app: Any, *, limits: Limits, on_start: Callable[[], None] | None = None) -> uvicorn.Server:
    """Returns a server of the application; `run` or `serve` it with a socket of `open_socket`."""
    protocol = type("Protocol", (PatientProtocol,), {"patience": limits.upload_seconds})
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=5,
        backlog=_BACKLOG,
    )
    return _Server(config, on_start or (lambda: None))


class _Server(uvicorn.Server):
    """Uvicorn's, but says when it is up, and shuts down cleanly however often it is asked to."""

    def __init__(self, config: uvicorn.Config, on_start: Callable[[], None]):
        super().__init__(config)
        self._on_start = on_start

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Heeds only the first signal; at a second one uvicorn would exit with a traceback."""
        if not self.should_exit:  # shutdown is bounded: `timeout_graceful_shutdown`
            super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_start()


def open_socket(host: str, port: int) -> socket.socket:
    """Returns a socket that is bound there; port 0 is any free one. Raises `UserError` if the port is taken."""
    opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((host, port))
    except (OSError, OverflowError) as error:
        opened.close()
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"Port {port} cannot be opened ({reason}): choose another with --port.") from error
    return opened


def serve(
    colorizer: Colorizer, *, port: int, limits: Limits | None = None, share_lan: bool = False, open_page: bool = False
) -> None:
    """Serves the page and the endpoint until Ctrl-C.

    Args:
      colorizer: the network and its default settings.
      port: 0 for any free one.
      limits: by default those of `Limits`.
      share_lan: admit other devices on the network, by a token; else only this computer.
      open_page: open the page in the browser.

    Raises:
      UserError: the port is taken.
    """
    limits = Limits() if limits is None else limits
    opened = open_socket(EVERYWHERE if share_lan else LOOPBACK, port)
    port = opened.getsockname()[1]
    token = secrets.token_urlsafe(24) if share_lan else None
    app = make_app(colorizer, limits=limits, token=token)
    query = f"/?token={token}" if token else "/"
    local = f"http://localhost:{port}{query}"

    def announce() -> None:
        for line in announcement(port, token):
            print(line, flush=True)
        if open_page:
            webbrowser.open(local)

    server = make_server(app, limits=limits, on_start=announce)
    with contextlib.suppress(KeyboardInterrupt):  # the intended end
        asyncio.run(server.serve(sockets=[opened]))


def announcement(port: int, token: str | None) -> list[str]:
    """Returns the message to the user once the server is up."""
    if token is None:
        return [f"The page: http://localhost:{port}/ (this computer only; Ctrl-C ends it)"]
    return [
        f"The page: http://{lan_address()}:{port}/?token={token}",
        "It is open to your network: everybody in it who has this link can colour photos here until Ctrl-C.",
        "Photos travel unencrypted: use it in networks that you trust. Each start makes a new token, and no page sees",
        "the photos of another. Programs send the token as `Authorization: Bearer TOKEN`.",
    ]


def lan_address() -> str:
    """Returns this computer's address in its network, without sending a packet."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # from a block reserved for documentation (RFC 5737)
            return probe.getsockname()[0]
        except OSError:
            return socket.gethostname()
