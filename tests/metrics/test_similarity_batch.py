import numpy as np
import pytest
from photo_pairs import photo_pairs
from skimage.color import rgb2lab
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from semcolor_jax.metrics import error_histogram, similarity
from semcolor_jax.metrics import similarity_batch as batch


@pytest.fixture(scope="module")
def pairs():
    """Photos with distorted versions, and the cases in which float32 is weakest."""
    truth, prediction = photo_pairs(12, side=48)
    truth[0], prediction[0] = 255, 0
    truth[1] = prediction[1]
    truth[2], prediction[2] = 254, 255
    truth[3] = np.random.default_rng(0).integers(0, 2, truth[3].shape) * 255
    return truth, prediction


def padded(images, *, height, width, sizes):
    """The images cut to their sizes, in larger arrays full of noise."""
    out = np.random.default_rng(1).integers(0, 256, (len(images), height, width, 3), np.uint8)
    for canvas, image, (h, w) in zip(out, images, sizes, strict=True):
        canvas[:h, :w] = image[:h, :w]
    return out


def test_psnr_and_ssim_equal_scikit_image(pairs):
    psnr, ssim = batch.psnr(*pairs), batch.ssim(*pairs)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    for index, (truth, prediction) in enumerate(zip(*pairs, strict=True)):
        expected = structural_similarity(truth, prediction, data_range=255, channel_axis=-1, **options)
        assert ssim[index] == pytest.approx(expected, abs=1e-6)
        if index != 1:
            expected = peak_signal_noise_ratio(truth, prediction, data_range=255)
            assert psnr[index] == pytest.approx(expected, abs=1e-6)
    assert psnr[1] == similarity.PSNR_CEILING


def test_every_metric_equals_the_one_for_single_images(pairs):
    errors, colour = batch.ab_errors(*pairs), batch.colourfulness(pairs[1])
    computed = {
        similarity.capped_psnr: batch.psnr(*pairs),
        similarity.ssim: batch.ssim(*pairs),
        similarity.ab_distance: errors.mean,
        similarity.l2_ab_printed: errors.printed,
    }
    for single, values in computed.items():
        np.testing.assert_allclose(values, [single(*pair) for pair in zip(*pairs, strict=True)], atol=2e-5)
    np.testing.assert_allclose(colour.absolute, [similarity.colourfulness(x) for x in pairs[1]], atol=1e-9)


def test_signed_colourfulness_by_hand():
    image = np.array([[[[200, 100, 50], [20, 60, 100]]]], np.uint8)
    # R - G = 100, -40: mean 30, std 70. (R + G) / 2 - B = 100, -60: mean 20, std 80.
    expected = np.hypot(70, 80) + 0.3 * np.hypot(30, 20)
    assert batch.colourfulness(image).signed[0] == pytest.approx(expected, abs=1e-9)


def test_padding_changes_nothing(pairs):
    sizes = np.random.default_rng(2).integers(11, 49, (len(pairs[0]), 2))
    larger = [padded(images, height=70, width=64, sizes=sizes) for images in pairs]
    psnr, ssim = batch.psnr(*larger, sizes=sizes), batch.ssim(*larger, sizes=sizes)
    errors, colour = batch.ab_errors(*larger, sizes=sizes), batch.colourfulness(larger[1], sizes=sizes)
    for i, (h, w) in enumerate(sizes):
        truth, prediction = (images[i, :h, :w] for images in pairs)
        assert psnr[i] == pytest.approx(similarity.capped_psnr(truth, prediction), abs=1e-9)
        assert ssim[i] == pytest.approx(similarity.ssim(truth, prediction), abs=1e-6)
        assert errors.mean[i] == pytest.approx(similarity.ab_distance(truth, prediction), abs=2e-5)
        assert errors.histogram[i].sum() == h * w
        assert colour.absolute[i] == pytest.approx(similarity.colourfulness(prediction), abs=1e-9)


def test_wide_images_do_not_overflow():
    black, white = np.zeros((1, 1, 40_000, 3), np.uint8), np.full((1, 1, 40_000, 3), 255, np.uint8)
    assert batch.psnr(black, white)[0] == 0
    yellow = white.copy()
    yellow[..., 2] = 0
    assert batch.colourfulness(yellow).absolute[0] == pytest.approx(0.3 * 255)


def test_the_histogram_counts_pixels_by_threshold(pairs):
    histogram = error_histogram.ErrorHistogram()
    for part in (slice(0, 5), slice(5, None)):
        histogram.add(batch.ab_errors(*(images[part] for images in pairs)).histogram)
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


@pytest.mark.parametrize(
    ("other", "sizes", "message"),
    [
        (np.zeros((2, 12, 13, 3), np.uint8), None, "differ"),
        (np.zeros((2, 12, 12, 3)), None, "uint8"),
        (np.zeros((2, 12, 12, 3), np.uint8), [[12, 12], [13, 12]], "do not fit"),
        (np.zeros((2, 12, 12, 3), np.uint8), [[12, 12]], "do not fit"),
        (np.zeros((2, 12, 12, 3), np.uint8), [[12, 12], [10, 12]], "at least 11"),
    ],
)
def test_wrong_input_is_refused(other, sizes, message):
    with pytest.raises(ValueError, match=message):
        batch.ssim(np.zeros((2, 12, 12, 3), np.uint8), other, sizes=sizes)
