import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import confusion_matrix

from semcolor_jax.metrics import segmentation

LABELS = np.array([[0, 0, 1, 1], [1, 0, 255, 255]], np.uint8)
PREDICTION = np.array([[0, 1, 1, 2], [1, 0, 2, 0]], np.uint8)
CONFUSION = np.array([[2, 1, 0], [0, 2, 1], [0, 0, 0]])


def test_confusion_by_hand_counts_no_ignored_pixel():
    confusion = segmentation.confusion_matrix(LABELS, PREDICTION, num_classes=3)
    np.testing.assert_array_equal(confusion, CONFUSION)


@given(
    arrays(np.uint8, (5, 7), elements=st.sampled_from([0, 1, 2, 3, 255])),
    arrays(np.uint8, (5, 7), elements=st.integers(0, 3)),
)
def test_confusion_agrees_with_scikit_learn(labels, prediction):
    counted = labels != 255
    expected = np.zeros((4, 4))
    if counted.any():
        expected = confusion_matrix(labels[counted], prediction[counted], labels=range(4))
    np.testing.assert_array_equal(segmentation.confusion_matrix(labels, prediction, num_classes=4), expected)


def test_mean_iou_by_hand_over_the_classes_of_the_truth():
    # Class 0: 2 of 3; class 1: 2 of 4; class 2 is predicted once, but the truth has none of it.
    assert segmentation.mean_iou(CONFUSION) == pytest.approx((2 / 3 + 2 / 4) / 2)


def test_pixel_accuracy_by_hand():
    assert segmentation.pixel_accuracy(CONFUSION) == pytest.approx(4 / 6)


def test_majority_baseline_by_hand():
    confusion = np.array([[1, 0, 0], [0, 2, 3], [0, 1, 1]])
    scores = segmentation.score(confusion, images=4)
    assert scores.majority_class == 1
    assert scores.majority_pixel_accuracy == pytest.approx(5 / 8)
    assert scores.majority_mean_iou == pytest.approx((0 + 5 / 8 + 0) / 3)
    assert scores.classes == 3
    assert scores.images == 4
    assert scores.pixel_accuracy == pytest.approx(4 / 8)
    assert scores.mean_iou == pytest.approx((1 / 1 + 2 / 6 + 1 / 5) / 3)


def test_nothing_labelled_has_no_score():
    empty = segmentation.confusion_matrix(np.full((2, 2), 255, np.uint8), np.zeros((2, 2), np.uint8))
    assert np.isnan(segmentation.mean_iou(empty))
    assert np.isnan(segmentation.pixel_accuracy(empty))


@pytest.mark.usefixtures("no_shape_checks")
def test_sizes_must_agree():
    with pytest.raises(ValueError, match="differ in size"):
        segmentation.confusion_matrix(np.zeros((2, 2), np.uint8), np.zeros((2, 3), np.uint8))


def test_an_unknown_predicted_class_is_refused():
    with pytest.raises(ValueError, match="prediction holds"):
        segmentation.confusion_matrix(np.zeros((1, 1), np.uint8), np.full((1, 1), 183, np.uint8))


def test_labels_that_are_no_class_count_nowhere():
    labels = np.array([[183, 254, 255, 7]], np.uint8)
    confusion = segmentation.confusion_matrix(labels, np.full((1, 4), 7, np.uint8))
    assert confusion.sum() == confusion[7, 7] == 1


def test_unknown_classes_under_the_ignore_label_do_not_matter():
    confusion = segmentation.confusion_matrix(np.full((1, 1), 255, np.uint8), np.full((1, 1), 200, np.uint8))
    assert confusion.sum() == 0
