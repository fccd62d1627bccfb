"""Writes coloured frames in parts, and joins these with the film's other streams."""

from __future__ import annotations

import heapq
import io
import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
from av.codec.context import Flags
from av.rational import AVRational
from jaxtyping import UInt8

from semcolor_jax.errors import UserError
from semcolor_jax.inference.video.film import Film, Frame
from semcolor_jax.inference.video.parts import Part

FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
"""The formats that can be written, by suffix."""

QUALITY = 16
"""The encoder's constant rate factor: 0 is lossless, 51 the worst."""

_OF_THE_FILE = {"encoder", "major_brand", "minor_version", "compatible_brands"}  # tags that belong to the old file


def format_for(path: Path) -> str:
    """Returns PyAV's name of the format. Raises `UserError` for a suffix that is not in `FORMATS`."""
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"cannot write {path}: a film is written as {', '.join(FORMATS)}.")
    return FORMATS[path.suffix.lower()]


def check_streams(film: Film, target: Path) -> None:
    """Raises `UserError` if the format cannot hold the film's sound or subtitles as they are."""
    with av.open(io.BytesIO(), "w", format=format_for(target)) as container:
        known = container.supported_codecs
        for stream in film.others:
            context = stream.codec_context
            names = {context.name, context.codec.canonical_name} if context is not None else set()
            attached = stream.type == "attachment"
            fits = container.format.name == "matroska" if attached else bool(names & known)
            if not fits:
                what = min(names, default="no known codec")
                raise UserError(
                    f"{target} cannot hold stream {stream.index} of {film.path} ({stream.type}, {what}) as it is: "
                    f"write {target.with_suffix('.mkv').name}, which holds most kinds."
                )


class PartWriter:
    """Encodes frames into their own file, in the film's time base; a context manager.

    H.264, or VP9 in WebM, without reordered frames, so that parts can be concatenated.

    Args:
      path: of the file.
      film: the one that the frames belong to.
      format: of the result.
      quality: constant rate factor, 0..51.
    """

    def __init__(self, path: Path, film: Film, *, format: str, quality: int):
        self._film, self._quality, self._format = film, quality, format
        self._container = av.open(os.fspath(path), "w", format="nut")
        self._stream: Any = None

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None and self._stream is not None:
            self._container.mux(self._stream.encode(None))
        self._container.close()

    def write(self, pixels: UInt8[np.ndarray, "height width 3"], frame: Frame) -> None:
        """Encodes the coloured pixels of a frame."""
        if self._stream is None:
            self._stream = self._make_stream(*pixels.shape[:2])
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        picture = picture.reformat(format=self._stream.pix_fmt, dst_colorspace=self._film.matrix)
        picture.pts, picture.time_base, picture.duration = frame.time, self._film.time_base, frame.duration
        self._container.mux(self._stream.encode(picture))

    def _make_stream(self, height: int, width: int) -> Any:
        if self._format == "webm":
            name = "libvpx-vp9"
            options = {"crf": str(self._quality), "b": "0", "auto-alt-ref": "0", "cpu-used": "4", "row-mt": "1"}
        else:
            name, options = "libx264", {"crf": str(self._quality), "bf": "0"}
        stream: Any = self._container.add_stream(name, rate=self._film.rate, options=options)
        context = stream.codec_context
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuv444p" if width % 2 or height % 2 else "yuv420p"  # subsampled planes need even sides
        stream.time_base = context.time_base = self._film.time_base
        context.flags |= Flags.global_header.value
        context.color_range, context.colorspace = 1, self._film.matrix  # 16..235
        context.color_primaries = context.color_trc = self._film.matrix
        ratio = self._film.video.sample_aspect_ratio
        if ratio:
            turned = (height, width) != (self._film.video.codec_context.height, self._film.video.codec_context.width)
            context.sample_aspect_ratio = 1 / Fraction(ratio) if turned else Fraction(ratio)
        return stream


def join(
    film: Film,
    parts: Sequence[Part],
    path: Path,
    *,
    format: str,
    start: int | None = None,
    until: float = float("inf"),
) -> None:
    """Writes the coloured parts and the film's other streams, tags and chapters, without re-encoding.

    Args:
      film: source of the other streams.
      parts: in order.
      path: to write to.
      format: of the file.
      start: in the film's units of time, becomes the time 0; None leaves all times as they are.
      until: in the same units; what begins later is left out.
    """
    film.rewind()
    base = film.time_base
    shift = Fraction(0) if start is None else start * base
    first, last = (Fraction(-1 << 40) if start is None else shift), until if until == float("inf") else until * base
    out: Any
    with av.open(os.fspath(path), "w", format=format) as out, av.open(os.fspath(parts[0].file)) as example:
        out.metadata.update({k: v for k, v in film.container.metadata.items() if k.lower() not in _OF_THE_FILE})
        pictures = out.add_stream_from_template(example.streams.video[0])
        pictures.time_base = base
        pictures.metadata.update(film.video.metadata)
        copies = {}
        for stream in film.others:
            copy = copies[stream.index] = out.add_stream_from_template(stream)
            if stream.type != "attachment":
                copy.time_base = stream.time_base
            copy.metadata.update(stream.metadata)
            copy.disposition = stream.disposition
        if start is None and until == float("inf") and format != "webm":
            out.set_chapters(film.container.chapters())
        streams = [stream for stream in film.others if stream.type != "attachment"]
        coloured = ((_time(packet), pictures, packet) for packet in _of_parts(parts, base))
        packets = film.container.demux(streams) if streams else iter(())
        copied = ((_time(packet), copies[packet.stream.index], packet) for packet in _whole(packets))
        for time, stream, packet in heapq.merge(coloured, copied, key=lambda entry: entry[0]):
            if first <= time < last:
                _move(packet, shift)
                packet.stream = stream
                out.mux(packet)


def _of_parts(parts: Sequence[Part], base: Fraction) -> Iterator[Any]:
    """Yields the packets of the parts; each lasts until the next one."""
    waiting: Any = None
    for part in parts:
        with av.open(os.fspath(part.file)) as container:
            for packet in container.demux(container.streams.video[0]):
                if packet.pts is None:
                    continue
                packet.rescale_ts(AVRational(base))
                packet.dts = packet.pts  # stored in the order shown
                if waiting is not None:
                    waiting.duration = packet.pts - waiting.pts
                    yield waiting
                waiting = packet
            if part is parts[-1] and waiting is not None:
                waiting.duration = max(1, part.end - waiting.pts)
                yield waiting


def _whole(packets: Iterator[Any]) -> Iterator[Any]:
    """Yields the packets that have a time: the last one of each stream is empty."""
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError:  # the end of a file that is cut short
            return
        if packet is None:
            return
        if packet.pts is not None or packet.dts is not None:
            yield packet


def _time(packet: Any) -> Fraction:
    return (packet.pts if packet.pts is not None else packet.dts) * Fraction(packet.time_base)


def _move(packet: Any, shift: Fraction) -> None:
    if shift:
        units = round(shift / Fraction(packet.time_base))
        packet.pts = None if packet.pts is None else packet.pts - units
        packet.dts = None if packet.dts is None else packet.dts - units
