"""Assembles the web application: endpoint, page, and the guard in front of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from starlette.routing import Router

from semcolor_jax.inference.colorize import Colorizer
from semcolor_jax.web import endpoint
from semcolor_jax.web.engine import Engine
from semcolor_jax.web.guard import Guard
from semcolor_jax.web.limits import Limits
from semcolor_jax.web.page import Page
from semcolor_jax.web.sessions import Sessions


def make_app(colorizer: Colorizer, *, limits: Limits | None = None, token: str | None = None) -> Guard:
    """Returns the ASGI application of `semcolor serve`.

    Args:
      colorizer: the network and its default settings.
      limits: by default those of `Limits`.
      token: what clients must present; see `Guard`.
    """
    limits = Limits() if limits is None else limits
    engine, sessions = Engine(colorizer, limits), Sessions(limits)
    page = Page(engine, sessions)

    @contextlib.asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        sweeper = asyncio.create_task(_sweep(sessions, limits))
        yield
        sweeper.cancel()
        sessions.clear()
        engine.close()

    router = Router([*endpoint.routes(engine), *page.routes], lifespan=lifespan, redirect_slashes=False)
    return Guard(router, limits=limits, token=token)


async def _sweep(sessions: Sessions, limits: Limits) -> None:
    """Forgets idle pages even when no request comes."""
    while True:
        await asyncio.sleep(min(30.0, limits.idle_seconds / 4))
        sessions.forget_idle()
