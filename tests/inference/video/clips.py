"""Small films for the tests: a panning picture, a cut, a tone, subtitles."""

from fractions import Fraction
from typing import Any

import av
import numpy as np
from PIL import Image

RATE = 25
TIMES_OF_A_PHONE = (0, 1000, 2100, 2900, 4000, 5200, 6000)  # variable frame rate, in 1/25000 s


def photo_of(height, width, seed=0):
    """A smooth colour picture with some detail (height, width, 3)."""
    rng = np.random.default_rng(seed)
    coarse, fine = (rng.integers(0, top, size, np.uint8) for top, size in ((220, (5, 5, 3)), (36, (24, 32, 3))))
    layers = [Image.fromarray(x).resize((width, height), Image.Resampling.BICUBIC) for x in (coarse, fine)]
    return np.asarray(layers[0]) // 2 * 2 - np.asarray(layers[0]) // 8 + np.asarray(layers[1]) // 2


def pictures(count=25, height=48, width=64, cut=None, still=False):
    """Grey frames (height, width, 3) under a camera that moves by a pixel a frame; of another picture from `cut` on."""
    scenes = [photo_of(height, width + count, seed)[..., :1].repeat(3, axis=-1) for seed in (0, 3)]
    for index in range(count):
        scene = scenes[0 if cut is None or index < cut else 1]
        left = 0 if still else index
        yield np.ascontiguousarray(scene[:, left : left + width])


def write_film(
    path, frames=None, *, times=None, base=None, audio=True, subtitles=False, codec="libx264", metadata=None, rotation=0
):
    """Writes a film; returns its path. Audio is a second of a tone."""
    frames = list(pictures() if frames is None else frames)
    base = Fraction(1, RATE) if base is None else base
    height, width = frames[0].shape[:2]
    with av.open(str(path), "w") as out:
        out.metadata.update(metadata or {})
        video: Any = out.add_stream(codec, rate=RATE, options={"crf": "8"} if codec == "libx264" else {})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.time_base = video.codec_context.time_base = base
        if rotation:
            video.set_display_rotation(rotation)
        sound = out.add_stream("aac", rate=8000, layout="mono") if audio else None
        text = out.add_mux_stream("subrip") if subtitles else None
        if sound is not None:
            tone = np.sin(np.arange(8000) * 0.3).astype(np.float32)[None]
            for start in range(0, 8000, 1024):
                chunk = np.zeros((1, 1024), np.float32)
                chunk[:, : tone[:, start : start + 1024].shape[1]] = tone[:, start : start + 1024]
                frame = av.AudioFrame.from_ndarray(chunk, format="fltp", layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = 8000, start, Fraction(1, 8000)
                out.mux(sound.encode(frame))
            out.mux(sound.encode(None))
        if text is not None:
            packet = av.Packet(b"Fin")
            packet.stream, packet.time_base = text, Fraction(1, 1000)
            packet.pts = packet.dts = 200
            packet.duration = 500
            out.mux(packet)
        for index, pixels in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            picture.pts, picture.time_base = index if times is None else times[index], base
            out.mux(video.encode(picture))
        out.mux(video.encode(None))
    return path


def packets(path, kind):
    """The packets of the first stream of a kind: (time in seconds, content)."""
    with av.open(str(path)) as container:
        stream = next(stream for stream in container.streams if stream.type == kind)
        return [
            (float(packet.pts * packet.time_base), bytes(packet))
            for packet in container.demux(stream)
            if packet.pts is not None
        ]


def decoded(path):
    """The frames of a film: times in seconds, and pixels (n, height, width, 3)."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    return [frame.time for frame in frames], np.stack([frame.to_ndarray(format="rgb24") for frame in frames])
