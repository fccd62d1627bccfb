"""What the tests of accelerator.py's trainings share."""

import pytest
from accelerator_jobs import tiny
from accelerator_jobs.session import Session

from semcolor_jax.config import default


@pytest.fixture
def session(tmp_path):
    return Session(output=tmp_path / "out", workdir=tmp_path / "work", budget=1000)


@pytest.fixture
def tiny_training(tmp_path):
    """The config of a training of a few updates on made-up photos."""
    tiny.write_photos(tmp_path / "photos")
    config = tiny.shrink(default(), photos=tmp_path / "photos")
    config.data.cache = "device"
    config.schedule.kind = "horizon"
    config.train.ema_decay = 0.9
    return config
