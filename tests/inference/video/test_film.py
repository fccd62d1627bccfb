"""Films through the whole of `colorize_video`, with a network of one colour."""

from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pytest

from semcolor_jax.errors import UserError
from semcolor_jax.inference.branches import ColorChoice
from semcolor_jax.inference.colorize import Colorizer
from semcolor_jax.models import Predictions

pytest.importorskip("av", reason="needs the extra `video`")
pytest.importorskip("cv2", reason="needs the extra `video`")

import av
from clips import TIMES_OF_A_PHONE, decoded, packets, pictures, write_film

from semcolor_jax.inference.video import colorize as module
from semcolor_jax.inference.video.colorize import VideoOptions, colorize_video
from semcolor_jax.inference.video.film import Film


class Warm:
    """A network that sees warm colours everywhere, counts its frames, and may be stopped."""

    def __init__(self, *, stop_after=None):
        self.frames, self.stop_after = 0, stop_after

    def __call__(self, lightness):
        if self.stop_after is not None and self.frames >= self.stop_after:
            raise KeyboardInterrupt
        self.frames += len(lightness)
        ab = np.full((*lightness.shape[:3], 2), 20, np.float32)
        ab[..., 0] += 0.05 * lightness[..., 0]  # each frame somewhat otherwise
        return Predictions(ab=jnp.asarray(ab))


def colorizer(network=None):
    return Colorizer(Warm() if network is None else network, side=32, choice=ColorChoice("reg"))


def facts(path):
    with av.open(str(path)) as container:
        tags = {key.lower(): value for key, value in container.metadata.items() if "encoder" not in key.lower()}
        return tags, container.duration, [stream.type for stream in container.streams]


@pytest.mark.parametrize(
    ("name", "film"),
    [
        ("a.mp4", {"metadata": {"title": "Home", "comment": "1931"}}),
        ("a.mkv", {"subtitles": True, "metadata": {"title": "Home", "CAMERA": "Pathe"}}),
        ("a.mov", {"frames": list(pictures(7)), "times": TIMES_OF_A_PHONE, "base": Fraction(1, 25000)}),
        ("b.mkv", {"frames": list(pictures(6, 47, 63)), "audio": False, "codec": "ffv1"}),
    ],
)
def test_what_stays(tmp_path, name, film):
    source = write_film(tmp_path / name, **film)
    outcome = colorize_video(colorizer(), source, tmp_path / f"new_{name}")
    target = tmp_path / f"new_{name}"
    times, before = decoded(source)
    new_times, after = decoded(target)
    assert outcome.frames == len(times) == len(new_times)
    assert new_times == times
    assert before.shape == after.shape
    assert facts(target) == facts(source)
    for kind in {"audio", "subtitle"} & set(facts(source)[2]):
        assert packets(target, kind) == packets(source, kind)
    assert np.abs(after.mean(axis=-1) - before.mean(axis=-1)).mean() < 12  # luminance stays, not the mean of R, G and B
    assert (after[..., 0].mean(axis=(1, 2)) > after[..., 2].mean(axis=(1, 2)) + 30).all()
    assert {path.name for path in tmp_path.iterdir()} == {name, f"new_{name}"}


def test_the_lightness_is_the_film_s(tmp_path):
    source = write_film(tmp_path / "a.mkv", codec="ffv1", audio=False)
    colorize_video(colorizer(), source, tmp_path / "b.mkv", VideoOptions(quality=1))
    weights = np.array([0.2126, 0.7152, 0.0722])
    before, after = ((decoded(path)[1] / 255.0) ** 2.2 @ weights for path in (source, tmp_path / "b.mkv"))
    assert np.abs(after - before).mean() < 0.01


def test_a_stopped_run_goes_on_and_gives_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PART_FRAMES", 8)
    source = write_film(tmp_path / "a.mp4", frames=list(pictures(25, cut=14)))
    whole = colorize_video(colorizer(), source, tmp_path / "whole.mp4")
    assert whole.cuts == 1
    with pytest.raises(KeyboardInterrupt):
        colorize_video(colorizer(Warm(stop_after=12)), source, tmp_path / "parts.mp4")
    folder = tmp_path / ".parts.mp4.parts"
    assert sorted(path.name for path in folder.iterdir()) == ["000000.npz", "000000.nut", "parts.jsonl"]
    assert not (tmp_path / "parts.mp4").exists()
    # What a killed process leaves: half a part under a temporary name, half a line.
    (folder / ".semcolor-999999999-0a.nut").write_bytes(b"half")
    with open(folder / "parts.jsonl", "a") as record:
        record.write('{"key": "0a')

    network, told = Warm(), []
    outcome = colorize_video(
        colorizer(network), source, tmp_path / "parts.mp4", progress=lambda *numbers: told.append(numbers)
    )
    assert outcome.frames == 25
    assert told[0] == (8, 25)
    assert told[-1] == (25, 25)
    assert network.frames == 20  # 17, filled up to batches of 4
    assert packets(tmp_path / "parts.mp4", "video") == packets(tmp_path / "whole.mp4", "video")
    assert not folder.exists()


def test_parts_of_another_film_or_other_settings_are_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PART_FRAMES", 8)
    source = write_film(tmp_path / "a.mp4")
    for options, settings in ((VideoOptions(), 1), (VideoOptions(steady=1), None)):
        with pytest.raises(KeyboardInterrupt):
            colorize_video(colorizer(Warm(stop_after=12)), source, tmp_path / "b.mp4", options, settings=settings)
        network = Warm()
        colorize_video(colorizer(network), source, tmp_path / "b.mp4")
        assert network.frames == 28


def test_a_range(tmp_path):
    source = write_film(tmp_path / "a.mp4")
    colorize_video(colorizer(), source, tmp_path / "b.mp4", VideoOptions(start=0.2, end=0.6))
    times, after = decoded(tmp_path / "b.mp4")
    np.testing.assert_allclose(times, np.arange(10) / 25, atol=1e-6)
    before = decoded(source)[1][5:15]
    assert np.abs(after.mean(axis=-1) - before.mean(axis=-1)).mean() < 12
    sound = {content: time for time, content in packets(source, "audio")}
    kept = packets(tmp_path / "b.mp4", "audio")
    assert len(kept) == 3
    np.testing.assert_allclose([sound[content] - time for time, content in kept], 0.2, atol=1e-4)


def test_a_range_without_frames(tmp_path):
    source = write_film(tmp_path / "a.mp4")
    with pytest.raises(UserError, match="no frames that can be read in that range"):
        colorize_video(colorizer(), source, tmp_path / "b.mp4", VideoOptions(start=5))
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_a_film_that_lies_on_its_side_is_turned(tmp_path):
    source = write_film(tmp_path / "a.mp4", rotation=90)
    colorize_video(colorizer(), source, tmp_path / "b.mp4")
    before, after = decoded(source)[1], decoded(tmp_path / "b.mp4")[1]
    turned = np.rot90(before, axes=(1, 2))  # FFmpeg's angles are counterclockwise
    assert np.abs(after.mean(axis=-1) - turned.mean(axis=-1)).mean() < 12


def test_a_film_that_is_cut_short_is_coloured_as_far_as_it_goes(tmp_path):
    whole = write_film(tmp_path / "a.mkv", audio=False, codec="ffv1")
    (tmp_path / "b.mkv").write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    outcome = colorize_video(colorizer(), tmp_path / "b.mkv", tmp_path / "c.mkv")
    assert 5 < outcome.frames < 25
    assert len(decoded(tmp_path / "c.mkv")[0]) == outcome.frames


def test_files_that_are_no_films(tmp_path):
    (tmp_path / "text.mp4").write_text("no film")
    with pytest.raises(UserError, match=r"text.mp4 cannot be read as a film"):
        Film(tmp_path / "text.mp4")
    with pytest.raises(UserError, match=r"none.mp4 cannot be read as a film: No such file"):
        Film(tmp_path / "none.mp4")
    with av.open(str(tmp_path / "sound.wav"), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    with pytest.raises(UserError, match="has no film in it"):
        Film(tmp_path / "sound.wav")


@pytest.mark.parametrize(
    ("target", "match"),
    [
        ("a.mp4", "would replace the film itself"),
        ("b.gif", r"a film is written as \.mp4"),
        ("b.webm", r"cannot hold stream 1 of .* \(audio, aac\) as it is: write b.mkv"),
    ],
)
def test_results_that_cannot_be(tmp_path, target, match):
    source = write_film(tmp_path / "a.mp4")
    with pytest.raises(UserError, match=match):
        colorize_video(colorizer(), source, tmp_path / target)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize("wrong", [{"quality": 52}, {"steady": 0}, {"start": -1.0}, {"start": 2.0, "end": 1.0}])
def test_options_out_of_range(wrong):
    with pytest.raises(UserError, match="must"):
        VideoOptions(**wrong)


def test_webm_is_vp9(tmp_path):
    source = write_film(tmp_path / "a.mp4", frames=list(pictures(6)), audio=False)
    colorize_video(colorizer(), source, tmp_path / "b.webm")
    with av.open(str(tmp_path / "b.webm")) as container:
        assert container.streams.video[0].codec_context.codec.canonical_name == "vp9"
    assert len(decoded(tmp_path / "b.webm")[0]) == 6
