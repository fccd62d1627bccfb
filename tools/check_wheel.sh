#!/bin/sh
# Builds the wheel, installs it into an empty environment elsewhere, colours a photo there, and starts a training with the
# extra `train`. Usage: sh tools/check_wheel.sh PYTHON, with the interpreter that makes the environment.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
python=$1
case $python in */*) python=$(cd "$(dirname "$python")" && pwd)/$(basename "$python") ;; esac
elsewhere=$(mktemp -d)
trap 'rm -rf "$elsewhere"' EXIT
limit=900 # MB, of the environment that colours

rm -rf "$root/build"
"$python" -m pip wheel --quiet --no-deps --wheel-dir "$elsewhere" "$root"
wheel=$(ls "$elsewhere"/semcolor_jax-*.whl)

cd "$elsewhere"
"$python" -m venv venv
PATH="$elsewhere/venv/bin:$PATH"
unset PYTHONPATH
if command -v uv >/dev/null 2>&1; then
    install() { uv pip install --quiet --python venv/bin/python -c "$root/constraints.txt" "$1"; }
else
    install() { venv/bin/python -m pip install --quiet -c "$root/constraints.txt" "$1"; }
fi

install "$wheel"
megabytes=$(du -sm venv | cut -f1)
echo "check_wheel: $megabytes MB installed"
[ "$megabytes" -lt "$limit" ] || { echo "error: the environment has more than $limit MB." >&2; exit 1; }
for package in tensorflow tensorflow_datasets sklearn tensorboard; do
    ! python -c "import $package" 2>/dev/null || { echo "error: $package came with the wheel." >&2; exit 1; }
done
cp "$root/docs/images/semcolor-v1.1.jpg" photo.jpg
semcolor colorize photo.jpg -o coloured
test -s coloured/photo.jpg
! semcolor data sample-photos -o photos 2>sentence || { echo "error: sample-photos ran without its extra." >&2; exit 1; }
cat sentence
grep -q "semcolor-jax\[train\]" sentence

install "${wheel}[train]"
semcolor train --config quickstart --config.schedule.stage1_epochs=0.02 --config.schedule.stage2_epochs=0.01
semcolor model info runs/quickstart
echo "check_wheel: installed, coloured, trained"
