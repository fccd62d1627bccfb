import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest
from skimage.color import rgb2lab

from semcolor_jax.color import AB_BINS
from semcolor_jax.data.example import Sample
from semcolor_jax.errors import UserError
from semcolor_jax.evaluation.evaluate import center_square, evaluate
from semcolor_jax.evaluation.report import format_table, write_json
from semcolor_jax.metrics import similarity
from semcolor_jax.models import Predictions


def grey_predictor(lightness: np.ndarray) -> Predictions:
    return Predictions(ab=jnp.zeros((*lightness.shape[:3], 2)))


def one_hot(classes: np.ndarray, depth: int) -> np.ndarray:
    return np.eye(depth, dtype=np.float32)[classes]


def seen_sample(sample: Sample, size: int | None) -> Sample:
    return sample if size is None else center_square(sample, size=size)


@pytest.mark.parametrize("size", [None, 16])
def test_the_true_colours_score_high(make_sample, true_colors, size):
    sample = make_sample()
    result = evaluate(lambda lightness: true_colors(seen_sample(sample, size)), [sample], temperature=0.38, size=size)
    assert result.branches["reg"]["psnr"] > 50
    assert result.branches["reg"]["ssim"] > 0.999
    assert result.branches["reg"]["ab_distance"] < 0.5
    assert result.branches["grey"]["psnr"] < 30
    assert result.monitor == result.branches["reg"]["psnr"]


def test_no_colour_scores_as_the_grey_copy(make_sample):
    samples = [make_sample(seed=seed) for seed in range(3)]
    result = evaluate(grey_predictor, samples, temperature=0.38, size=None)
    assert result.branches["reg"] == result.branches["grey"]
    assert set(result.branches) == {"grey", "reg"}


def test_the_network_sees_lightness(make_sample):
    sample = make_sample()
    seen = []

    def predict(lightness):
        seen.append(lightness)
        return grey_predictor(lightness)

    evaluate(predict, [sample], temperature=1.0, size=None)
    np.testing.assert_allclose(seen[0], rgb2lab(sample.image)[None, ..., :1], atol=0.02)


def test_soft_branch_is_decoded_at_the_temperature(make_sample):
    # All probability on one bin gives that bin's colour at any temperature; the bin (0, 0) is grey.
    grey = int(np.argmin(np.linalg.norm(AB_BINS, axis=-1)))

    def predict(lightness):
        logits = np.zeros((*lightness.shape[:3], 313), np.float32)
        logits[..., grey] = 100
        return Predictions(color_logits=jnp.asarray(logits))

    result = evaluate(predict, [make_sample()], temperature=0.38, size=None)
    assert result.branches["soft"]["psnr"] == pytest.approx(result.branches["grey"]["psnr"], abs=0.01)
    assert result.monitor == result.branches["soft"]["psnr"]


def test_means_are_over_the_images(make_sample):
    samples = [make_sample(seed=seed) for seed in range(2)]
    single = [evaluate(grey_predictor, [sample], temperature=1.0, size=None) for sample in samples]
    both = evaluate(grey_predictor, iter(samples), temperature=1.0, size=None)
    assert both.images == 2
    for metric, value in both.branches["grey"].items():
        assert value == pytest.approx(np.mean([result.branches["grey"][metric] for result in single]))
    images = np.stack([sample.image for sample in samples])
    expected = np.mean(similarity.colourfulness(images).absolute)
    assert both.truth_colourfulness == pytest.approx(expected)


def test_a_grey_photo_keeps_the_mean_finite(make_sample):
    sample = dataclasses.replace(make_sample(height=12, width=12), image=np.full((12, 12, 3), 77, np.uint8))
    result = evaluate(grey_predictor, [sample], temperature=1.0, size=None)
    assert result.branches["grey"]["psnr"] == pytest.approx(similarity.PSNR_CEILING)


def test_segmentation_and_scenes_count_only_labelled_images(make_sample):
    labels = np.full((24, 32), 5, np.uint8)
    labels[:, :8] = 9
    labels[:6] = 255
    labelled, unlabelled = make_sample(seed=1, labels=labels, scene=30), make_sample(seed=2)
    scene_logits = np.zeros((1, 365), np.float32)
    scene_logits[0, [1, 2, 30]] = 3, 2, 1  # the truth is third

    def predict(lightness):
        constant = np.full(lightness.shape[:3], 5)
        return Predictions(
            ab=grey_predictor(lightness).ab,
            seg_logits=jnp.asarray(one_hot(constant, 183)),
            scene_logits=jnp.asarray(scene_logits),
        )

    result = evaluate(predict, [labelled, unlabelled], temperature=1.0, size=None)
    assert result.images == 2
    assert result.segmentation is not None
    assert result.segmentation.images == 1
    assert result.segmentation.pixel_accuracy == pytest.approx(0.75)
    assert result.segmentation.mean_iou == pytest.approx((0.75 + 0) / 2)
    assert result.scenes is not None
    assert (result.scenes.images, result.scenes.unlabelled) == (1, 1)
    assert (result.scenes.top1, result.scenes.top5) == (0, 1)


def test_branches_without_labels_have_no_score(make_sample):
    def predict(lightness):
        seg = jnp.zeros((*lightness.shape[:3], 183))
        scene = jnp.zeros((1, 365))
        return Predictions(ab=grey_predictor(lightness).ab, seg_logits=seg, scene_logits=scene)

    result = evaluate(predict, [make_sample()], temperature=1.0, size=None)
    assert result.segmentation is None
    assert result.scenes is None


def test_no_samples_is_the_users_mistake():
    with pytest.raises(UserError, match="no samples"):
        evaluate(grey_predictor, [], temperature=1.0, size=None)


@pytest.mark.parametrize(("height", "width"), [(10, 40), (41, 13), (7, 7), (100, 33)])
def test_center_square_has_the_size(make_sample, height, width):
    square = center_square(make_sample(height=height, width=width), size=12)
    assert square.image.shape == (12, 12, 3)
    assert square.labels.shape == (12, 12)


def test_center_square_cuts_photo_and_labels_alike(make_sample):
    labels = np.zeros((8, 20), np.uint8)
    labels[:, 6:14] = 7
    image = np.repeat(labels[..., None] * 30, 3, axis=-1)
    square = center_square(dataclasses.replace(make_sample(), image=image, labels=labels), size=8)
    assert (square.image == 210).all()
    assert (square.labels == 7).all()


def test_center_square_makes_no_new_classes(make_sample):
    labels = np.where(np.arange(50)[None] < 25, 1, 99).astype(np.uint8).repeat(50, axis=0)
    square = center_square(make_sample(height=50, width=50, labels=labels), size=16)
    assert set(np.unique(square.labels)) == {1, 99}


@pytest.fixture
def full_result(make_sample):
    labels = np.full((24, 32), 5, np.uint8)

    def predict(lightness):
        shape = lightness.shape[:3]
        return Predictions(
            ab=jnp.zeros((*shape, 2)),
            color_logits=jnp.zeros((*shape, 313)),
            seg_logits=jnp.asarray(one_hot(np.full(shape, 5), 183)),
            scene_logits=jnp.arange(365.0)[None],
        )

    samples = [make_sample(labels=labels, scene=364), make_sample(seed=1)]
    return evaluate(predict, samples, temperature=0.5, size=16)


def test_table_names_rows_counts_baselines_and_protocol(full_result):
    table = format_table(full_result)
    lines = table.splitlines()
    starts = [line.split("  ")[0] for line in lines]
    assert [s for s in starts if s in ("grey copy", "regression", "annealed mean")] == [
        "grey copy",
        "regression",
        "annealed mean",
    ]
    grey = next(line for line in lines if line.startswith("grey copy")).split()
    assert grey[2] == f"{full_result.branches['grey']['psnr_channels']:.2f}"
    assert grey[3] == f"{full_result.branches['grey']['psnr']:.2f}"
    assert grey[4] == f"{full_result.branches['grey']['ssim']:.4f}"
    assert "mIoU 100.0%" in table
    assert 'always "airplane"' in table
    assert "1 of 2 images" in table
    assert "top-1 100.0%" in table
    assert "T=0.5" in table
    assert "16x16" in table


def test_table_names_the_networks_ab_as_the_network_says(make_sample):
    def predict(lightness):
        return Predictions(ab=jnp.zeros((*lightness.shape[:3], 2)), ab_title="decoded histograms")

    table = format_table(evaluate(predict, [make_sample()], temperature=1.0, size=None))
    assert "decoded histograms  " in table
    assert "regression" not in table
    assert "annealed mean" not in table


def test_table_leaves_out_what_was_not_measured(make_sample):
    table = format_table(evaluate(grey_predictor, [make_sample()], temperature=1.0, size=None))
    assert "annealed mean  " not in table
    assert "Segmentation" not in table
    assert "Scenes" not in table
    assert "full size" in table


def test_json_has_every_number_and_no_nan(full_result, tmp_path):
    path = tmp_path / "result.json"
    broken = dataclasses.replace(full_result, truth_colourfulness=float("nan"))
    write_json(path, broken)
    record = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert record["branches"] == full_result.branches
    assert record["truth_colourfulness"] is None
    assert record["segmentation"]["mean_iou"] == 1
    assert record["scenes"]["images"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"]


def test_json_into_a_missing_folder_is_the_users_mistake(full_result, tmp_path):
    with pytest.raises(UserError, match="cannot write"):
        write_json(tmp_path / "missing" / "result.json", full_result)


def test_a_photo_that_is_the_square_already_is_not_resampled(make_sample):
    sample = make_sample(height=16, width=16)
    np.testing.assert_array_equal(center_square(sample, size=16).image, sample.image)
