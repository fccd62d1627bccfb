"""The HTTP endpoint: `POST /colorize`, `/healthz`, and their OpenAPI description."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from typing import Any, TypeVar

from python_multipart.exceptions import FormParserError
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from semcolor_jax import __version__
from semcolor_jax.photos.formats import MEDIA_TYPES, SUFFIXES
from semcolor_jax.web.engine import Engine
from semcolor_jax.web.limits import Refused
from semcolor_jax.web.names import disposition, safe_name, with_suffix
from semcolor_jax.web.options import OPTIONS, read_options

T = TypeVar("T")

IMAGE = "image"
"""The form field that holds the photo."""


def routes(engine: Engine) -> list[Route]:
    """Returns the endpoint's routes."""

    async def colorize(request: Request) -> Response:
        engine.check_place()  # before the upload, to spare the client it
        content, name, fields = await _form(request)
        asked = read_options(fields, engine.colorizer.choice)
        async with engine.place():
            coloured = await _while_wanted(request, engine.colorize(content, asked, name=name))
        headers = {
            "content-disposition": disposition(with_suffix(name, SUFFIXES[coloured.format])),
            "semcolor-notes": json.dumps(coloured.notes),
        }
        return Response(coloured.content, media_type=MEDIA_TYPES[coloured.format], headers=headers)

    async def health(request: Request) -> Response:
        return JSONResponse({"status": "ok", "version": __version__, "waiting": engine.admitted})

    async def describe(request: Request) -> Response:
        return JSONResponse(description(engine))

    return [
        Route("/colorize", colorize, methods=["POST"]),
        Route("/healthz", health),
        Route("/openapi.json", describe),
    ]


async def _while_wanted(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Returns the work's result, or cancels it when the client leaves. The request's body must have been read."""
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Refused(499, "gone", "The client has left.")
        return task.result()
    finally:
        for future in (task, gone):
            future.cancel()


async def _form(request: Request) -> tuple[bytes, str, dict[str, str]]:
    """Returns the photo, its name for messages, and the other fields."""
    kind = request.headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != "multipart/form-data":
        raise Refused(415, "not_a_form", f"Send the photo as the field {IMAGE!r} of multipart/form-data.")
    parser = MultiPartParser(
        request.headers, request.stream(), max_files=1, max_fields=2 * len(OPTIONS), max_part_size=2**16
    )
    parser.spool_max_size = 2**40  # in memory: the guard has bounded the body
    try:
        form = await parser.parse()
    except (MultiPartException, FormParserError) as error:
        raise Refused(400, "bad_form", f"The form cannot be read: {' '.join(str(error).split())}") from error
    try:
        photos = [value for key, value in form.multi_items() if key == IMAGE and not isinstance(value, str)]
        if not photos:
            raise Refused(400, "no_photo", f"The form has no file in the field {IMAGE!r}.")
        fields = {key: value for key, value in form.multi_items() if isinstance(value, str)}
        return await photos[0].read(), safe_name(photos[0].filename), fields
    finally:
        await form.close()


def description(engine: Engine) -> dict[str, Any]:
    """Returns the OpenAPI description of the endpoint."""
    limits = engine.limits
    usual = engine.colorizer.choice
    defaults = {
        "branch": usual.branch,
        "temperature": usual.temperature,
        "soft_weight": usual.share,
        "saturation": usual.saturation,
    }
    fields = {
        name: {**option.schema, **({"default": defaults[name]} if name in defaults else {})}
        for name, option in OPTIONS.items()
    }
    photo = {"type": "string", "format": "binary", "description": "A photo's file, of any kind that `semcolor` reads."}
    form = {"type": "object", "required": [IMAGE], "properties": {IMAGE: photo, **fields}}
    later = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
    refusals = {
        "400": ("The form or an option is wrong.", {}),
        "401": ("The token is missing (servers that are shared in a network).", {}),
        "403": ("A page from elsewhere asks.", {}),
        "408": ("The upload came too slowly.", {}),
        "413": (f"More than {limits.upload_bytes // 2**20} MiB or {limits.pixels / 1e6:g} megapixels.", {}),
        "415": ("The file is no photo that can be read, or is damaged.", {}),
        "429": (f"{limits.queue} photos are waiting already.", later),
        "503": (f"Not done within {limits.answer_seconds:g} seconds.", later),
    }
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    coloured = {
        "description": "The coloured photo, with the metadata of the photo sent.",
        "headers": {
            "Semcolor-Notes": {"schema": {"type": "string"}, "description": "A JSON list of what is worth knowing."}
        },
        "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "semcolor", "version": __version__, "description": "Colours black-and-white photos."},
        "paths": {
            "/colorize": {
                "post": {
                    "summary": "Colour a photo.",
                    "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}},
                    "responses": {
                        "200": coloured,
                        **{
                            status: {"description": text, "headers": headers, "content": error}
                            for status, (text, headers) in refusals.items()
                        },
                    },
                }
            },
            "/healthz": {
                "get": {"summary": "Say whether the server is there.", "responses": {"200": {"description": "It is."}}}
            },
            "/openapi.json": {
                "get": {"summary": "This description.", "responses": {"200": {"description": "OpenAPI 3.1."}}}
            },
        },
        "components": {
            "schemas": {
                "Error": {
                    "type": "object",
                    "required": ["error", "reason"],
                    "properties": {
                        "error": {"type": "string", "description": "For programs."},
                        "reason": {"type": "string", "description": "For people."},
                    },
                }
            },
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }
