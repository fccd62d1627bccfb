import argparse

import jax.numpy as jnp
import numpy as np
import pytest

from semcolor_jax.cli import colorize_command, video_command
from semcolor_jax.cli.main import main
from semcolor_jax.errors import UserError
from semcolor_jax.inference.branches import ColorChoice
from semcolor_jax.inference.colorize import Colorizer
from semcolor_jax.models import Predictions

av = pytest.importorskip("av", reason="needs the extra `video`")
pytest.importorskip("cv2", reason="needs the extra `video`")


def warm(lightness):
    return Predictions(ab=jnp.full((*lightness.shape[:3], 2), 20.0))


@pytest.fixture(autouse=True)
def _network(monkeypatch):
    monkeypatch.setattr(colorize_command, "_load", lambda *_, **__: Colorizer(warm, side=32, choice=ColorChoice("reg")))


@pytest.fixture
def film(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for level in range(10):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 100 + level, np.uint8), format="rgb24")
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))
    return tmp_path / "a.mp4"


def run(*arguments):
    """Runs the program; returns its exit code."""
    try:
        main(["video", *map(str, arguments)])
    except SystemExit as stop:
        return stop.code
    return 0


def test_the_result_on_stdout_and_the_rest_on_stderr(film, tmp_path, capsys):
    assert run(film, "-o", tmp_path / "b.mkv", "--end", "0:00.2") == 0
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'b.mkv'}\n"
    assert "coloured 5 frames." in err


def test_a_result_that_is_there_is_not_replaced(film, tmp_path, capsys):
    (tmp_path / "b.mp4").write_text("mine")
    assert run(film, "-o", tmp_path / "b.mp4") == 2
    assert "is there already" in capsys.readouterr().err
    assert (tmp_path / "b.mp4").read_text() == "mine"
    assert run(film, "-o", tmp_path / "b.mp4", "--overwrite") == 0
    assert (tmp_path / "b.mp4").stat().st_size > 500


def test_ctrl_c_is_a_sentence(film, tmp_path, capsys, monkeypatch):
    def stopped(*_, progress, **__):
        progress(4, 10)
        raise KeyboardInterrupt

    monkeypatch.setattr("semcolor_jax.inference.video.colorize.colorize_video", stopped)
    assert run(film, "-o", tmp_path / "b.mp4") == 130
    assert "Stopped after 4 of 10 frames. The same command goes on from here." in capsys.readouterr().err


def test_a_broken_file_is_a_sentence(tmp_path, capsys):
    (tmp_path / "a.mp4").write_bytes(b"no film")
    assert run(tmp_path / "a.mp4", "-o", tmp_path / "b.mp4") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {tmp_path / 'a.mp4'} cannot be read as a film")


@pytest.mark.parametrize(("text", "wanted"), [("12.5", 12.5), ("1:02", 62), ("1:02:03.5", 3723.5)])
def test_times(text, wanted):
    assert video_command.seconds(text) == wanted


@pytest.mark.parametrize("text", ["", "-1", "1:2:3:4", "1.5:00", "ten"])
def test_what_is_no_time(text):
    with pytest.raises(ValueError, match=r"^$"):
        video_command.seconds(text)


def test_progress_says_how_long_it_will_take(capsys, monkeypatch):
    clock = iter([0.0, 5.0, 20.0])
    monkeypatch.setattr(video_command.time, "monotonic", lambda: next(clock))
    progress = video_command._Progress()
    for done in (10, 30, 50):
        progress(done, 250)
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["going on after 10 frames that are done.", "50 of 250 frames, 2.0 a second, 0:01:40 left"]


def test_mistakes_are_told_before_the_network_is_loaded(film, tmp_path, monkeypatch):
    monkeypatch.setattr(colorize_command, "_load", lambda *_, **__: pytest.fail("was loaded"))
    parser = argparse.ArgumentParser()
    video_command.add_parser(parser.add_subparsers())
    arguments = parser.parse_args(["video", str(film), "-o", str(tmp_path / "b.mp4"), "--quality", "99"])
    with pytest.raises(UserError, match=r"0\.\.51"):
        video_command.run(arguments)
