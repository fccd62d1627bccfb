"""Serves the web page's requests: photos in; planes for mixing colours, coloured photos and archives out."""

from __future__ import annotations

import json
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from semcolor_jax.errors import UserError
from semcolor_jax.inference.branches import ColorChoice
from semcolor_jax.photos.formats import MEDIA_TYPES, SUFFIXES
from semcolor_jax.taxonomy.label_sets import COCO_STUFF
from semcolor_jax.web.engine import Coloured, Engine
from semcolor_jax.web.limits import Refused, check_photo
from semcolor_jax.web.names import disposition, distinct, safe_name, with_suffix
from semcolor_jax.web.options import MOST_HINTS
from semcolor_jax.web.photo_work import full_size, keep, screen_picture
from semcolor_jax.web.sessions import Kept, Session, Sessions
from semcolor_jax.web.settings import DOT, MOST_LENGTH, MOST_POINTS, VARIANTS, Settings, usual_share

STATIC = Path(__file__).parent / "static"
SESSION_HEADER = "semcolor-session"
AB_SCALE = 128
"""Colours travel as int16 of this many steps a CIE unit."""

_TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_NOT_KEPT = ("--stretch", "--tolerant")  # advice for the command line
_BINS = 40  # of a distribution that are sent


class Page:
    """The page's routes, on top of an engine and the open sessions."""

    def __init__(self, engine: Engine, sessions: Sessions):
        self._engine, self._sessions = engine, sessions

    @property
    def routes(self) -> list[Route]:
        """Returns the routes."""
        photo = "/api/photos/{key:str}"
        files = [Route(f"/{path.name}", _static(path)) for path in sorted(STATIC.iterdir()) if path.suffix in _TYPES]
        return [
            Route("/", _static(STATIC / "index.html")),
            *files,
            Route("/api/about", self.about),
            Route("/api/sessions", self.begin, methods=["POST"]),
            Route("/api/end", self.end, methods=["POST"]),
            Route("/api/alive", self.alive, methods=["POST"]),
            Route("/api/photos", self.add, methods=["POST"]),
            Route(photo, self.remove, methods=["DELETE"]),
            Route(f"{photo}/grey", self.grey),
            Route(f"{photo}/classes", self.classes),
            Route(f"{photo}/planes", self.planes),
            Route(f"{photo}/variants", self.variants),
            Route(f"{photo}/distribution", self.distribution),
            Route(f"{photo}/painted", self.painted, methods=["POST"]),
            Route(f"{photo}/download", self.download, methods=["POST"]),
            Route("/api/zip", self.archive, methods=["POST"]),
        ]

    @property
    def _usual(self) -> ColorChoice:
        return self._engine.colorizer.choice

    def _session(self, request: Request) -> Session:
        return self._sessions.get(request.headers.get(SESSION_HEADER))

    def _photo(self, request: Request) -> Kept:
        return self._session(request).photo(request.path_params["key"])

    async def about(self, request: Request) -> Response:
        """Sends the page the default settings and the limits."""
        usual, limits = self._usual, self._engine.limits
        settings = {"share": usual_share(usual), "temperature": usual.temperature, "saturation": usual.saturation}
        bounds = {"bytes": limits.upload_bytes, "pixels": limits.pixels, "photos": limits.session_photos}
        hints = {"count": MOST_HINTS, "points": MOST_POINTS, "length": MOST_LENGTH, "radius": DOT}
        known = {"settings": settings, "limits": bounds, "hints": hints, "classes": list(COCO_STUFF), "scale": AB_SCALE}
        return JSONResponse(known)

    async def begin(self, request: Request) -> Response:
        """Opens a session."""
        return JSONResponse({"session": self._sessions.begin()})

    async def end(self, request: Request) -> Response:
        """Forgets a session; its name is the body, since a closing page can send no headers."""
        self._sessions.end((await request.body()).decode("ascii", "replace"))
        return Response(status_code=204)

    async def alive(self, request: Request) -> Response:
        """Notes that a page is still open."""
        self._session(request)
        return Response(status_code=204)

    async def add(self, request: Request) -> Response:
        """Takes a photo, the body, and runs the network on it."""
        session = self._session(request)
        self._engine.check_place()
        self._sessions.check_room(session, int(request.headers.get("content-length", "0")))
        name = safe_name(request.query_params.get("name"))
        content = await request.body()
        engine = self._engine
        async with engine.place():
            pixels = await engine.by_hand(check_photo, content, engine.limits, name=name)
            async with engine.decoded(pixels):
                kept = await keep(engine, content, name=name, pixels=pixels)
        key = self._sessions.add(session, kept)
        return JSONResponse({"id": key, **_described(kept)}, status_code=201)

    async def remove(self, request: Request) -> Response:
        """Forgets a photo."""
        self._session(request).photos.pop(request.path_params["key"], None)
        return Response(status_code=204)

    async def grey(self, request: Request) -> Response:
        """Sends the lightness at screen size: a byte a pixel."""
        return _bytes(self._photo(request).grey)

    async def classes(self, request: Request) -> Response:
        """Sends the class of each place: a byte each."""
        classes = self._photo(request).look.classes
        if classes is None:
            raise Refused(404, "no_branch", "The network has no segmentation branch.")
        return _bytes(classes)

    async def planes(self, request: Request) -> Response:
        """Sends the colours of each branch, one after the other, at a temperature."""
        kept = self._photo(request)
        try:
            wanted = {"temperature": float(request.query_params["temperature"])}
        except (KeyError, ValueError):
            raise Refused(400, "bad_settings", "The temperature must be a number.") from None
        temperature = Settings.of_json(wanted, self._usual).temperature
        colors = await self._engine.by_hand(kept.look.colors, temperature)
        return _bytes(np.stack([_as_int16(colors[branch]) for branch in kept.look.branches]))

    async def variants(self, request: Request) -> Response:
        """Sends the shifts of the variants, one after the other; there may be none."""
        kept = self._photo(request)
        if kept.shifts is None:
            async with self._engine.place():
                kept.shifts = await self._engine.by_network(
                    lambda: kept.look.shifts(_possible(self._usual, kept), count=VARIANTS)
                )
        return _bytes(_as_int16(kept.shifts))

    async def distribution(self, request: Request) -> Response:
        """Sends the likeliest colours of a place."""
        kept = self._photo(request)
        try:
            x, y = (float(request.query_params[axis]) for axis in "xy")
        except (KeyError, ValueError):
            raise Refused(400, "bad_place", "x and y must be numbers in 0..1.") from None
        found = kept.look.distribution(x, y)
        order = np.argsort(-found.probabilities, kind="stable")[:_BINS]
        bins = [[*map(float, found.ab[i]), round(float(found.probabilities[i]), 4)] for i in order]
        return JSONResponse({"bins": bins})

    async def painted(self, request: Request) -> Response:
        """Sends the picture at screen size as a PNG: hints are spread here and not in the browser."""
        kept = self._photo(request)
        settings = Settings.of_json(await _json(request), self._usual)
        async with self._engine.place():
            content = await self._engine.by_hand(screen_picture, kept, settings, self._usual)
        return Response(content, media_type="image/png")

    async def download(self, request: Request) -> Response:
        """Sends a photo at full size, coloured as its settings say."""
        kept = self._photo(request)
        settings = Settings.of_json(await _json(request), self._usual)
        async with self._engine.place():
            coloured = await self._coloured(kept, settings)
        name = with_suffix(kept.name, SUFFIXES[coloured.format])
        headers = {"content-disposition": disposition(name), "semcolor-notes": json.dumps(coloured.notes)}
        return Response(coloured.content, media_type=MEDIA_TYPES[coloured.format], headers=headers)

    async def archive(self, request: Request) -> Response:
        """Sends many photos as a ZIP archive, as it grows."""
        session = self._session(request)
        wanted = await _json(request)
        if not isinstance(wanted, list) or not wanted or len(wanted) > self._engine.limits.session_photos:
            raise Refused(400, "bad_settings", "The archive wants a list of photos.")
        pairs = []
        for item in wanted:
            settings = Settings.of_json(item, self._usual)
            pairs.append((session.photo(str(item.get("id"))), settings))
        headers = {"content-disposition": disposition("coloured.zip")}
        return StreamingResponse(self._zipped(pairs), media_type="application/zip", headers=headers)

    async def _zipped(self, pairs: list[tuple[Kept, Settings]]) -> AsyncIterator[bytes]:
        """Yields the archive; failures are listed in a text file in it, since the answer has begun by then."""
        sink, taken, failures = _Sink(), {"not_coloured.txt"}, []
        with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as zipped:  # photos do not compress further
            for kept, settings in pairs:
                try:
                    async with self._engine.place():
                        coloured = await self._coloured(kept, settings)
                except (Refused, UserError) as error:
                    failures.append(f"{kept.name}: {error}\n")
                    continue
                name = distinct(with_suffix(kept.name, SUFFIXES[coloured.format]), taken)
                zipped.writestr(name, coloured.content)
                yield sink.taken()
            if failures:
                zipped.writestr("not_coloured.txt", "".join(failures))
        yield sink.taken()

    async def _coloured(self, kept: Kept, settings: Settings) -> Coloured:
        async with self._engine.decoded(kept.pixels):
            return await self._engine.by_hand(full_size, kept, settings, self._usual)


class _Sink:
    """A write-only file that hands out its contents."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass

    def taken(self) -> bytes:
        data = b"".join(self._parts)
        self._parts.clear()
        return data


def _static(path: Path) -> Any:
    async def send(request: Request) -> Response:
        return FileResponse(path, media_type=_TYPES[path.suffix])

    return send


def _described(kept: Kept) -> dict[str, Any]:
    look, part = kept.look, kept.part
    planes = look.ab if look.ab is not None else look.colors(1.0)["soft"]
    return {
        "name": kept.name,
        "height": kept.size[0],
        "width": kept.size[1],
        "grey": kept.grey.shape,
        "planes": planes.shape[:2],
        "classes": None if look.classes is None else look.classes.shape,
        "part": [part.top, part.bottom, part.left, part.right],
        "branches": look.branches,
        "scenes": look.scenes,
        "notes": [note for note in kept.notes if not any(option in note for option in _NOT_KEPT)],
    }


def _possible(usual: ColorChoice, kept: Kept) -> ColorChoice:
    """Returns the default colours that the network's branches allow."""
    branches = kept.look.branches
    branch = "both" if len(branches) == 2 else branches[0]
    return ColorChoice(branch, temperature=usual.temperature, share=usual_share(usual), saturation=usual.saturation)


def _as_int16(ab: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(ab * AB_SCALE), -32768, 32767).astype("<i2")


def _bytes(array: np.ndarray) -> Response:
    return Response(np.ascontiguousarray(array).tobytes(), media_type="application/octet-stream")


async def _json(request: Request) -> Any:
    try:
        return json.loads(await request.body())
    except (ValueError, RecursionError):
        raise Refused(400, "bad_settings", "The body is not valid JSON.") from None
