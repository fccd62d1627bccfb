import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from photo_pairs import photo_pairs
from skimage.color import rgb2lab
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from semcolor_jax.metrics import error_histogram, similarity

SSIM = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255, "channel_axis": -1}


@pytest.fixture(scope="module")
def pairs():
    """Photos with distorted versions, and the cases in which float32 is weakest."""
    truth, prediction = photo_pairs(12, side=48)
    truth[0], prediction[0] = 255, 0
    truth[1] = prediction[1]
    truth[2], prediction[2] = 254, 255
    truth[3] = np.random.default_rng(0).integers(0, 2, truth[3].shape) * 255
    return truth, prediction


def reference(truth, prediction):
    """Every number of one pair, by scikit-image and numpy."""
    with np.errstate(divide="ignore"):
        decibels = [peak_signal_noise_ratio(truth[..., c], prediction[..., c], data_range=255) for c in range(3)]
        pooled = peak_signal_noise_ratio(truth, prediction, data_range=255)
    ceiling = 10 * np.log10(255**2 / (1 / 12))
    difference = (rgb2lab(truth) - rgb2lab(prediction))[..., 1:]
    twice = 2 * truth.shape[0] * truth.shape[1]
    red, green, blue = np.moveaxis(prediction.astype(np.float64), -1, 0)
    opponents = [np.abs(red - green), np.abs((red + green) / 2 - blue)]
    return {
        "psnr_channels": np.mean(np.minimum(decibels, ceiling)),
        "psnr": min(pooled, ceiling),
        "ssim": structural_similarity(truth, prediction, **SSIM),
        "ab_distance": np.linalg.norm(difference, axis=-1).mean(),
        "l2_ab_channels": np.mean(np.sqrt((difference**2).sum((0, 1))) / twice),
        "l2_ab": np.sqrt((difference**2).sum()) / twice,
        "colourfulness": np.hypot(*(x.std() for x in opponents)) + 0.3 * np.hypot(*(x.mean() for x in opponents)),
    }


def assert_equals_reference(values, truth, prediction):
    expected = reference(truth, prediction)
    assert values.keys() == expected.keys()
    for name, value in expected.items():
        # float32, and scikit-image's Lab has other digits in its matrix.
        tolerance = max(2e-5, 1e-3 * abs(value)) if "ab" in name else 1e-6
        assert values[name] == pytest.approx(value, abs=tolerance), name


def batch_values(truth, prediction, sizes=None):
    """The numbers of `of_pair` for whole batches."""
    decibels = similarity.psnr(truth, prediction, sizes=sizes)
    errors = similarity.ab_errors(truth, prediction, sizes=sizes)
    values = {
        "psnr_channels": decibels.channels,
        "psnr": decibels.pooled,
        "ssim": similarity.ssim(truth, prediction, sizes=sizes),
        "ab_distance": errors.mean,
        "l2_ab_channels": errors.channels,
        "l2_ab": errors.pooled,
        "colourfulness": similarity.colourfulness(prediction, sizes=sizes).absolute,
    }
    return [{name: array[i] for name, array in values.items()} for i in range(len(truth))]


def test_every_number_equals_scikit_image_and_numpy(pairs):
    for values, truth, prediction in zip(batch_values(*pairs), *pairs, strict=True):
        assert_equals_reference(values, truth, prediction)


def test_a_pair_alone_has_the_numbers_it_has_in_a_batch(pairs):
    values = batch_values(*pairs)
    for index in (0, 1, 3, 5):
        alone = similarity.of_pair(*(images[index] for images in pairs))
        assert alone == pytest.approx(values[index], rel=1e-5)


def test_padding_changes_nothing(pairs):
    sizes = np.random.default_rng(2).integers(11, 49, (len(pairs[0]), 2))
    larger = np.random.default_rng(1).integers(0, 256, (2, len(sizes), 70, 64, 3), np.uint8)
    for canvases, images in zip(larger, pairs, strict=True):
        for canvas, image, (height, width) in zip(canvases, images, sizes, strict=True):
            canvas[:height, :width] = image[:height, :width]
    histograms = similarity.ab_errors(*larger, sizes=sizes).histogram
    for i, values in enumerate(batch_values(*larger, sizes=sizes)):
        height, width = sizes[i]
        assert_equals_reference(values, *(images[i, :height, :width] for images in pairs))
        assert histograms[i].sum() == height * width


def test_psnr_by_hand():
    truth = np.zeros((1, 2, 2, 3), np.uint8)
    prediction = truth.copy()
    prediction[0, 0, 0, 0] = 6  # squared errors 36 and 12^2 = 144 among 12 values: 15
    prediction[0, 1, 1, 2] = 12
    result = similarity.psnr(truth, prediction)
    assert result.pooled[0] == pytest.approx(10 * np.log10(65025 / 15))
    channels = [10 * np.log10(65025 / 9), similarity.PSNR_CEILING, 10 * np.log10(65025 / 36)]
    assert result.channels[0] == pytest.approx(np.mean(channels))


def test_psnr_does_not_wrap_around():
    black, white = np.zeros((1, 2, 2, 3), np.uint8), np.full((1, 2, 2, 3), 255, np.uint8)
    for pair in ((black, white), (white, black)):
        assert similarity.psnr(*pair) == (0, 0)


def slow_ssim(x, y):
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


def noisy_pair(height=16, width=14):
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 256, (height, width, 3), np.uint8)
    return truth, np.clip(truth + rng.integers(-40, 41, truth.shape), 0, 255).astype(np.uint8)


def test_ssim_agrees_with_plain_loops():
    truth, prediction = noisy_pair()
    expected = np.mean([slow_ssim(truth[..., c], prediction[..., c]) for c in range(3)])
    assert similarity.ssim(truth[None], prediction[None])[0] == pytest.approx(expected, abs=1e-6)


def test_ssim_below_the_window_mirrors_the_edges():
    small, large = noisy_pair(height=9, width=20), noisy_pair(height=30, width=20)
    mirrored = [np.concatenate([image[:1], image, image[-1:]]) for image in small]
    expected = [similarity.ssim(*(image[None] for image in pair))[0] for pair in (mirrored, large)]
    batch = []
    for images in zip(small, large, strict=True):
        canvas = np.full((2, 32, 24, 3), 99, np.uint8)
        for i, image in enumerate(images):
            canvas[i, : image.shape[0], : image.shape[1]] = image
        batch.append(canvas)
    np.testing.assert_allclose(similarity.ssim(*batch, sizes=np.array([[9, 20], [30, 20]])), expected, atol=1e-6)
    pixel = np.zeros((1, 1, 1, 3), np.uint8)
    assert similarity.ssim(pixel, pixel)[0] == pytest.approx(1)


def test_ab_metrics_by_hand():
    # Red against mid-grey, and a second pixel that agrees. Red is (53.24, 80.09, 67.20) in CIE Lab (D65).
    truth = np.array([[[[255, 0, 0], [10, 10, 10]]]], np.uint8)
    prediction = np.array([[[[119, 119, 119], [10, 10, 10]]]], np.uint8)
    errors = similarity.ab_errors(truth, prediction)
    assert errors.mean[0] == pytest.approx(np.hypot(80.09, 67.20) / 2, abs=0.02)
    assert errors.pooled[0] == pytest.approx(np.hypot(80.09, 67.20) / 4, abs=0.01)
    assert errors.channels[0] == pytest.approx((80.09 / 4 + 67.20 / 4) / 2, abs=0.01)


def test_only_the_distances_of_eq_23_depend_on_the_size():
    pair = [image[None] for image in noisy_pair()]
    errors = similarity.ab_errors(*pair)
    larger = similarity.ab_errors(*(np.tile(image, (1, 2, 2, 1)) for image in pair))
    assert larger.mean == pytest.approx(errors.mean)
    assert larger.pooled == pytest.approx(errors.pooled / 2)
    assert larger.channels == pytest.approx(errors.channels / 2)


def test_colourfulness_by_hand():
    image = np.array([[[[200, 100, 50], [20, 60, 100]]]], np.uint8)
    both = similarity.colourfulness(image)
    # |R - G| = 100, 40: mean 70, std 30. |(R + G) / 2 - B| = 100, 60: mean 80, std 20.
    assert both.absolute[0] == pytest.approx(np.hypot(30, 20) + 0.3 * np.hypot(70, 80))
    # R - G = 100, -40: mean 30, std 70. (R + G) / 2 - B = 100, -60: mean 20, std 80.
    assert both.signed[0] == pytest.approx(np.hypot(70, 80) + 0.3 * np.hypot(30, 20), abs=1e-9)


def test_grey_has_no_colourfulness():
    greys = np.arange(256, dtype=np.uint8)[:, None, None, None].repeat(3, -1).repeat(3, 1)
    np.testing.assert_array_equal(similarity.colourfulness(greys).absolute, 0)


@given(arrays(np.uint8, (4, 5, 3)), arrays(np.uint8, (4, 5, 3)), st.booleans())
@settings(max_examples=20)
def test_metrics_are_symmetric(one, other, grey):
    one = one[..., :1].repeat(3, -1) if grey else one
    values, mirrored = similarity.of_pair(one, other), similarity.of_pair(other, one)
    for name in values.keys() - {"colourfulness"}:
        # The ab of greys is float32 rounding, about 1e-3, and differs by some 1e-6 from one argument to the other.
        assert mirrored[name] == pytest.approx(values[name], rel=1e-5, abs=1e-5)


def test_wide_images_do_not_overflow():
    black, white = np.zeros((1, 1, 40_000, 3), np.uint8), np.full((1, 1, 40_000, 3), 255, np.uint8)
    assert similarity.psnr(black, white) == (0, 0)
    yellow = white.copy()
    yellow[..., 2] = 0
    assert similarity.colourfulness(yellow).absolute[0] == pytest.approx(0.3 * 255)


def test_the_histogram_counts_pixels_by_threshold(pairs):
    histogram = error_histogram.ErrorHistogram()
    for part in (slice(0, 5), slice(5, None)):
        histogram.add(similarity.ab_errors(*(images[part] for images in pairs)).histogram)
    distances = np.linalg.norm(rgb2lab(pairs[0])[..., 1:] - rgb2lab(pairs[1])[..., 1:], axis=-1)
    expected = [(distances <= t).mean() for t in range(151)]
    np.testing.assert_allclose(histogram.curve[1:], expected[1:], atol=2e-5)  # at 0, float32 and float64 disagree
    assert histogram.images == len(pairs[0])


def test_areas_by_hand():
    counts = np.zeros((3, 152), np.int64)
    counts[0, 0] = 7  # all perfect
    counts[1, 151] = 7  # all beyond 150
    counts[2, [0, 100]] = 1  # half perfect, half at 100: 0.5 up to 99, then a ramp to 1
    areas = error_histogram.area(counts)
    np.testing.assert_allclose(areas, [1, 0, (0.5 * 99 + 0.75 + 50) / 150])
    with pytest.raises(ValueError, match="no pixels"):
        error_histogram.ErrorHistogram().curve  # noqa: B018


@pytest.mark.usefixtures("no_shape_checks")
@pytest.mark.parametrize("metric", [similarity.psnr, similarity.ssim, similarity.ab_errors])
@pytest.mark.parametrize(
    ("other", "sizes", "message"),
    [
        (np.zeros((2, 12, 13, 3), np.uint8), None, "differ"),
        (np.zeros((2, 12, 12, 3)), None, "uint8"),
        (np.zeros((2, 12, 12, 3), np.uint8), [[12, 12], [13, 12]], "do not fit"),
        (np.zeros((2, 12, 12, 3), np.uint8), [[12, 12]], "do not fit"),
    ],
)
def test_wrong_input_is_refused(metric, other, sizes, message):
    with pytest.raises(ValueError, match=message):
        metric(np.zeros((2, 12, 12, 3), np.uint8), other, sizes=sizes)


@pytest.mark.usefixtures("no_shape_checks")
def test_a_pair_of_two_sizes_or_of_other_shapes_is_refused():
    with pytest.raises(ValueError, match="differ in size"):
        similarity.of_pair(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 1, 3), np.uint8))
    with pytest.raises(ValueError, match=r"\(H, W, 3\)"):
        similarity.of_pair(np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8))
