from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
import pytest
from skimage.color import rgb2lab

from semcolor_jax.data.example import Sample, no_labels, no_scene
from semcolor_jax.models import Predictions
from semcolor_jax.taxonomy.label_sets import NUM_SCENES

MakeSample = Callable[..., Sample]


@pytest.fixture
def make_sample() -> MakeSample:
    """Makes a smooth photo of muted colours, without labels unless given."""

    def make(*, seed: int = 0, height: int = 24, width: int = 32, labels=None, scene: int | None = None) -> Sample:
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[:height, :width][..., None] / max(height, width)
        image = 127 + 60 * np.sin(rng.uniform(1, 9, 3) * x + rng.uniform(1, 9, 3) * y + rng.uniform(0, 6, 3))
        image = image.astype(np.uint8)
        index, prob = no_scene()
        if scene is not None:
            index[:2], prob[:2] = [(scene + 1) % NUM_SCENES, scene], [0.3, 0.7]
        return Sample(
            name=f"photo_{seed}.png",
            image=image,
            labels=no_labels(image) if labels is None else labels,
            scene_index=index,
            scene_prob=prob,
        )

    return make


@pytest.fixture
def true_colors() -> Callable[[Sample], Predictions]:
    """The perfect regression: the sample's own ab, by scikit-image."""

    def predict(sample: Sample) -> Predictions:
        return Predictions(ab=jnp.float32(rgb2lab(sample.image)[None, ..., 1:]))

    return predict
