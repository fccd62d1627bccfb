"""Mutation testing: small faults put into color, losses and metrics; do the tests notice?

python tools/soak/mutation.py [--count 400] [--seed 0] [--workdir runs/mutation]        (or: make mutation)

cosmic-ray lists the faults: another operator, comparison or constant, a dropped `not` or decorator, an empty loop. Of
those that can change what a program computes (`Behaviour` has the rules), `--count` are drawn by `--seed` and tried one
after the other, in the order of the draw, so that a run that is stopped is a smaller draw. Each is put into a copy of
the package, and the test files of its module run in a process of their own. A stopped run goes on where it was, from
what WORKDIR records; delete that folder after a change of the code. `experiments/results/mutation.json` has the score
and every survivor; `tools/soak/mutation_explained.json` says why those that stay do.
"""

from __future__ import annotations

import argparse
import ast
import collections
import dataclasses
import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cosmic_ray import plugins
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code

ROOT = Path(__file__).resolve().parents[2]
RESULT = ROOT / "experiments" / "results" / "mutation.json"
EXPLAINED = Path(__file__).with_name("mutation_explained.json")

TESTS = {
    "color/bins.py": ("color/test_bins.py", "color/test_encoding.py"),
    "color/decoding.py": ("color/test_decoding.py",),
    "color/encoding.py": ("color/test_encoding.py",),
    "color/gamut.py": ("color/test_gamut.py",),
    "color/hue_chroma.py": ("color/test_hue_chroma.py",),
    "color/lab.py": ("color/test_lab.py",),
    "color/rebalancing.py": ("color/test_rebalancing.py",),
    "losses/fused_heads.py": ("losses/test_fused_heads.py",),
    "losses/objective.py": ("training/test_step.py",),
    "losses/paper.py": ("training/test_step.py", "models/test_output_stride.py"),
    "losses/terms.py": ("losses/test_terms.py",),
    "metrics/classification.py": ("metrics/test_classification.py",),
    "metrics/error_histogram.py": ("metrics/test_similarity.py",),
    "metrics/fid.py": ("metrics/test_fid.py",),
    "metrics/lpips.py": ("metrics/test_lpips.py",),
    "metrics/scenes.py": ("metrics/test_scenes.py",),
    "metrics/segmentation.py": ("metrics/test_segmentation.py",),
    "metrics/similarity.py": ("metrics/test_similarity.py",),
    "metrics/valid_area.py": ("metrics/test_valid_area.py", "metrics/test_lpips.py"),
}
"""The modules that are mutated, and their tests. Inception's are `make parity`'s, which needs PyTorch."""

LEFT_OUT = ("_RShift", "_LShift", "_BitOr", "_BitAnd", "_BitXor", "Eq_Is", "Eq_IsNot", "NotEq_Is", "NotEq_IsNot")
"""Ends of names of operators: floats have no bits, which any test finds, and `is` for `==` is a matter of interning."""

TIMEOUT = 600.0
"""Seconds after which a mutant counts as killed: it runs for ever."""


class Behaviour(ast.NodeTransformer):
    """Strips what no result depends on: annotations, docstrings, texts of errors, asserts, caches and compilation."""

    def visit_arg(self, node: ast.arg) -> ast.AST:
        """Drops the annotation."""
        node.annotation = None
        return node

    def visit_arguments(self, node: ast.arguments) -> ast.AST:
        """Drops whether arguments are given by place or by name."""
        self.generic_visit(node)
        named, defaults = node.kwonlyargs, [default for default in node.kw_defaults if default is not None]
        return ast.arguments(
            [], [*node.posonlyargs, *node.args, *named], None, [], [], None, [*node.defaults, *defaults]
        )

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Drops the return annotation, and decorators that make a function faster."""
        self.generic_visit(node)
        node.returns = None
        node.decorator_list = [d for d in node.decorator_list if not {"jit", "cache", "lru_cache"} & set(_names(d))]
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        """Drops the annotation."""
        self.generic_visit(node)
        node.annotation = ast.Constant(None)
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        """Drops docstrings."""
        self.generic_visit(node)
        return ast.Pass() if isinstance(node.value, ast.Constant) else node

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        """Drops the assert: it checks our own constants."""
        return ast.Pass()

    def visit_keyword(self, node: ast.keyword) -> ast.AST:
        """Drops the `strict` of a `zip`, which is such a check, too."""
        self.generic_visit(node)
        return ast.keyword("strict", ast.Constant(...)) if node.arg == "strict" else node

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        """Drops the text of the error."""
        if isinstance(node.exc, ast.Call):
            node.exc.args, node.exc.keywords = [], []
        return node


def _names(node: ast.AST) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            yield part.id
        elif isinstance(part, ast.Attribute):
            yield part.attr


def behaviour(code: str) -> str | None:
    """Returns what a program computes, as text to compare; None for what is no Python."""
    try:
        return ast.dump(Behaviour().visit(ast.parse(code)))
    except SyntaxError:
        return None


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One fault: the `occurrence`-th place for an operator of cosmic-ray in a module."""

    module: str
    operator: str
    occurrence: int

    def code(self, original: str) -> str | None:
        """Returns the module with the fault."""
        return mutate_code(original, plugins.get_operator(self.operator)(), self.occurrence)


def places_of(module: str) -> Iterator[Mutant]:
    """Gives every place for a fault in a module, also those that change nothing."""
    nodes = list(ast_nodes(get_ast(source_of(module))))
    for name in sorted(plugins.operator_names()):
        operator = plugins.get_operator(name)
        if operator.arguments() or name.endswith(LEFT_OUT):
            continue
        places = sum(len(list(operator().mutation_positions(node))) for node in nodes)
        yield from (Mutant(module, name, number) for number in range(places))


def draw(count: int, *, seed: int) -> tuple[list[Mutant], int]:
    """Draws mutants that can change what a program computes; returns them and the number of all places."""
    places = [mutant for module in TESTS for mutant in places_of(module)]
    random.Random(seed).shuffle(places)  # noqa: S311
    originals = {module: behaviour(source_of(module)) for module in TESTS}
    drawn = (mutant for mutant in places if _changes(mutant, originals[mutant.module]))
    return list(itertools.islice(drawn, count)), len(places)


def _changes(mutant: Mutant, original: str | None) -> bool:
    code = mutant.code(source_of(mutant.module))
    return code is not None and behaviour(code) not in (None, original)


def source_of(module: str) -> str:
    """Returns the text of a module that is named as in `TESTS`."""
    return (ROOT / "semcolor_jax" / module).read_text(encoding="utf-8")


def change_of(mutant: Mutant) -> tuple[int, str, str]:
    """Returns the first line that the fault changes: its number, and it before and after."""
    before, after = source_of(mutant.module).splitlines(), (mutant.code(source_of(mutant.module)) or "").splitlines()
    for number, (old, new) in enumerate(itertools.zip_longest(before, after, fillvalue=""), 1):
        if old != new:
            return number, old.strip(), new.strip()
    raise AssertionError(f"{mutant} changes nothing")


class Copy:
    """A copy of package and tests, in which faults are put."""

    def __init__(self, folder: Path):
        self.folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        for name in ("semcolor_jax", "tests", "configs"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", folder)
        self._cache = folder.parent / "xla"

    def passes(self, module: str, code: str) -> bool:
        """Whether the tests of a module pass while its text is `code`."""
        path = self.folder / "semcolor_jax" / module
        path.write_text(code, encoding="utf-8")
        try:
            return self._run(TESTS[module])
        finally:
            path.write_text(source_of(module), encoding="utf-8")

    def _run(self, tests: Sequence[str]) -> bool:
        plain = ["-o", "addopts=", "-p", "no:cacheprovider", "-m", "not slow and not parity"]  # no check of shapes
        command = [sys.executable, "-m", "pytest", "-x", "-q", *plain, *(f"tests/{name}" for name in tests)]
        environment = os.environ | {
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": str(self.folder),
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
            "JAX_COMPILATION_CACHE_DIR": str(self._cache),
        }
        try:
            done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0


def known_of(workdir: Path) -> dict[Mutant, dict[str, Any]]:
    """Returns what earlier calls have tried; of a mutant that was tried twice, the later row."""
    record = workdir / "mutants.jsonl"
    rows = [json.loads(line) for line in record.read_text(encoding="utf-8").splitlines()] if record.exists() else []
    return {Mutant(row["module"], row["operator"], row["occurrence"]): row for row in rows}


def run(drawn: Sequence[Mutant], workdir: Path) -> None:
    """Tries the mutants that no earlier call has tried, and survivors that nobody has explained; records each."""
    known, copy, sound = known_of(workdir), Copy(workdir / "copy"), set()
    for number, mutant in enumerate(drawn, 1):
        if mutant in known and not (known[mutant]["survived"] and not why(known[mutant])):
            continue
        original = source_of(mutant.module)
        if mutant.module not in sound and not copy.passes(mutant.module, original):
            raise SystemExit(f"error: the tests of {mutant.module} fail without any fault.")
        sound.add(mutant.module)
        begun = time.perf_counter()
        survived = copy.passes(mutant.module, mutant.code(original) or original)
        line, before, after = change_of(mutant)
        row = dataclasses.asdict(mutant) | {"line": line, "before": before, "after": after, "survived": survived}
        with (workdir / "mutants.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(row | {"seconds": round(time.perf_counter() - begun, 1)}) + "\n")
        said = "SURVIVED" if survived else "killed"
        print(f"{number}/{len(drawn)} {said} {mutant.module}:{line}: {after}", flush=True)


def why(survivor: Mapping[str, Any]) -> str:
    """Returns the reason for which a survivor stays; "" where there is none yet."""
    explained = json.loads(EXPLAINED.read_text(encoding="utf-8")) if EXPLAINED.exists() else {}
    return explained.get(f"{survivor['module']}: {survivor['before']} -> {survivor['after']}", "")


def summary(rows: Sequence[dict[str, Any]], *, places: int, drawn: int, seed: int) -> dict[str, Any]:
    """Returns the score, in all and by module, and the survivors with what is known of them."""
    modules: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for row in rows:
        modules[row["module"]]["survived" if row["survived"] else "killed"] += 1
    killed = sum(counter["killed"] for counter in modules.values())
    survivors = [{name: row[name] for name in ("module", "line", "before", "after")} for row in rows if row["survived"]]
    for survivor in survivors:
        survivor["why"] = why(survivor)
    return {
        "places": places,
        "drawn": drawn,
        "seed": seed,
        "tried": len(rows),
        "killed": killed,
        "percent_killed": round(100 * killed / max(1, len(rows)), 1),
        "modules": {name: dict(modules[name]) for name in sorted(modules)},
        "survivors": survivors,
    }


def main() -> None:
    """Draws, tries and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workdir", type=Path, default=ROOT / "runs" / "mutation")
    parser.add_argument("--only", nargs="*", choices=list(TESTS), default=list(TESTS), help="modules; none: only write")
    options = parser.parse_args()
    options.workdir = options.workdir.resolve()
    options.workdir.mkdir(parents=True, exist_ok=True)
    drawn, places = draw(options.count, seed=options.seed)
    print(f"{places} places, {len(drawn)} mutants drawn", flush=True)
    run([mutant for mutant in drawn if mutant.module in options.only], options.workdir)
    known = known_of(options.workdir)
    rows = [known[mutant] for mutant in drawn if mutant in known]
    result = summary(rows, places=places, drawn=len(drawn), seed=options.seed)
    RESULT.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"killed {result['killed']} of {result['tried']}: {result['percent_killed']} %")


if __name__ == "__main__":
    main()
