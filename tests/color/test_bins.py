import itertools
import re

import numpy as np

from semcolor_jax.color import AB_BINS, BIN_TABLE_ID, NUM_BINS, bins


def test_there_are_313_bins_on_the_grid_of_step_10():
    assert AB_BINS.shape == (313, 2)
    assert AB_BINS.dtype == np.float32
    assert NUM_BINS == 313
    np.testing.assert_array_equal(AB_BINS % 10, 0)


def test_the_order_is_by_a_then_b():
    pairs = [tuple(pair) for pair in AB_BINS]
    assert pairs == sorted(set(pairs))


def test_every_a_has_one_contiguous_run_of_b():
    rows = {a: [b for _, b in group] for a, group in itertools.groupby(AB_BINS.tolist(), key=lambda ab: ab[0])}
    assert sorted(rows) == list(range(-90, 101, 10))
    for b in rows.values():
        np.testing.assert_array_equal(np.diff(b), 10)


def test_known_places_in_the_table():
    # Counted by hand from the ranges: the first run has five bins, 50 to 90.
    assert AB_BINS[0].tolist() == [-90, 50]
    assert AB_BINS[4].tolist() == [-90, 90]
    assert AB_BINS[5].tolist() == [-80, 20]
    assert AB_BINS[312].tolist() == [100, 0]
    assert [0, 0] in AB_BINS.tolist()


def test_the_table_cannot_be_changed_by_accident():
    assert not AB_BINS.flags.writeable


def test_the_table_id_names_the_content():
    assert re.fullmatch("[0-9a-f]{16}", BIN_TABLE_ID)
    assert BIN_TABLE_ID == "e74b520cf1929e90"  # changes if and only if the table does, and with it old files


def test_candidates_hold_the_five_nearest_of_every_point():
    # Independent of the corner argument: a dense grid of points, the borders of the cells included.
    lists = bins.candidate_lists().reshape(bins.CELLS_PER_SIDE, bins.CELLS_PER_SIDE, bins.CANDIDATES)
    axis = np.arange(bins.CELLS_PER_SIDE) * bins.CELL - bins.LIMIT
    inside = [0, 0.1, 1.25, 2.11, bins.CELL]
    for offset in itertools.product(inside, inside):
        points = np.stack(np.meshgrid(axis + offset[0], axis + offset[1], indexing="ij"), axis=-1)
        to_all = np.sum((points[:, :, None] - AB_BINS) ** 2, axis=-1)
        fifth = np.partition(to_all, 4, axis=-1)[..., 4]
        to_candidates = np.sort(np.take_along_axis(to_all, lists, axis=-1), axis=-1)
        np.testing.assert_allclose(to_candidates[..., 4], fifth, rtol=1e-12)


def test_candidates_of_a_cell_are_distinct():
    lists = np.sort(bins.candidate_lists(), axis=1)
    assert np.all(np.diff(lists, axis=1) > 0)
