"""Writes constraints.txt, or constraints-beam.txt, from what pip resolves today for each supported Python.

python3 tools/constraints.py [--beam] python3.11 python3.12 python3.13

Run the test suite (or `make beam`) under each interpreter before committing the result: the file promises tested
versions.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CUDA = ("requirements.txt", "requirements/dev.txt", "requirements/cuda.txt", "requirements/soak.txt")
BEAM = ("requirements/base.txt", "requirements/train.txt", "requirements/beam.txt")
BEAM_TESTS = ("pytest", "beartype", "hypothesis")


def resolve(python: str, *, beam: bool) -> tuple[str, dict[str, str]]:
    """Returns the interpreter's "3.x" and the version of every package of a set-up with CUDA=1, or of `make beam`."""
    version = subprocess.check_output(
        [python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], text=True
    ).strip()
    command = [python, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-"]
    for name in BEAM if beam else CUDA:
        command += ["-r", str(ROOT / name)]
    report = json.loads(subprocess.check_output([*command, *(BEAM_TESTS if beam else ())], text=True))
    packages = (item["metadata"] for item in report["install"])
    return version, {re.sub(r"[-_.]+", "-", p["name"]).lower(): p["version"] for p in packages}


def main(arguments: list[str]) -> None:
    """Merges the resolutions: one line where all agree, one line a Python version where they differ."""
    beam = "--beam" in arguments
    resolved = dict(resolve(python, beam=beam) for python in arguments if python != "--beam")
    lines = [f"# Tested versions for Python {', '.join(sorted(resolved))}; made by tools/constraints.py."]
    for name in sorted({name for packages in resolved.values() for name in packages}):
        versions = {python: packages.get(name) for python, packages in resolved.items()}
        if len(set(versions.values())) == 1:
            lines.append(f"{name}=={next(iter(versions.values()))}")
        else:
            lines += [
                f'{name}=={version}; python_version == "{python}"'
                for python, version in sorted(versions.items())
                if version is not None
            ]
    (ROOT / ("constraints-beam.txt" if beam else "constraints.txt")).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
