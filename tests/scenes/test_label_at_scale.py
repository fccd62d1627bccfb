"""Scene labels by Apache Beam: the files of the plain way."""

import dataclasses
import json
import socket
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from at_scale import needs_beam

from semcolor_jax.cli.main import main
from semcolor_jax.errors import UserError
from semcolor_jax.scenes import label, label_at_scale
from semcolor_jax.scenes.label import label_folder
from semcolor_jax.scenes.label_at_scale import label_folder_on
from semcolor_jax.scenes.teacher import Teacher, load_teacher


@pytest.fixture
def folder(tmp_path, write_photo):
    """Seven photos, in parts of three."""
    for i in range(5):
        write_photo(tmp_path / f"set/train/{i}.png", (50 * i, 100, 100), seed=i)
    write_photo(tmp_path / "set/val/red.png", (250, 10, 10), seed=8)
    write_photo(tmp_path / "set/val/gray.png", 0, seed=9)
    return tmp_path / "set"


@pytest.fixture
def options(monkeypatch):
    from semcolor_jax.data.beam import pipeline_options

    monkeypatch.setattr(label, "_PART", 3)
    return pipeline_options("DirectRunner")


@needs_beam
@pytest.mark.parametrize("smoothing", ["top5", "gaussian"])
def test_the_same_labels(folder, options, tmp_path, smoothing):
    teacher = load_teacher("small")
    plain = label_folder(folder, teacher, output=tmp_path / "plain.json", smoothing=smoothing)
    result = label_folder_on(options, folder, teacher, output=tmp_path / "engine.json", smoothing=smoothing)
    assert (tmp_path / "engine.json").read_bytes() == (tmp_path / "plain.json").read_bytes()
    labels = json.loads((tmp_path / "plain.json").read_text())
    assert len(labels) == 7
    assert len({json.dumps(pairs) for pairs in labels.values()}) > 5  # so that a mix-up would show
    assert result == dataclasses.replace(plain, output=tmp_path / "engine.json")
    parts = [path.suffix for path in (tmp_path / "engine.parts").iterdir()]
    assert sorted(parts) == [".json", ".jsonl", ".jsonl", ".jsonl"]  # teacher.json, and nothing is left over


@needs_beam
def test_a_damaged_photo_is_named_and_the_same_command_goes_on(folder, options, tmp_path):
    damaged, output, teacher = folder / "train/4.png", tmp_path / "engine.json", load_teacher("small")
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:60])
    with pytest.raises(UserError, match=r"4\.png is damaged"):
        label_folder_on(options, folder, teacher, output=output)
    assert not output.exists()
    damaged.write_bytes(whole)
    result = label_folder_on(options, folder, teacher, output=output)
    assert (result.labelled, result.left) == (3, 0)  # the parts without it had been labelled
    label_folder(folder, teacher, output=tmp_path / "plain.json")
    assert json.loads(output.read_text()).keys() == json.loads((tmp_path / "plain.json").read_text()).keys()
    assert label_folder_on(options, folder, teacher, output=output).labelled == 0


@needs_beam
def test_workers_need_the_same_teacher(folder, options, tmp_path):
    other = dataclasses.replace(load_teacher("small"), name="other sha256:0")
    with pytest.raises(UserError, match=r"a worker's teacher is small_teacher\.npz .*, not other sha256:0"):
        label_folder_on(options, folder, other, output=tmp_path / "engine.json")


@needs_beam
@pytest.mark.slow
def test_processes_of_their_own_make_the_same_labels(folder, tmp_path):
    """As on an engine: the pipeline and all it holds go to other processes."""
    arguments = ["data", "label-scenes", str(folder), "--teacher", "small", "-o"]
    several = ["direct_running_mode=multi_processing", "direct_num_workers=2"]
    main([*arguments, str(tmp_path / "plain.json")])
    engine = ["--runner", "DirectRunner", *(f"--runner-option={setting}" for setting in several)]
    main([*arguments, str(tmp_path / "engine.json"), *engine])
    assert (tmp_path / "engine.json").read_bytes() == (tmp_path / "plain.json").read_bytes()


@pytest.fixture
def job_server(tmp_path):
    """The port of Beam's own job server, in a process of its own."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    server = [sys.executable, "-m", "apache_beam.runners.portability.local_job_service_main", "--port", str(port)]
    with (tmp_path / "server.log").open("w") as log, subprocess.Popen(server, stdout=log, stderr=log) as process:
        yield port
        process.terminate()


@needs_beam
@pytest.mark.slow
def test_a_job_server_takes_the_pipeline(folder, job_server, tmp_path):
    """The way of Flink and Spark: the pipeline goes to a server, whose workers come back for the work."""
    arguments = ["data", "label-scenes", str(folder), "--teacher", "small", "-o"]
    main([*arguments, str(tmp_path / "plain.json")])
    settings = [f"job_endpoint=localhost:{job_server}", "environment_type=LOOPBACK"]
    engine = ["--runner", "PortableRunner", *(f"--runner-option={setting}" for setting in settings)]
    main([*arguments, str(tmp_path / "engine.json"), *engine])
    assert (tmp_path / "engine.json").read_bytes() == (tmp_path / "plain.json").read_bytes()
    assert "Completed job" in (tmp_path / "server.log").read_text()


def test_labels_that_workers_wrote_elsewhere_are_missed(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(label_at_scale.beam, "share_out", lambda *units, **options: None)
    with pytest.raises(UserError, match=r"7 labels are missing in .*engine\.parts, .* under the same path"):
        label_folder_on(None, folder, load_teacher("small"), output=tmp_path / "engine.json")
    assert not (tmp_path / "engine.json").exists()


def test_a_teacher_without_a_file_cannot_travel(folder, tmp_path):
    teacher = Teacher(name="mine", side=8, categories=np.arange(6), probabilities=jnp.asarray)
    with pytest.raises(ValueError, match="no file holds"):
        label_folder_on(None, folder, teacher, output=tmp_path / "engine.json")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--runner", "DirectRunner", "--shard", "1/2"], "give one of them"),
        (["--runner-option", "direct_num_workers=2"], "there is no --runner"),
        (["--runner", "DirectRunner"], "`make beam`"),
    ],
)
def test_mistakes_are_one_sentence(folder, monkeypatch, capsys, arguments, words):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    with pytest.raises(SystemExit) as exit_:
        main(["data", "label-scenes", str(folder), "--teacher", "small", *arguments])
    assert exit_.value.code == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert words in last
