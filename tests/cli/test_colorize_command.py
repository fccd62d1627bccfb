"""The command `colorize` from its arguments to files, streams and exit codes, with a network of one colour."""

import argparse
import dataclasses
import io
import json
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from semcolor_jax.cli import colorize_command
from semcolor_jax.errors import UserError
from semcolor_jax.inference.branches import ColorChoice
from semcolor_jax.inference.colorize import Colorizer
from semcolor_jax.models import Predictions
from semcolor_jax.photos.formats import NAMES


def warm(lightness):
    return Predictions(ab=jnp.full((*lightness.shape[:3], 2), 20.0))


@pytest.fixture(autouse=True)
def _network(monkeypatch):
    monkeypatch.setattr(colorize_command, "_load", lambda *_, **__: Colorizer(warm, side=16, choice=ColorChoice("reg")))


def parse(*arguments):
    parser = argparse.ArgumentParser(prog="semcolor")
    colorize_command.add_parser(parser.add_subparsers())
    return parser.parse_args(["colorize", *map(str, arguments)])


def run(*arguments):
    """Runs the command; returns its exit code."""
    try:
        colorize_command.run(parse(*arguments))
    except SystemExit as stop:
        return stop.code
    return 0


def save(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    grey = np.random.default_rng(0).integers(0, 256, (12, 18), np.uint8)
    Image.fromarray(grey).save(path)
    return path


def test_results_on_stdout_and_the_rest_on_stderr(tmp_path, capsys):
    save(tmp_path / "in/a.png")
    (tmp_path / "in/b.jpg").write_text("no photo")
    assert run(tmp_path / "in", "-o", tmp_path / "out") == 1
    out, err = capsys.readouterr()
    assert out.split() == [str(tmp_path / "out/a.png")]
    assert err.count("b.jpg is not a photo") == 2  # at once, and in the summary
    assert "1 coloured, 0 skipped, 1 failed." in err


def test_a_second_run_skips_and_overwrite_does_not(tmp_path, capsys):
    save(tmp_path / "in/a.png")
    save(tmp_path / "in/b.png")
    call = (tmp_path / "in", "-o", tmp_path / "out")
    for extra in ([], [], ["--saturation", "2"], ["--overwrite"], []):
        assert run(*call, *extra) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.endswith("failed.")]
    assert [line.split(",")[0] for line in lines] == [
        "2 coloured",
        "0 coloured",
        "2 coloured",
        "2 coloured",
        "0 coloured",
    ]


def test_one_photo_to_one_file(tmp_path):
    source = save(tmp_path / "a.png")
    assert run(source, "-o", tmp_path / "new.jpg") == 0
    with Image.open(tmp_path / "new.jpg") as image:
        assert image.format == "JPEG"
    with pytest.raises(UserError, match="names a file"):
        run(source, save(tmp_path / "b.png"), "-o", tmp_path / "new.jpg")
    with pytest.raises(UserError, match="would replace"):
        run(source, "-o", source)


def test_from_a_pipe_to_a_pipe(tmp_path, monkeypatch, capsysbinary):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(save(tmp_path / "a.png").read_bytes())))
    assert run("-") == 0
    with Image.open(io.BytesIO(capsysbinary.readouterr().out)) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")


def test_patterns_lists_and_json(tmp_path, capsys):
    for name in ("a.png", "b.png", "c.jpg"):
        save(tmp_path / "in" / name)
    (tmp_path / "list.txt").write_text(f"{tmp_path / 'in/c.jpg'}\n\n{tmp_path / 'in/missing.jpg'}\n")
    assert run(tmp_path / "in/*.png", "--from-file", tmp_path / "list.txt", "--json", "-o", tmp_path / "out") == 1
    entries = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {entry["photo"].rpartition("/")[-1]: entry["status"] for entry in entries} == {
        "missing.jpg": "failed",
        "a.png": "coloured",
        "b.png": "coloured",
        "c.jpg": "coloured",
    }
    with pytest.raises(UserError, match="No photo matches"):
        run(tmp_path / "in/*.tif", "-o", tmp_path / "out")


@pytest.mark.parametrize("arguments", [["-o", "out"], ["a.png"], ["a.png", "-o", "out", "--quality", "0"]])
def test_wrong_calls(tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "a.png")
    with pytest.raises(UserError):
        run(*arguments)


def test_another_format_and_suffix(tmp_path):
    save(tmp_path / "in/a.png")
    assert (
        run(tmp_path / "in", "-o", tmp_path / "in", "--format", "webp", "--suffix", "_new", "--size", "8", "--tta") == 0
    )
    assert (tmp_path / "in/a_new.webp").is_file()


def test_explain_draws_beside_each_result(tmp_path):
    save(tmp_path / "in/a.png")
    save(tmp_path / "in/b.png")
    save(tmp_path / "in/b.jpg")
    call = (tmp_path / "in", "-o", tmp_path / "out", "--explain")
    assert run(*call) == 0
    names = {path.name for path in (tmp_path / "out").glob("*_explain.png")}
    assert names == {"a_explain.png", "b_png_explain.png", "b_jpg_explain.png"}
    with Image.open(tmp_path / "out/a_explain.png") as image:
        assert min(image.size) > 100
    save(tmp_path / "in/a_explain.png")
    with pytest.raises(UserError, match="write over"):
        run(*call)
    with pytest.raises(UserError, match="beside a file"):
        run("-", "--explain")


def test_variants_and_their_sheet(tmp_path, monkeypatch):
    def undecided(lightness):
        return dataclasses.replace(warm(lightness), color_logits=jnp.zeros((*lightness.shape[:3], 313)))

    colorizer = Colorizer(undecided, side=16, choice=ColorChoice("soft"))
    monkeypatch.setattr(colorize_command, "_load", lambda *_, **__: colorizer)
    source = save(tmp_path / "a.png")
    assert run(source, "-o", tmp_path / "out", "--variants", 2) == 0
    names = {path.name for path in (tmp_path / "out").glob("*.png")}
    assert names == {"a.png", "a_variant1.png", "a_variant2.png", "a_variants.png"}
    with Image.open(tmp_path / "out/a_variant2.png") as image:
        assert image.size == (18, 12)
    with pytest.raises(UserError, match="number of variants"):
        run(source, "-o", tmp_path / "out", "--variants", 0, "--overwrite")


def test_ctrl_c_is_one_sentence(tmp_path, monkeypatch, capsys):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Colorizer, "colors", stop)
    assert run(save(tmp_path / "in/a.png"), "-o", tmp_path / "out") == 130
    assert capsys.readouterr().err.startswith("Stopped: 0 coloured")


def test_watching_takes_what_has_stopped_growing(tmp_path, monkeypatch, capsys):
    save(tmp_path / "in/a.png")
    (tmp_path / "in/b.png").write_text("no photo")
    looks = iter(range(4))

    def sleep(_):
        if next(looks, None) is None:
            raise KeyboardInterrupt

    monkeypatch.setattr(colorize_command.time, "sleep", sleep)
    assert run("--watch", tmp_path / "in", "-o", tmp_path / "out") == 130
    out, err = capsys.readouterr()
    assert out.split() == [str(tmp_path / "out/a.png")]
    assert err.count("b.png is not a photo") == 1


def test_help_shows_ten_options_and_help_all_the_rest(capsys):
    for option, tolerant in (("--help", False), ("--help-all", True)):
        with pytest.raises(SystemExit):
            parse(option)
        text = capsys.readouterr().out
        assert ("--tolerant" in text) == tolerant
        assert tolerant or len(text.splitlines()) <= 40


def test_help_names_every_format(capsys):
    with pytest.raises(SystemExit):
        parse("--help")
    text = capsys.readouterr().out.partition("--format F ")[2].partition("--quality")[0]
    named = {NAMES.get(word) for word in text.replace(",", " ").split()} - {None}
    assert named == set(NAMES.values())


def hints_file(tmp_path, x=3):
    path = tmp_path / "hints.json"
    path.write_text(json.dumps([{"x": x, "y": 4, "color": "#2040c0"}]))
    return path


def test_hints_colour_one_photo_and_other_hints_do_it_again(tmp_path, capsys):
    save(tmp_path / "a.png")
    call = (tmp_path / "a.png", "-o", tmp_path / "out", "--hints", hints_file(tmp_path))
    assert run(*call) == 0
    with Image.open(tmp_path / "out/a.png") as image:
        pixel = np.asarray(image)[4, 3].astype(int)
    assert pixel[2] > pixel[0]  # the network's colour is warm
    assert run(*call) == 0
    assert "skipped" in capsys.readouterr().err
    hints_file(tmp_path, x=5)
    assert run(*call) == 0
    assert "other options" in capsys.readouterr().err


def test_hints_outside_the_photo_are_one_sentence(tmp_path, capsys):
    save(tmp_path / "a.png")
    assert run(tmp_path / "a.png", "-o", tmp_path / "b.png", "--hints", hints_file(tmp_path, x=18)) == 1
    assert (
        "a.png was not coloured: Hint 1 is at (18, 4), outside the photo, which is 18 x 12" in capsys.readouterr().err
    )
    assert not (tmp_path / "b.png").exists()


def test_hints_belong_to_one_photo(tmp_path):
    save(tmp_path / "in/a.png")
    save(tmp_path / "in/b.png")
    with pytest.raises(UserError, match="there are 2 photos"):
        run(tmp_path / "in", "-o", tmp_path / "out", "--hints", hints_file(tmp_path))
    with pytest.raises(UserError, match="--watch takes many"):
        run("--watch", tmp_path / "in", "-o", tmp_path / "out", "--hints", hints_file(tmp_path))
