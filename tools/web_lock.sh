#!/bin/sh
# Writes requirements/web.lock: what `semcolor serve` needs, at the versions of constraints.txt, with the hash of every file.
# Usage: sh tools/web_lock.sh, where uv is installed.
set -eu
cd "$(dirname "$0")/.."
{
    echo "# The page with everything it needs, by hash: pip install --require-hashes -r requirements/web.lock"
    echo "# Made by tools/web_lock.sh for Python 3.11 and newer."
    uv pip compile --quiet --no-header --universal --python-version 3.11 --generate-hashes -c constraints.txt \
        requirements/base.txt requirements/web.txt
} >requirements/web.lock.new
mv requirements/web.lock.new requirements/web.lock
