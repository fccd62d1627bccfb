import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.color import rgb2lab
from skimage.metrics import peak_signal_noise_ratio

from semcolor_jax.metrics import similarity

images = arrays(np.uint8, (4, 5, 3))


def noisy_pair(height: int = 16, width: int = 14) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 256, (height, width, 3), np.uint8)
    noise = rng.integers(-40, 41, truth.shape)
    return truth, np.clip(truth + noise, 0, 255).astype(np.uint8)


def slow_ssim(x: np.ndarray, y: np.ndarray) -> float:
    """Wang et al. 2004, eq. 13: one channel, the windows that lie inside the image."""
    taps = np.exp(-0.5 * (np.arange(-5, 6) / 1.5) ** 2)
    window = np.outer(taps, taps) / taps.sum() ** 2
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = []
    for i in range(x.shape[0] - 10):
        for j in range(x.shape[1] - 10):
            a, b = (np.float64(image[i : i + 11, j : j + 11]) for image in (x, y))
            mean_a, mean_b = (window * a).sum(), (window * b).sum()
            var_a, var_b = (window * (a - mean_a) ** 2).sum(), (window * (b - mean_b) ** 2).sum()
            cov = (window * (a - mean_a) * (b - mean_b)).sum()
            luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
            values.append(luminance * (2 * cov + c2) / (var_a + var_b + c2))
    return float(np.mean(values))


def test_psnr_by_hand():
    truth = np.zeros((2, 2, 3), np.uint8)
    prediction = truth.copy()
    prediction[0, 0, 0] = 6  # squared errors 36 and 12^2 = 144 among 12 values: 15
    prediction[1, 1, 2] = 12
    assert similarity.psnr(truth, prediction) == pytest.approx(10 * np.log10(65025 / 15))


def test_psnr_does_not_wrap_around():
    black, white = np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 255, np.uint8)
    assert similarity.psnr(black, white) == similarity.psnr(white, black) == 0


def test_psnr_agrees_with_scikit_image():
    truth, prediction = noisy_pair()
    expected = peak_signal_noise_ratio(truth, prediction, data_range=255)
    assert similarity.psnr(truth, prediction) == pytest.approx(expected)


def test_psnr_of_identical_images_is_infinite_and_capped_in_means():
    truth, _ = noisy_pair()
    assert similarity.psnr(truth, truth) == np.inf
    assert similarity.capped_psnr(truth, truth) == pytest.approx(10 * np.log10(255**2 / (1 / 12)))


def test_capped_psnr_leaves_ordinary_values_alone():
    truth, prediction = noisy_pair()
    assert similarity.capped_psnr(truth, prediction) == similarity.psnr(truth, prediction)


def test_ssim_agrees_with_plain_loops():
    truth, prediction = noisy_pair()
    expected = np.mean([slow_ssim(truth[..., c], prediction[..., c]) for c in range(3)])
    assert similarity.ssim(truth, prediction) == pytest.approx(expected, abs=1e-9)


def test_ssim_of_constant_images_is_the_luminance_term():
    truth, prediction = np.full((12, 12, 3), 100, np.uint8), np.full((12, 12, 3), 50, np.uint8)
    c1 = 2.55**2
    assert similarity.ssim(truth, prediction) == pytest.approx((2 * 100 * 50 + c1) / (100**2 + 50**2 + c1))


def test_ssim_below_the_window_mirrors_the_edges():
    truth, prediction = noisy_pair(height=9, width=20)
    mirrored = [np.concatenate([image[:1], image, image[-1:]]) for image in (truth, prediction)]
    assert similarity.ssim(truth, prediction) == pytest.approx(similarity.ssim(*mirrored))
    assert similarity.ssim(truth[:1, :1], truth[:1, :1]) == pytest.approx(1)


def test_ab_metrics_by_hand():
    # Red against mid-grey, and a second pixel that agrees. Red is (53.24, 80.09, 67.20) in CIE Lab (D65).
    truth = np.array([[[255, 0, 0], [10, 10, 10]]], np.uint8)
    prediction = np.array([[[119, 119, 119], [10, 10, 10]]], np.uint8)
    norm = np.hypot(80.09, 67.20)
    assert similarity.ab_distance(truth, prediction) == pytest.approx(norm / 2, abs=0.02)
    assert similarity.l2_ab_printed(truth, prediction) == pytest.approx(norm / 4, abs=0.01)


def test_ab_metrics_agree_with_scikit_image():
    truth, prediction = noisy_pair()
    difference = (rgb2lab(truth) - rgb2lab(prediction))[..., 1:]
    pixels = truth.shape[0] * truth.shape[1]
    assert similarity.ab_distance(truth, prediction) == pytest.approx(np.sqrt((difference**2).sum(-1)).mean(), rel=1e-3)
    assert similarity.l2_ab_printed(truth, prediction) == pytest.approx(
        np.sqrt((difference**2).sum()) / (2 * pixels), rel=1e-3
    )


def test_only_the_printed_distance_depends_on_the_size():
    truth, prediction = noisy_pair()
    larger = [np.tile(image, (2, 2, 1)) for image in (truth, prediction)]
    assert similarity.ab_distance(*larger) == pytest.approx(similarity.ab_distance(truth, prediction))
    assert similarity.l2_ab_printed(*larger) == pytest.approx(similarity.l2_ab_printed(truth, prediction) / 2)


def test_colourfulness_by_hand():
    image = np.array([[[200, 100, 50], [20, 60, 100]]], np.uint8)
    # |R - G| = 100, 40: mean 70, std 30. |(R + G) / 2 - B| = 100, 60: mean 80, std 20.
    expected = np.sqrt(30**2 + 20**2) + 0.3 * np.sqrt(70**2 + 80**2)
    assert similarity.colourfulness(image) == pytest.approx(expected)


@given(st.integers(0, 255))
def test_grey_has_no_colourfulness(level):
    assert similarity.colourfulness(np.full((3, 3, 3), level, np.uint8)) == 0


@given(images, images)
def test_metrics_are_symmetric(one, other):
    for metric in (similarity.psnr, similarity.ssim, similarity.ab_distance, similarity.l2_ab_printed):
        assert metric(one, other) == pytest.approx(metric(other, one))


PAIRED = [similarity.psnr, similarity.ssim, similarity.ab_distance, similarity.l2_ab_printed]


@pytest.mark.parametrize("metric", PAIRED)
def test_sizes_must_agree(metric):
    with pytest.raises(ValueError, match="differ in size"):
        metric(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 1, 3), np.uint8))


@pytest.mark.parametrize("metric", PAIRED)
def test_floats_are_refused(metric):
    with pytest.raises(ValueError, match="uint8"):
        metric(np.zeros((4, 4, 3)), np.zeros((4, 4, 3)))
