"""Exported networks, run by onnxruntime and by `jax.export`, give the colours that the program gives."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from semcolor_jax.baselines.build import build_model
from semcolor_jax.checkpoints.models import DEFAULT_MODEL, OpenedModel, open_model
from semcolor_jax.checkpoints.releases import save_release
from semcolor_jax.cli.main import main
from semcolor_jax.config import default
from semcolor_jax.errors import UserError
from semcolor_jax.inference import export
from semcolor_jax.inference.network import read_out
from semcolor_jax.inference.restore import color_choice
from semcolor_jax.models.semcolor import SemColorNet

ROOT = Path(__file__).parents[2]
SHAPES = [(2, 32, 64, 1), (1, 96, 32, 1)]
WITHOUT_EXTRA = "needs the extra `export`: pip install 'semcolor-jax[export]'"


def opened(**fields):
    """A tiny network of random weights; He's variance, so that its colours differ from pixel to pixel."""
    config = default()
    config.model.update({"width": 2, "scene_features": 4, "output_stride": 2, **fields})
    config.inference.update({"branch": "both", "share": 0.25, "side": 96})
    model, rng = build_model(config), np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 16, 16, 1)), train=False))

    def draw(array):
        if len(array.shape) == 1:
            return rng.uniform(0.1, 0.3, array.shape).astype(np.float32)
        return rng.normal(0, np.sqrt(2 / np.prod(array.shape[:-1])), array.shape).astype(np.float32)

    return OpenedModel(config, model, jax.tree.map(draw, dict(shapes)), path=Path("tiny"), step=None, origin="tiny")


@pytest.fixture(scope="module")
def tiny():
    return opened()


@pytest.fixture(scope="module")
def photos(tiny):
    """Lightness of each shape, and the program's own colours."""
    rng = np.random.default_rng(1)
    lightness = [rng.uniform(0, 100, shape).astype(np.float32) for shape in SHAPES]
    choice = color_choice(tiny.config)
    expected = [read_out(tiny.model, tiny.variables, each, choice=choice, colors_only=True).ab for each in lightness]
    assert all(np.std(ab) > 1 for ab in expected)
    return list(zip(lightness, expected, strict=True))


def test_stablehlo_read_again_gives_the_same_colours_at_any_size(tiny, photos):
    data = export.to_stablehlo(export.network_of(tiny))
    program = jax.export.deserialize(bytearray(data))
    assert set(program.platforms) >= {"cpu", "cuda", "tpu"}
    for lightness, expected in photos:
        np.testing.assert_allclose(program.call(lightness), expected, atol=1e-3)


def test_the_file_names_the_model_whole(tiny, tmp_path):
    save_release(tiny.variables, tmp_path / "mine-v1.1", config=tiny.config)
    assert export.network_of(open_model(tmp_path / "mine-v1.1")).facts["model"] == "mine-v1.1"


@pytest.mark.parametrize("width", [40, 33])
def test_stablehlo_refuses_other_sides(tiny, width):
    program = jax.export.deserialize(bytearray(export.to_stablehlo(export.network_of(tiny))))
    with pytest.raises(ValueError, match="32"):
        program.call(np.zeros((1, 32, width, 1), np.float32))


@pytest.mark.slow
def test_onnx_gives_the_same_colours_at_any_size():
    onnx = pytest.importorskip("onnx", reason=WITHOUT_EXTRA)
    pytest.importorskip("jax2onnx", reason=WITHOUT_EXTRA)
    onnxruntime = pytest.importorskip("onnxruntime", reason=WITHOUT_EXTRA)
    network = opened(encoder="vgg16")  # as the release; the example below has the paper's
    model = export.to_onnx(export.network_of(network))
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    assert session.get_modelmeta().custom_metadata_map["side"] == "96"
    assert [(value.name, len(value.shape)) for value in session.get_inputs()] == [("lightness", 4)]
    choice = color_choice(network.config)
    for lightness in (np.random.default_rng(1).uniform(0, 100, shape).astype(np.float32) for shape in SHAPES):
        assert isinstance(network.model, SemColorNet)
        expected = read_out(network.model, network.variables, lightness, choice=choice, colors_only=True).ab
        (found,) = session.run(["ab"], {"lightness": lightness})
        np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.slow
def test_the_example_colours_a_photo_without_jax(tiny, tmp_path):
    pytest.importorskip("jax2onnx", reason=WITHOUT_EXTRA)
    save_release(tiny.variables, tmp_path / "tiny", config=tiny.config)
    main(["model", "export", "--model", str(tmp_path / "tiny"), "--format=onnx", "-o", str(tmp_path / "tiny.onnx")])
    grey = np.random.default_rng(2).integers(60, 200, (50, 70), np.uint8)
    Image.fromarray(grey).save(tmp_path / "old.png")
    example = str(ROOT / "experiments/run_onnx.py")
    code = "import sys, runpy; sys.modules['jax'] = None; del sys.argv[0]; runpy.run_path(sys.argv[0])"
    script = [sys.executable, "-c", code, example, str(tmp_path / "tiny.onnx"), "old.png", "new.png"]
    subprocess.run(script, cwd=tmp_path, check=True, env=os.environ | {"PYTHONPATH": ""})
    coloured = np.asarray(Image.open(tmp_path / "new.png").convert("RGB"))
    assert coloured.shape == (50, 70, 3)
    assert np.std(coloured, axis=-1).mean() > 1
    assert np.abs(np.asarray(Image.open(tmp_path / "new.png").convert("L")).astype(int) - grey).mean() < 12


def test_the_command_writes_stablehlo_and_says_what_it_takes(tiny, tmp_path, capsys):
    save_release(tiny.variables, tmp_path / "tiny", config=tiny.config)
    output = tmp_path / "tiny.jaxexport"
    main(["model", "export", "--model", str(tmp_path / "tiny"), "--format", "stablehlo", "-o", str(output)])
    assert "lightness (b, 32*h, 32*w, 1) -> ab (b, 16*h, 16*w, 2)" in capsys.readouterr().out
    assert jax.export.deserialize(bytearray(output.read_bytes())).in_avals[0].shape[3] == 1


@pytest.mark.parametrize("option", ["--trained", "--bits=8"])
def test_options_of_released_models_are_refused(option, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["model", "export", f"--model={DEFAULT_MODEL}", "--format=onnx", f"-o{tmp_path / 'a.onnx'}", option])
    assert "is for released models" in capsys.readouterr().err


def test_a_network_without_the_branch_is_refused(tiny):
    model = tiny.model.clone(branches=("soft",))
    with pytest.raises(UserError, match="no branch 'reg'; it has: soft"):
        export.network_of(dataclasses.replace(tiny, model=model))
