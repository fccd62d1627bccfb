"""PSNR and L2ab in both forms: the paper's mean of the channels, and the field's pooled one."""

import jax.numpy as jnp
import numpy as np
import pytest
from photo_pairs import photo_pairs
from PIL import Image
from skimage.color import rgb2lab
from skimage.metrics import peak_signal_noise_ratio

from semcolor_jax.data.example import Sample, no_labels, no_scene
from semcolor_jax.evaluation.evaluate import evaluate
from semcolor_jax.evaluation.report import format_table
from semcolor_jax.evaluation.score import run
from semcolor_jax.evaluation.score.measures import make_measure
from semcolor_jax.models import Predictions

SIDE = 32


def expected(truth, prediction):
    """The four numbers of one pair, by scikit-image and eqs. 21 to 23."""
    channels = [peak_signal_noise_ratio(truth[..., c], prediction[..., c], data_range=255) for c in range(3)]
    difference = (rgb2lab(truth) - rgb2lab(prediction))[..., 1:]
    of_channels = np.sqrt((difference**2).sum((0, 1))) / (2 * SIDE * SIDE)
    return {
        "psnr": peak_signal_noise_ratio(truth, prediction, data_range=255),
        "psnr_channels": np.mean(channels),
        "l2_ab": np.sqrt((difference**2).sum()) / (2 * SIDE * SIDE),
        "l2_ab_channels": of_channels.mean(),
    }


def test_evaluate_has_both_forms_and_names_them():
    truths, _ = photo_pairs(3, side=SIDE)
    samples = [Sample(str(i), image, no_labels(image), *no_scene()) for i, image in enumerate(truths)]
    seen = []

    def predict(lightness):
        ab = np.full((*lightness.shape[:3], 2), [5, 20], np.float32)
        seen.append(ab)
        return Predictions(ab=jnp.asarray(ab))

    result = evaluate(predict, samples, temperature=1.0, size=None)
    forms = result.branches["reg"]
    assert forms["psnr_channels"] > forms["psnr"]
    assert 0 < forms["l2_ab_channels"] < forms["l2_ab"]
    header = format_table(result).splitlines()[0]
    assert "PSNR dB (channels)" in header
    assert "PSNR dB (pooled)" in header
    assert "L2ab (channels)" in header
    assert "L2ab (pooled)" in header


def test_score_has_both_forms(tmp_path):
    pairs = photo_pairs(3, side=SIDE)
    for folder, images in zip(("originals", "method"), pairs, strict=True):
        (tmp_path / folder).mkdir()
        for index, image in enumerate(images):
            Image.fromarray(image).save(tmp_path / folder / f"{index}.png")
    measures = [make_measure(name) for name in ("psnr", "l2ab")]
    scored = run.score(
        tmp_path / "originals", [tmp_path / "method"], output=tmp_path / "out", size=None, measures=measures
    )
    for index, pair in enumerate(zip(*pairs, strict=True)):
        for name, value in expected(*pair).items():
            assert scored.images["method"][str(index)][name] == pytest.approx(value, rel=1e-3), name
