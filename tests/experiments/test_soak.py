"""What the long runs of `make soak` conclude from what they saw."""

import random
import socket

import pytest
from kills import Event, aim, lengths, table
from long_serving import Visitor
from memory import summary


def test_memory_is_flat_once_the_caches_are_full_or_it_is_not():
    filling = [300.0 + min(step, 900) for step in range(5000)]
    flat = summary(filling)
    assert (flat["steps"], flat["second_fifth_mb"], flat["last_fifth_mb"], flat["flat"]) == (5000, 1200, 1200, True)
    assert flat["mb_per_1000_steps"] == pytest.approx(0, abs=0.01)
    assert len(flat["megabytes"]) == 50

    leaking = summary([megabytes + 0.01 * step for step, megabytes in enumerate(filling)])
    assert leaking["mb_per_1000_steps"] == pytest.approx(10)
    assert not leaking["flat"]


def test_memory_of_an_hour_is_told_in_minutes():
    told = summary([500.0 + minute for minute in range(61)], unit="minutes", per=60)
    assert told["minutes"] == len(told["megabytes"]) == 61
    assert told["mb_per_60_minutes"] == pytest.approx(60)
    assert (told["second_fifth_mb"], told["last_fifth_mb"], told["flat"]) == (517.5, 554.5, False)


def test_a_photo_that_is_not_coloured_is_counted():
    with socket.socket() as nobody:  # bound, but not listening
        nobody.bind(("127.0.0.1", 0))
        visitor = Visitor(nobody.getsockname()[1])
        visitor.bring()
        visitor.bring()
    assert [answer.partition(",")[0] for answer in visitor.answers] == ["by_endpoint", "by_page"]
    assert all("refused" in answer and not answer.endswith("coloured") for answer in visitor.answers)


def test_kills_are_aimed_at_what_is_left_of_a_training():
    trace = [
        Event(0.0, "starting", 0),
        Event(5.0, "compiling", 1),
        Event(7.0, "stepping", 2),
        Event(7.1, "saving", 2),
        Event(7.2, "stepping", 3),
        Event(7.4, "written", 2),
        Event(7.5, "evaluating", 3),
        Event(8.0, "saving", 3),
        Event(8.3, "written", 3),
        Event(8.4, "done", 3),
    ]
    seconds = lengths(trace)
    assert seconds["starting", 0] == pytest.approx(5)
    assert seconds["saving", 2] == pytest.approx(0.3)  # the step beside it does not end it
    rng = random.Random(0)
    drawn = [aim(rng, seconds, resumed=2) for _ in range(200)]
    assert {(phase, step) for phase, step, _ in drawn} == {
        ("starting", 0),
        ("compiling", 3),  # the first step of the process
        ("evaluating", 3),
        ("saving", 3),
    }
    assert all(after <= seconds.get((phase, step), 2.0) for phase, step, after in drawn)


def test_an_end_that_differs_is_seen_in_the_table():
    row = {"training": 1, "kill": 2, "aimed": "saving 8 + 3 ms", "fell": "saving 8", "half_written": "8"}
    text = table([row | {"goes_on_from": 4, "equal": False}])
    assert text.splitlines()[-1] == "| 1 | 2 | saving 8 + 3 ms | saving 8 | 8 | 4 | no |"
