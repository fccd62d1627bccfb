"""The flags by which the processes of one training find each other."""

import jax
import pytest

from semcolor_jax.cli import hosts
from semcolor_jax.cli.main import build_parser
from semcolor_jax.errors import UserError


@pytest.fixture
def joined(monkeypatch):
    """What JAX was asked for."""
    calls = []

    def initialize(coordinator, *, num_processes, process_id):
        calls.append((coordinator, num_processes, process_id))

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    return calls


def join(*flags):
    hosts.join_from(build_parser().parse_args(["train", *flags]))


def test_without_flags_a_process_trains_alone(joined):
    join()
    assert joined == []


def test_jax_finds_the_others_or_is_told(joined):
    join("--distributed")
    join("--coordinator", "a:1234", "--process-count", "2", "--process-id", "0")
    assert joined == [(None, None, None), ("a:1234", 2, 0)]


@pytest.mark.parametrize("flags", [("--coordinator", "a:1"), ("--distributed", "--process-id", "1")])
def test_half_of_the_flags_are_refused(joined, flags):
    with pytest.raises(UserError, match="either --distributed, or all of"):
        join(*flags)
    assert joined == []


def test_where_there_are_no_others_one_sentence_says_so(monkeypatch):
    def initialize(*args, **kwargs):
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    with pytest.raises(UserError, match=r"cannot join the others \(coordinator_address should be defined\): name them"):
        join("--distributed")
