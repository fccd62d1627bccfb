"""`semcolor train --config finetune PHOTOS`: the folder on the command line, and the config."""

import json

import numpy as np
import pytest
from PIL import Image

from semcolor_jax.baselines.registry import checked
from semcolor_jax.checkpoints.configs import load_config
from semcolor_jax.checkpoints.models import DEFAULT_MODEL, find_model
from semcolor_jax.cli import flags, tasks
from semcolor_jax.cli.main import main
from semcolor_jax.errors import UserError

# ml_collections loads config files in a way that Python 3.12 and later warn of.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module.. method is deprecated:DeprecationWarning")


@pytest.fixture
def configs_seen(monkeypatch):
    """What `train` would train."""
    seen = []
    monkeypatch.setattr(tasks, "train", lambda config, workdir: seen.append((config, workdir)))
    return seen


@pytest.mark.parametrize(
    "arguments",
    [
        ["--config=finetune", "my photos"],
        ["my photos", "--config", "finetune", "--config.train.before_after=50"],
        ["--config=finetune", "--config.data.dir", "my photos"],
    ],
)
def test_the_folder_is_the_data(arguments, configs_seen):
    main(["train", *arguments, "--workdir=w"])
    ((config, workdir),) = configs_seen
    assert (config.data.source, config.data.dir, str(workdir)) == ("folder", "my photos", "w")
    checked(config)


def test_any_config_takes_a_folder(configs_seen):
    main(["train", "--config=full:regsoft", "photos", "--config.data.batch_size=3"])
    ((config, workdir),) = configs_seen
    assert (config.data.source, config.data.dir, config.data.batch_size) == ("folder", "photos", 3)
    assert str(workdir) == "runs/full-regsoft"


def test_a_folder_without_a_config_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["train", "photos", "--workdir=w"])
    assert "name one with --config" in capsys.readouterr().err


def test_the_network_is_the_released_one_with_a_frozen_encoder():
    config = flags.load_config("finetune:300", [], program="semcolor train")
    released = load_config(find_model(DEFAULT_MODEL))
    different = {field for field in config.model if config.model[field] != released.model[field]}
    assert different <= {"frozen_blocks"}
    assert config.inference.to_dict() == released.inference.to_dict()
    assert config.schedule.steps_total == 300


@pytest.mark.parametrize("steps", ["0", "many"])
def test_a_number_of_updates_that_is_none_is_refused(steps):
    with pytest.raises(UserError, match="give the number of updates"):
        flags.load_config(f"finetune:{steps}", [], program="semcolor train")


@pytest.mark.slow
def test_two_updates_end_with_a_table_and_a_picture(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        (tmp_path / "photos" / split).mkdir(parents=True)
        for index in range(count):
            corners = Image.fromarray(rng.integers(0, 256, (2, 2, 3), np.uint8))
            corners.resize((40, 40), Image.Resampling.BILINEAR).save(tmp_path / f"photos/{split}/{index}.png")
    small = ["--config.data.short_side=36", "--config.data.image_size=32", "--config.data.batch_size=2"]
    workdir = tmp_path / "w"
    main(["train", "--config=finetune:2", str(tmp_path / "photos"), f"--workdir={workdir}", *small])
    said = capsys.readouterr()
    assert "2 held-out photos" in said.out
    assert "MB on disk" in said.err
    with Image.open(workdir / "before_after.png") as picture:
        assert picture.width > 200
    scores = json.loads((workdir / "before_after.json").read_text())
    assert scores["before"]["psnr"] != scores["after"]["psnr"]
    assert scores["photos"] == 2
