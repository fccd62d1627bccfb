"""Guards the application: checks who may ask, how much and how slowly, and sends strict browser headers."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import time
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

from semcolor_jax.errors import UserError
from semcolor_jax.web.limits import MIB, Budget, Limits, Refused

logger = logging.getLogger(__name__)

COOKIE = "semcolor_token"
OPEN_PATHS = ("/healthz",)
"""Paths answered without a token, by GET: they reveal nothing about anyone."""

UPLOADS = ("/colorize", "/api/photos")
"""The paths with a photo in the body; other bodies are small."""

_SMALL_BODY = 4 * MIB
_FRAME = 64 * 1024  # bytes of a multipart body around the photo
_PIECE = 256 * 1024  # bytes of an answer that a client must take at once
_LINGER_SECONDS, _LINGER_BYTES = 2.0, 16 * MIB  # that a refused client has left to finish sending

_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}

App = Callable[[dict[str, Any], Any, Any], Any]


class Guard:
    """The outermost ASGI middleware.

    Args:
      app: the application.
      limits: on bytes and seconds.
      token: what clients must present, as a cookie, `Authorization: Bearer`, or once as `?token=`; None needs none, but
            answers only browsers that reached the server by a loopback name, so no other site can use it under its own
            name.
    """

    def __init__(self, app: App, *, limits: Limits, token: str | None = None):
        self._app, self._limits, self._token = app, limits, token
        self._incoming = Budget(limits.incoming_bytes)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answers a request, or passes it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(send, self._limits)
        headers = Headers(scope=scope)
        body = _Body(receive, self._limits, self._incoming, most=self._most(scope["path"]))
        try:
            redirect = self._admit(scope, headers)
            if redirect is not None:
                await answer.empty(303, redirect)
                return
            body.declare(headers.get("content-length"))
            await self._app({**scope, "app": self}, body, answer)
        except Exception as error:
            if answer.started:  # ending here, unfinished, makes the server close the connection
                if not answer.slow:
                    logger.exception("An answer broke off: %s", scope["path"])
                return
            await answer.refuse(_refusal(error, scope["path"]), close=not body.ended)
            await body.linger()
            await answer.finish()
        finally:
            body.close()

    def _most(self, path: str) -> int:
        return self._limits.upload_bytes + _FRAME if path in UPLOADS else _SMALL_BODY

    def _admit(self, scope: dict[str, Any], headers: Headers) -> dict[str, str] | None:
        """Returns the headers of a redirect for a browser that brings its token; None admits."""
        host = headers.get("host", "")
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            raise Refused(403, "foreign_page", f"Pages of {origin} may not use this server.")
        if headers.get("sec-fetch-site") == "cross-site" and scope["method"] not in ("GET", "HEAD"):
            raise Refused(403, "foreign_page", "Pages from elsewhere may not use this server.")
        if self._token is None:
            if (urlsplit(f"//{host}").hostname or "") not in ("localhost", "127.0.0.1", "::1"):
                raise Refused(403, "foreign_host", "This server answers as localhost only.")
            return None
        if scope["path"] in OPEN_PATHS and scope["method"] in ("GET", "HEAD"):
            return None
        query = parse_qs(scope["query_string"].decode("latin-1"))
        if scope["method"] == "GET" and self._is_token(*query.pop("token", [""])[:1]):
            rest = urlencode(query, doseq=True)
            cookie = f"{COOKIE}={self._token}; HttpOnly; SameSite=Strict; Path=/"
            # One slash only: //host would lead elsewhere.
            place = "/" + scope["path"].lstrip("/") + (f"?{rest}" if rest else "")
            return {"location": place, "set-cookie": cookie}
        scheme, _, credentials = headers.get("authorization", "").partition(" ")
        if self._is_token(_cookie(headers.get("cookie", ""))):
            return None
        if scheme.lower() == "bearer" and self._is_token(credentials.strip()):
            return None
        reason = "This server wants the token that `semcolor serve --share-lan` printed with its address."
        raise Refused(401, "no_token", reason, headers={"www-authenticate": "Bearer"})

    def _is_token(self, text: str) -> bool:
        return self._token is not None and hmac.compare_digest(text.encode(), self._token.encode())


def _refusal(error: Exception, path: str) -> Refused:
    if isinstance(error, Refused):
        return error
    if isinstance(error, UserError):
        return Refused(400, "bad_request", str(error))
    if isinstance(error, HTTPException):  # of the router: no such path or method
        codes = {404: "not_found", 405: "method_not_allowed"}
        reason = f"{error.detail}: {path}."
        return Refused(error.status_code, codes.get(error.status_code, "bad_request"), reason, headers=error.headers)
    if isinstance(error, MemoryError):
        return Refused(503, "busy", "The photo does not fit into memory now.", headers={"retry-after": "30"})
    logger.error("A bug of ours, at %s:", path, exc_info=error)
    return Refused(500, "bug", "Something went wrong in the server; its log says what.")


def _cookie(header: str) -> str:
    try:
        morsel = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return ""
    return "" if morsel is None else morsel.value


class _Body:
    """A request's body, bounded in bytes and in time."""

    def __init__(self, receive: Any, limits: Limits, incoming: Budget, *, most: int):
        self._receive, self._limits, self._incoming, self._most = receive, limits, incoming, most
        self._started, self._received, self._held = time.monotonic(), 0, 0
        self.ended = False

    def declare(self, length: str | None) -> None:
        """Refuses a body by its declared length."""
        if length is None:
            return
        if not length.isdecimal():
            raise Refused(400, "bad_request", "The header Content-Length is no number.")
        self._check(int(length))
        self._hold(int(length))
        self.ended = int(length) == 0

    async def __call__(self) -> dict[str, Any]:
        """Receives the next part."""
        if self.ended:
            return await self._receive()
        allowed = self._limits.upload_seconds + self._received / self._limits.upload_rate
        try:
            message = await asyncio.wait_for(self._receive(), self._started + allowed - time.monotonic())
        except TimeoutError:
            raise Refused(408, "too_slow", "The upload came too slowly, and was given up.") from None
        if message["type"] == "http.request":
            self._received += len(message.get("body", b""))
            self._check(self._received)
            self._hold(self._received)
            self.ended = not message.get("more_body", False)
        else:
            self.ended = True
        return message

    async def linger(self) -> None:
        """Discards further data for a moment: many clients read no answer until they have sent everything."""
        end, thrown = time.monotonic() + _LINGER_SECONDS, 0
        while not self.ended and thrown < _LINGER_BYTES:
            try:
                message = await asyncio.wait_for(self._receive(), end - time.monotonic())
            except TimeoutError:
                return
            thrown += len(message.get("body", b""))
            self.ended = message["type"] != "http.request" or not message.get("more_body", False)

    def close(self) -> None:
        """Returns the body's share to the common budget of bytes."""
        self._incoming.give(self._held)
        self._held = 0

    def _check(self, length: int) -> None:
        if length > self._most:
            raise Refused(413, "too_large", f"The upload has more than the {self._most // MIB} MiB that are taken.")

    def _hold(self, length: int) -> None:
        if length > self._held:
            if not self._incoming.take(length - self._held):
                reason = "Too many uploads are under way; try again in a moment."
                raise Refused(429, "busy", reason, headers={"retry-after": "5"})
            self._held = length


class _Answer:
    """The answer: strict headers, then pieces that the client must take in time."""

    def __init__(self, send: Any, limits: Limits):
        self._send, self._limits = send, limits
        self.started = self.slow = False

    async def __call__(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            there = {name for name, _ in message.get("headers", [])}
            strict = [(k.encode(), v.encode()) for k, v in _HEADERS.items() if k.encode() not in there]
            await self._send({**message, "headers": [*message.get("headers", []), *strict]})
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        for start in range(0, max(1, len(body)), _PIECE):
            last = start + _PIECE >= len(body)
            part = {"type": "http.response.body", "body": body[start : start + _PIECE], "more_body": more or not last}
            await self._in_time(part)

    async def empty(self, status: int, headers: dict[str, str]) -> None:
        """Answers without a body."""
        pairs = [(k.encode(), v.encode("latin-1")) for k, v in {"content-length": "0", **headers}.items()]
        await self({"type": "http.response.start", "status": status, "headers": pairs})
        await self({"type": "http.response.body", "body": b""})

    async def refuse(self, refused: Refused, *, close: bool) -> None:
        """Answers with a reason; `finish` ends it. With `close`, the connection ends, too."""
        body = json.dumps(refused.as_json()).encode()
        headers = {"content-type": "application/json", "content-length": str(len(body)), **refused.headers}
        if close:
            headers["connection"] = "close"
        pairs = [(k.encode(), v.encode("latin-1")) for k, v in headers.items()]
        await self({"type": "http.response.start", "status": refused.status, "headers": pairs})
        await self({"type": "http.response.body", "body": body, "more_body": True})

    async def finish(self) -> None:
        """Ends the answer."""
        await self({"type": "http.response.body", "body": b""})

    async def _in_time(self, message: dict[str, Any]) -> None:
        allowed = self._limits.upload_seconds + _PIECE / self._limits.upload_rate
        try:
            await asyncio.wait_for(self._send(message), allowed)
        except TimeoutError:
            self.slow = True
            raise
