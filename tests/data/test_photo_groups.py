import numpy as np
import pytest

from semcolor_jax.data.photo_groups import LARGEST_FACTOR, Crops, group_photos, stored_sizes
from semcolor_jax.errors import UserError


def _group(sizes, batch_size=1, side=128, short_side=152):
    sizes = np.array(sizes)
    names = [f"photo{i}" for i in range(len(sizes))]
    return group_photos(sizes, names, side=side, short_side=short_side, batch_size=batch_size)


def test_small_photos_get_crops_of_their_own():
    grouping = _group([(160, 200), (84, 84), (64, 64), (102, 300)])
    assert grouping.crops == (Crops(128, 152), Crops(96, 114), Crops(64, 76))
    np.testing.assert_array_equal(grouping.groups, [0, 1, 2, 0])


def test_no_photo_is_enlarged_by_more_than_the_limit():
    sizes = np.random.default_rng(0).integers(26, 300, (200, 2))
    grouping = _group(sizes)
    wanted = np.array([crops.short_side for crops in grouping.crops])[grouping.groups]
    assert (wanted <= LARGEST_FACTOR * sizes.min(axis=1)).all()


def test_a_group_smaller_than_a_batch_joins_the_next_smaller_one():
    grouping = _group([(160, 200)] * 6 + [(84, 84)] * 2 + [(64, 64)] * 6, batch_size=4)
    assert grouping.crops == (Crops(128, 152), Crops(64, 76))
    np.testing.assert_array_equal(grouping.groups, [0] * 6 + [1] * 8)


def test_few_photos_of_one_size_stay_at_the_configs_crop():
    assert _group([(160, 200)] * 3, batch_size=8).crops == (Crops(128, 152),)


def test_a_photo_too_small_for_any_crop_is_named():
    with pytest.raises(UserError, match="photo1 is 9 x 8 pixels"):
        _group([(160, 200), (8, 9)])


def test_photos_far_too_large_are_stored_shrunk():
    sizes = np.array([(152, 152), (228, 300), (229, 400), (64, 90), (400, 300)])
    stored = stored_sizes(sizes, _group(sizes))
    np.testing.assert_array_equal(stored, [(152, 152), (228, 300), (152, 266), (64, 90), (203, 152)])
