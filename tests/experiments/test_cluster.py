"""The scripts of experiments/cluster start what there is."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from semcolor_jax.cli.main import build_parser

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "experiments" / "cluster"
SCRIPTS = [*CLUSTER.glob("*.slurm"), *(ROOT / "tools").glob("*.sh"), ROOT / ".ci" / "run"]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shell_scripts_are_clean(script):
    program = shutil.which("shellcheck", path=Path(sys.executable).parent)
    assert program, "pip install -r requirements/dev.txt brings shellcheck"
    result = subprocess.run([program, script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_the_job_set_trains_with_one_process_on_each_of_its_nodes():
    documents = list(yaml.safe_load_all((CLUSTER / "jobset.yaml").read_text(encoding="utf-8")))
    (job_set,) = (document for document in documents if document["kind"] == "JobSet")
    (hosts,) = job_set["spec"]["replicatedJobs"]
    job = hosts["template"]["spec"]
    assert job["completionMode"] == "Indexed"  # by which JAX knows which process it is
    assert job["parallelism"] == job["completions"]
    (container,) = job["template"]["spec"]["containers"]
    program, *arguments = container["command"] + container["args"]
    assert program == "semcolor"
    parsed, overrides = build_parser().parse_known_args(arguments)
    assert parsed.distributed
    assert all(override.startswith("--config.") for override in overrides)


@pytest.mark.parametrize("name", ["train.slurm", "prepare.slurm"])
def test_the_slurm_scripts_start_the_program_with_the_arguments_given(tmp_path, name):
    """With stand-ins for srun and semcolor, which print what they are given."""
    for program in ("srun", "semcolor", "scontrol"):
        path = tmp_path / program
        call = 'shift; "$@"; exit 75' if program == "srun" else 'echo "$(basename "$0") $*"'
        path.write_text(f"#!/bin/bash\n{call}\n", encoding="utf-8")
        path.chmod(0o755)
    job = {
        "SLURM_SUBMIT_DIR": "/nowhere",
        "SLURM_JOB_ID": "7",
        "SLURM_ARRAY_TASK_ID": "0",
        "SLURM_ARRAY_TASK_COUNT": "4",
    }
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SEMCOLOR": str(tmp_path / "semcolor")} | job
    command = ["bash", CLUSTER / name, "--config", "full"]
    lines = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()
    if name == "train.slurm":
        assert lines[0] == "semcolor train --distributed --config full"
        assert lines[-1] == "scontrol requeue 7"  # after code 75
    else:
        assert lines == ["semcolor data label-scenes --shard 1/4 --config full"]
