"""Units of work on Apache Beam's DirectRunner."""

import functools
import sys

import pytest
from at_scale import needs_beam

from semcolor_jax.data.beam import pipeline_options, share_out
from semcolor_jax.errors import UserError


def test_without_beam_one_sentence_says_where_it_can_be_had(monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(UserError, match=r"Apache Beam is not installed .* `make beam`"):
        pipeline_options("DirectRunner")


def _writer(folder, bad=()):
    """Writes a file for each unit; each call of this function leaves a file, too."""
    prepared = len(list(folder.glob("prepared-*")))
    (folder / f"prepared-{prepared}").touch()

    def write(unit):
        if unit in bad:
            raise UserError(f"unit {unit} is\nbad.")
        (folder / f"unit-{unit}").touch()

    return write


def _broken():
    return lambda unit: unit / 0


def _units(folder):
    return sorted(int(path.name.partition("-")[2]) for path in folder.glob("unit-*"))


@needs_beam
def test_every_unit_is_done_and_a_process_prepares_once(tmp_path):
    share_out(
        range(20), functools.partial(_writer, tmp_path), folder=tmp_path, options=pipeline_options("DirectRunner")
    )
    assert _units(tmp_path) == list(range(20))
    assert [path.name for path in tmp_path.glob("prepared-*")] == ["prepared-0"]
    assert not (tmp_path / "failed.txt").exists()


@needs_beam
def test_a_unit_that_fails_is_named_and_the_others_are_done(tmp_path):
    options = pipeline_options("DirectRunner")
    with pytest.raises(UserError, match=r"^unit 3 is bad\.$"):
        share_out(range(5), functools.partial(_writer, tmp_path, {3}), folder=tmp_path, options=options)
    assert _units(tmp_path) == [0, 1, 2, 4]
    with pytest.raises(UserError, match=r"unit \d is bad\. \(2 more such sentences are in .*failed\.txt\.\)"):
        share_out(range(5), functools.partial(_writer, tmp_path, {0, 1, 2}), folder=tmp_path, options=options)
    assert len((tmp_path / "failed.txt").read_text().splitlines()) == 3
    share_out(
        range(5), functools.partial(_writer, tmp_path), folder=tmp_path, options=options
    )  # failures of then are gone
    assert not (tmp_path / "failed.txt").exists()


def _unable(folder):
    (folder / f"prepared-{len(list(folder.glob('prepared-*')))}").touch()
    raise UserError("there is no teacher.")


@needs_beam
def test_a_worker_that_cannot_begin_tries_once(tmp_path):
    options = pipeline_options("DirectRunner")
    with pytest.raises(UserError, match=r"^there is no teacher\. \(4 more such sentences are in "):
        share_out(range(5), functools.partial(_unable, tmp_path), folder=tmp_path, options=options)
    assert len(list(tmp_path.glob("prepared-*"))) == 1


@needs_beam
def test_a_fault_of_ours_keeps_its_own_kind(tmp_path):
    with pytest.raises(Exception, match="division by zero") as raised:
        share_out([1], _broken, folder=tmp_path, options=pipeline_options("DirectRunner"))
    assert not isinstance(raised.value, UserError)


@needs_beam
@pytest.mark.parametrize(
    ("runner", "settings", "words"),
    [
        ("NoSuchRunner", [], "Beam cannot use the runner NoSuchRunner"),
        ("none.such.Runner", [], "No module named 'none'"),
        ("DirectRunner", ["direct_num_worker=2"], "know no option direct_num_worker"),
        ("DirectRunner", ["direct_num_workers=two"], "invalid int value: 'two'"),
    ],
)
def test_mistakes_in_the_engine_are_one_sentence(runner, settings, words):
    with pytest.raises(UserError, match=words) as raised:
        pipeline_options(runner, settings)
    assert "\n" not in str(raised.value)


@needs_beam
def test_an_engine_of_others_may_have_options_of_its_own():
    options = pipeline_options("FlinkRunner", ["flink_master=host:8081", "its_own=3"])
    known = options.get_all_options(drop_default=True, retain_unknown_options=True)
    assert known == {"runner": "FlinkRunner", "flink_master": "host:8081", "its_own": "3"}


@needs_beam
@pytest.mark.parametrize(
    ("runner", "words"), [("DataflowRunner", "Missing required option: project"), ("PortableRunner", "--job_endpoint")]
)
def test_an_engine_that_does_not_take_the_pipeline_says_why(tmp_path, runner, words):
    with pytest.raises(UserError, match=words) as raised:
        share_out(range(2), functools.partial(_writer, tmp_path), folder=tmp_path, options=pipeline_options(runner))
    assert "\n" not in str(raised.value)
    assert _units(tmp_path) == []
