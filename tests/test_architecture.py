"""Imports go one way; docs/architecture.md has the same order."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ORDER = (
    ("errors", "files", "config", "backend"),
    ("color", "taxonomy", "photos", "formats"),
    ("ops",),
    ("models",),
    ("losses",),
    ("baselines",),
    ("checkpoints", "metrics"),
    ("inference", "data"),
    ("scenes", "evaluation"),
    ("training",),
    ("web", "cli"),
)
RANK = {package: rank for rank, tier in enumerate(ORDER) for package in tier}


def _package(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "semcolor_jax" and len(parts) > 1 else None


def _imported(path: Path) -> set[str]:
    """The packages of semcolor_jax that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = (
                [f"{node.module}.{alias.name}" for alias in node.names]
                if node.module == "semcolor_jax"
                else [node.module]
            )
            found |= {package for name in names if (package := _package(name))}
        elif isinstance(node, ast.Import):
            found |= {package for alias in node.names if (package := _package(alias.name))}
    return found & RANK.keys()


def test_every_package_has_a_place_in_the_order():
    inside = {path.stem if path.is_file() else path.name for path in (ROOT / "semcolor_jax").iterdir()}
    assert inside - {"__init__", "__main__", "__pycache__", "weights", "py"} <= RANK.keys() | {"py.typed"}


@pytest.mark.parametrize("path", sorted((ROOT / "semcolor_jax").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way(path):
    inside = path.relative_to(ROOT / "semcolor_jax")
    own = RANK.get(inside.parts[0].removesuffix(".py"))
    if own is None:  # the package's own __init__ and __main__ stand above all
        return
    wrong = {package for package in _imported(path) if RANK[package] > own}
    assert wrong == set()


@pytest.mark.parametrize("word", ["optimization_barrier", "default_backend"])
def test_only_backend_knows_the_hardware(word):
    users = {path.name for path in (ROOT / "semcolor_jax").rglob("*.py") if word in path.read_text(encoding="utf-8")}
    assert users == {"backend.py"}


def test_no_two_test_files_share_a_name():
    """Pytest imports test files by their bare name, and refuses the second of two."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))
