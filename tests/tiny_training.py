"""A training small enough to compile in seconds, on synthetic photos with all labels."""

import dataclasses
import os
import signal

import numpy as np
import pytest
from PIL import Image

from semcolor_jax.config import default
from semcolor_jax.data.example import Sample


@dataclasses.dataclass(frozen=True)
class MemorySource:
    """Random photos held in memory, every second one with labels and a scene."""

    count: int
    side: int = 40
    name: str = "memory"

    def __len__(self):
        return self.count

    @property
    def names(self):
        return [f"photo{i}" for i in range(self.count)]

    def read(self, index):
        rng = np.random.default_rng(index)
        # Smooth colour fields, so that there is something to learn from and augmentation has no noise to average.
        corners = Image.fromarray(rng.integers(0, 256, size=(2, 2, 3)).astype(np.uint8))
        image = np.asarray(corners.resize((self.side, self.side), Image.Resampling.BILINEAR))
        labelled = index % 2 == 0
        return Sample(
            name=self.names[index],
            image=image,
            labels=np.full((self.side, self.side), index % 5 if labelled else 255, np.uint8),
            scene_index=np.array([index % 365, 1, 2, 3, 4], np.int32),
            scene_prob=np.array([0.6, 0.1, 0.1, 0.1, 0.1] if labelled else [0.0] * 5, np.float32),
        )

    def load(self, index):
        import tensorflow as tf  # here: processes that do without it start faster

        samples = [self.read(i) for i in range(self.count)]
        stacked = {
            field: tf.constant(np.stack([getattr(sample, field) for sample in samples]))
            for field in ("image", "labels", "scene_index", "scene_prob")
        }
        return {field: tf.gather(values, index) for field, values in stacked.items()}


@pytest.fixture
def tiny_config():
    config = default()
    config.name = "tiny"
    config.model.width = 4
    config.model.scene_features = 8
    config.data.source = "embedded"  # replaced by the in-memory source
    config.data.short_side = 36
    config.data.image_size = 32
    config.data.batch_size = 2
    config.data.prior_images = 4
    config.schedule.stage1_epochs = 2
    config.schedule.stage2_epochs = 1
    config.train.log_every_steps = 3
    config.train.checkpoint_every_steps = 4
    config.train.eval_every_steps = 6
    config.train.eval_samples = 2
    config.train.grid_samples = 1
    return config


@pytest.fixture
def memory_data(monkeypatch):
    """Makes the loop read photos from memory: 8 for training, 3 for validation."""
    sources = {"train": MemorySource(8), "val": MemorySource(3)}
    monkeypatch.setattr("semcolor_jax.training.loop.make_source", lambda config, split: sources[split])
    return sources


def stop_after(monkeypatch, stop_step):
    """Sends the process SIGTERM, as a cluster does before it takes a machine away, while `stop_step` runs."""
    from semcolor_jax.training import loop

    original = loop.make_train_step

    def make(*args, **kwargs):
        step = original(*args, **kwargs)

        def step_and_signal(state, batch):
            if int(state.step) + 1 == stop_step:
                os.kill(os.getpid(), signal.SIGTERM)
            return step(state, batch)

        return step_and_signal

    monkeypatch.setattr(loop, "make_train_step", make)
