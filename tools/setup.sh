#!/bin/sh
# Makes .venv with the newest of Python 3.13, 3.12, 3.11 that runs here, and installs the tested versions into it.
# Uses uv where it is present, else pip. CUDA=1 adds the NVIDIA build of jaxlib; PYTHON=... names an interpreter.
set -eu
cd "$(dirname "$0")/.."

find_python() {
    for version in 3.13 3.12 3.11; do
        # A pyenv shim can be on the PATH without its version being active: look into pyenv's own folder as well.
        for candidate in "python$version" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python"$version"; do
            if "$candidate" -c 'import ensurepip, venv' >/dev/null 2>&1; then
                echo "$candidate"
                return
            fi
        done
    done
    echo "error: no Python 3.13, 3.12 or 3.11 with venv was found: install one, or name it: make setup PYTHON=..." >&2
    exit 2
}

python=${PYTHON:-$(find_python)}
echo "setup: $("$python" --version) ($python)"
requirements="-r requirements.txt -r requirements/dev.txt"
[ -z "${CUDA:-}" ] || requirements="$requirements -r requirements/cuda.txt"

rm -rf .venv
if command -v uv >/dev/null 2>&1; then
    uv venv --quiet --python "$python" .venv
    # shellcheck disable=SC2086
    uv pip install --quiet --python .venv/bin/python $requirements -c constraints.txt
    uv pip install --quiet --python .venv/bin/python --no-deps --editable .
else
    "$python" -m venv .venv
    # shellcheck disable=SC2086
    .venv/bin/python -m pip install --quiet $requirements -c constraints.txt
    .venv/bin/python -m pip install --quiet --no-deps --editable .
fi
echo "setup: .venv is ready"
