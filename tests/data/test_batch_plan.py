import itertools

import numpy as np
from tiny_training import MemorySource

from semcolor_jax.data.batch_plan import planned_batches
from semcolor_jax.data.order import first_indices


def _take(groups, count, **options):
    source = MemorySource(len(groups))
    stream = planned_batches(source, np.array(groups), batch_size=4, seed=3, **options)
    return list(itertools.islice(stream, count))


def test_one_group_gives_the_batches_of_the_stream():
    samples = np.concatenate([batch.samples for batch in _take([0] * 7, 5)])
    np.testing.assert_array_equal(samples, first_indices(MemorySource(7), 20, seed=3))
    places = np.concatenate([batch.places for batch in _take([0] * 7, 5)])
    np.testing.assert_array_equal(places, np.arange(20))


def test_groups_keep_the_streams_order_and_come_when_they_are_whole():
    groups = np.arange(11) % 3 == 0
    order = first_indices(MemorySource(11), 110, seed=3)
    batches = _take(groups.astype(int), 25)
    for group in (0, 1):
        mine = [batch for batch in batches if batch.group == group]
        places = np.concatenate([batch.places for batch in mine])
        np.testing.assert_array_equal(places, np.flatnonzero(groups[order] == group)[: len(places)])
        np.testing.assert_array_equal(np.concatenate([batch.samples for batch in mine]), order[places])
    last = [batch.places[-1] for batch in batches]
    assert last == sorted(last)


def test_skipping_is_taking_up_where_it_stopped():
    groups = [0, 1, 0, 0, 1]
    for whole, rest in zip(_take(groups, 12)[5:], _take(groups, 7, skip=5), strict=True):
        np.testing.assert_array_equal(whole.places, rest.places)
        np.testing.assert_array_equal(whole.samples, rest.samples)


def test_it_can_begin_in_the_middle_of_an_epoch():
    (batch,) = _take([0] * 7, 1, first_place=10)
    np.testing.assert_array_equal(batch.places, range(10, 14))
    np.testing.assert_array_equal(batch.samples, first_indices(MemorySource(7), 14, seed=3)[10:])
