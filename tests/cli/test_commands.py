"""`data prior` and `data inspect`: commands that take a config."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from semcolor_jax.cli import flags as cli
from semcolor_jax.cli import tasks
from semcolor_jax.color import rebalancing_weights, rgb_to_lab
from semcolor_jax.config import default
from semcolor_jax.data.augment import training_ops
from semcolor_jax.data.embedded import EmbeddedSource
from semcolor_jax.data.pipeline import numpy_batches, train_batches
from semcolor_jax.data.prior import load_prior
from semcolor_jax.errors import UserError
from semcolor_jax.evaluation import drawing
from semcolor_jax.training import loop
from semcolor_jax.training.preparation import make_preparation

# ml_collections loads config files in a way that Python 3.12 and later warn of.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module.. method is deprecated:DeprecationWarning")

ROOT = Path(__file__).parents[2]


def _config(*overrides, path: str | None = str(ROOT / "configs/quickstart.py")):
    return cli.load_config(path, overrides, program="semcolor data prior")


def _run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "semcolor_jax", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_config_file_with_overrides():
    config = _config("--config.data.source=folder", "--config.data.dir", "/my photos", "--config.augment.flip=0.25")
    assert (config.data.source, config.data.dir, config.augment.flip) == ("folder", "/my photos", 0.25)
    assert config.name == "quickstart"
    again = _config()
    assert again.data.source == "embedded"
    with pytest.raises(AttributeError):
        again.data.sorce = "folder"


def test_a_config_file_with_an_argument():
    assert _config(path=str(ROOT / "configs/full.py:regsoft")).model.variant == "regsoft"


def test_without_a_config_file_the_defaults_can_be_overridden():
    config = _config("--config.data.mix=folder:/a=2,embedded=1", path=None)
    assert config.data.mix == "folder:/a=2,embedded=1"
    assert config.data.batch_size == default().data.batch_size


@pytest.mark.parametrize("path", [None, str(ROOT / "configs/quickstart.py")])
@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("--config.data.sorce=folder", r"'data\.sorce'; did you mean 'data\.source'"),
        ("--config.data.batch_size=many", "batch_size.*semcolor data prior --help"),
        ("--imgaes=3", "'imgaes'.*semcolor data prior --help"),
        ("photos", "no use for the argument 'photos'"),
    ],
)
def test_mistakes_in_overrides_are_one_sentence(path, override, problem):
    with pytest.raises(UserError, match=problem):
        _config(override, path=path)


def test_a_missing_config_file_is_named():
    with pytest.raises(UserError, match=r"no config 'nowhere\.py'; .* full, .*quickstart"):
        _config(path="nowhere.py")


def test_a_written_prior_is_the_one_that_training_uses(tmp_path, capsys):
    config = _config()
    tasks.write_prior(config, tmp_path / "prior.json", limit=5)
    assert f"{5 * 160 * 160} pixels of 5 photos of embedded" in capsys.readouterr().out
    written = load_prior(tmp_path / "prior.json")
    config.data.prior = str(tmp_path / "prior.json")
    (tmp_path / "work").mkdir()
    weights = loop._rebalancing(config, tmp_path / "work", EmbeddedSource("train"))
    np.testing.assert_array_equal(weights, rebalancing_weights(written.probabilities, uniform_share=0.5, sigma=5.0))
    np.testing.assert_array_equal(load_prior(tmp_path / "work" / "prior.json").probabilities, written.probabilities)


@pytest.mark.slow
def test_training_refuses_a_prior_of_another_bin_table(tmp_path):
    config = _config("--config.model.width=2", "--config.train.eval_samples=1")
    path = tmp_path / "prior.json"
    tasks.write_prior(config, path, limit=1)
    content = json.loads(path.read_text())
    content["provenance"]["bin_table"] = "0123456789abcdef"
    path.write_text(json.dumps(content))
    config.data.prior = str(path)
    with pytest.raises(UserError, match=r"prior\.json belongs to another table of colour bins"):
        loop.train(config, tmp_path / "work")
    assert not (tmp_path / "work" / "config.json").exists()


def _rows_of(image, grid):
    """Returns the rows at which a photo of 96 pixels stands in the grid's first column."""
    column = grid[:, 52:148]  # in the middle of 160 pixels, which begin at 20
    return [top for top in range(len(column) - 95) if np.array_equal(column[top : top + 96], image)]


def test_the_grid_shows_what_training_begins_with(tmp_path):
    config = _config("--config.data.image_size=96", "--config.data.short_side=112")
    tasks.inspect(config, tmp_path / "grid.png", limit=3)
    grid = np.asarray(Image.open(tmp_path / "grid.png"))
    dataset = train_batches(EmbeddedSource("train"), ops=training_ops(config), batch_size=4, seed=config.seed)
    batch = next(numpy_batches(dataset))
    assert [len(_rows_of(image, grid)) for image in batch["image"]] == [1, 1, 1, 0]


def test_the_grid_shows_borders_and_the_damage_of_old_prints_as_the_step_makes_them(tmp_path):
    config = _config("--config.data.image_size=96", "--config.data.short_side=112")
    config.augment.border, config.augment.fading, config.augment.noise = 1.0, 0.5, 0.05
    tasks.inspect(config, tmp_path / "grid.png", limit=2, seed=3)
    grid = np.asarray(Image.open(tmp_path / "grid.png"))
    config.seed = 3
    dataset = train_batches(EmbeddedSource("train"), ops=training_ops(config), batch_size=2, seed=3)
    prepared = make_preparation(config)(jax.device_put(next(numpy_batches(dataset))), jnp.zeros((), jnp.int32))
    for image, lab in zip(np.asarray(prepared.batch["image"]), np.asarray(prepared.lab), strict=True):
        (top,) = _rows_of(image, grid)
        seen = grid[top : top + 96, 52 + 160 + drawing.GAP :][:, :96]
        np.testing.assert_allclose(rgb_to_lab(seen, xp=np)[..., 0], lab[..., 0], atol=0.5)
        assert np.abs(rgb_to_lab(image, xp=np)[..., 0] - lab[..., 0]).mean() > 1


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (lambda config, out: tasks.inspect(config, out / "grid.png", limit=0), "--limit is 0"),
        (lambda config, out: tasks.inspect(config, out / "grid.txt", limit=1), r"grid\.txt: the suffix"),
        (lambda config, out: tasks.write_prior(config, out / "p.json", limit=0), "--limit is 0"),
        (lambda config, out: tasks.write_prior(config, out / "none" / "p.json"), "there is no folder"),
    ],
)
def test_mistakes_in_arguments_are_one_sentence(tmp_path, call, problem):
    with pytest.raises(UserError, match=problem):
        call(_config(), tmp_path)
    assert not any(tmp_path.iterdir())


def test_the_command_line_passes_everything_on(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 8, 3), np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (9, 8, 3), np.uint8)).save(tmp_path / "b.png")
    result = _run(
        *("data", "prior", "--config.data.source=folder", "--config.data.dir", tmp_path, "-o", tmp_path / "prior.json")
    )
    assert result.returncode == 0, result.stderr
    provenance = load_prior(tmp_path / "prior.json").provenance
    assert (provenance["images"], provenance["pixels"]) == (1, 72)  # the other one validates


def test_only_commands_with_a_config_take_overrides():
    result = _run("data", "sample-photos", "-o", "x", "--config.data.dir=y")
    assert result.returncode == 2
    assert "unrecognized arguments: --config.data.dir=y" in result.stderr
