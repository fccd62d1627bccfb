"""The program as a whole: its commands, what its help says, and how it ends."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from semcolor_jax.cli import devices, exits, train_commands
from semcolor_jax.cli.flags import default_workdir, find_config, load_config
from semcolor_jax.cli.main import build_parser, leaves, main
from semcolor_jax.errors import UserError

# ml_collections loads config files in a way that Python 3.12 and later warn of.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module.. method is deprecated:DeprecationWarning")

ROOT = Path(__file__).parents[2]
SCREEN = 40  # lines
COMMANDS = list(leaves(build_parser()))


@pytest.fixture
def never_runs(monkeypatch):
    """Makes `train` note how it would run."""
    calls = []
    monkeypatch.setattr("semcolor_jax.cli.tasks.train", lambda config, workdir: calls.append((config, workdir)))
    return calls


def test_the_commands():
    assert [parser.prog.removeprefix("semcolor ") for parser in COMMANDS] == [
        "colorize",
        "video",
        "train",
        "evaluate",
        "score",
        *(f"data {step}" for step in ("prepare", "train-teacher", "label-scenes", "prior", "inspect", "sample-photos")),
        *(f"model {step}" for step in ("export", "convert", "info")),
        "serve",
    ]


@pytest.mark.parametrize("parser", COMMANDS, ids=lambda parser: parser.prog)
def test_every_help_fits_a_screen_and_every_flag_has_dashes(parser, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert len(parser.format_help().splitlines()) <= SCREEN
    flags = [flag for action in parser._actions for flag in action.option_strings]
    assert [flag for flag in flags if "_" in flag] == []
    assert "--debug" in flags


@pytest.mark.parametrize("parser", COMMANDS, ids=lambda parser: parser.prog)
def test_every_example_can_be_parsed(parser):
    examples = re.findall(r"^ +(semcolor .*)$", parser.epilog or "", flags=re.MULTILINE)
    assert examples or "colorize" in parser.prog
    for example in examples:
        assert example.startswith(f"{parser.prog} ")
        _, overrides = build_parser().parse_known_args(shlex.split(example)[1:])
        assert all(override.startswith("--config.") for override in overrides)


def test_a_mistake_in_arguments_is_one_sentence(capsys):
    with pytest.raises(SystemExit) as end:
        main(["evaluate", "--model", "m", "--limit", "0"])
    assert end.value.code == exits.MISTAKE
    (line,) = capsys.readouterr().err.splitlines()
    assert line == ("error: argument --limit: invalid positive int value: '0'; see `semcolor evaluate --help`.")


def test_a_config_by_name_and_by_file():
    assert Path(find_config("full")).samefile(ROOT / "configs/full.py")
    assert find_config("full:regsoft").endswith("full.py:regsoft")
    assert find_config(f"{ROOT}/configs/full.py:regsoft") == f"{ROOT}/configs/full.py:regsoft"
    assert load_config("full:regsoft", [], program="p").model.variant == "regsoft"


@pytest.mark.parametrize(
    ("config", "folder"),
    [
        ("configs/full.py", "runs/full"),
        ("full", "runs/full"),
        ("full:regsoft,runlocal", "runs/full-regsoft-runlocal"),
        ("release:/data/sets", "runs/release-data-sets"),
    ],
)
def test_the_default_work_directory(config, folder):
    assert default_workdir(config) == Path(folder)


def test_the_cards_command_needs_no_other_flag(never_runs, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    import launch

    launch.main(["--config", f"{ROOT}/configs/full.py"])
    launch.main(["--config=full:regsoft", "--workdir=~/w", "--config.seed=7"])
    (full, workdir), (regsoft, other) = never_runs
    assert (full.model.variant, workdir) == ("segclasregsoft", Path("runs/full"))
    assert (regsoft.model.variant, regsoft.seed, other) == ("regsoft", 7, Path("~/w").expanduser())


def test_a_tilde_in_config_fields_is_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    overrides = ["--config.data.dir=~/a", "--config.data.prior=~/p.json", "--config.data.mix=folder:~/b=2,folder:/c~"]
    data = load_config(None, overrides, program="p").data
    assert (data.dir, data.prior, data.mix) == ("/home/me/a", "/home/me/p.json", "folder:/home/me/b=2,folder:/c~")


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (UserError("No photo here."), 2, "error: No photo here."),
        (KeyboardInterrupt(), 130, "Stopped."),
        (ModuleNotFoundError("No module", name="tensorflow.data"), 2, "pip install 'semcolor-jax[train]'"),
        (ModuleNotFoundError("No module", name="h5py"), 2, "pip install 'semcolor-jax[score]'"),
        (ModuleNotFoundError("No module", name="uvicorn"), 2, "pip install 'semcolor-jax[web]'"),
    ],
)
def test_what_the_user_can_mend_is_one_sentence(monkeypatch, capsys, error, code, words):
    def run(arguments, overrides):
        raise error

    monkeypatch.setattr(train_commands, "run_train", run)
    with pytest.raises(SystemExit) as end:
        main(["train"])
    assert end.value.code == code
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    with pytest.raises(type(error)):  # and with its traceback where it is asked for
        main(["train", "--debug"])


@pytest.mark.parametrize("error", [ValueError("ours"), ModuleNotFoundError("ours", name="semcolor_jax.nothing")])
def test_a_bug_keeps_its_traceback(error):
    with pytest.raises(type(error)), exits.user_errors():
        raise error


def test_a_closed_pipe_is_quiet():
    program = "from semcolor_jax.cli.exits import user_errors\nwith user_errors():\n  print('x' * 10**6)"
    command = f"{sys.executable} -c {shlex.quote(program)} | head -c 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert (done.stdout, done.stderr) == ("x141\n", "")


def test_a_platform_that_is_not_there_is_one_sentence(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    for error in (RuntimeError("Unable to initialize backend 'cuda'"), AssertionError()):
        monkeypatch.setattr("jax.default_backend", lambda error=error: (_ for _ in ()).throw(error))
        with pytest.raises(UserError, match=r"JAX_PLATFORMS is 'cuda', but .*`make setup CUDA=1`"):
            devices.check_devices()


@pytest.mark.parametrize(
    ("present", "platforms", "backend", "warned"),
    [(True, "", "cpu", True), (True, "", "gpu", False), (True, "cpu", "cpu", False), (False, "", "cpu", False)],
)
def test_an_unused_gpu_is_named(monkeypatch, caplog, tmp_path, present, platforms, backend, warned):
    (tmp_path / "nvidia0").write_text("")
    monkeypatch.setattr(devices, "NVIDIA_DEVICE", tmp_path / ("nvidia0" if present else "none"))
    monkeypatch.setenv("PATH", str(tmp_path))  # no nvidia-smi
    monkeypatch.setenv("JAX_PLATFORMS", platforms)
    monkeypatch.setattr("jax.default_backend", lambda: backend)
    monkeypatch.setattr(devices.logger.parent, "propagate", True)
    devices.check_devices()
    assert ("CUDA=1" in caplog.text) == warned
