#!/bin/sh
# The fast tests in an environment for each of the given Pythons ("oldest": the lowest versions that pyproject.toml
# allows, on 3.11), with coverage; without arguments on all of them. An interpreter that is missing is named and skipped.
#   scripts/test_all.sh [3.11] [3.12] [3.13] [oldest]
set -eu
command -v uv >/dev/null 2>&1 || { echo "uv not found: pip install uv" >&2; exit 2; }
[ $# -gt 0 ] || set -- 3.11 3.12 3.13 oldest

find_python() {  # pyenv's shims run only the versions that are switched on: all of them, for this search
  PYENV_VERSION=$(pyenv versions --bare 2>/dev/null | paste -s -d : -) uv python find --no-python-downloads "$1" 2>/dev/null
}

failed="" skipped=""
for version in "$@"; do
  python=$version resolution=highest
  [ "$version" != oldest ] || { python=3.11 resolution=lowest-direct; }
  python=$(find_python "$python") || { skipped="$skipped $version"; continue; }
  venv=.venv-$version
  uv venv -q --clear --python "$python" "$venv"  # an older environment's versions would be kept
  uv pip install -q --python "$venv/bin/python" --resolution "$resolution" -e '.[dev]' 'pytest-cov>=6'
  echo "== Python $version"
  OMP_NUM_THREADS=1 "$venv/bin/pytest" -q -n 2 --cov=refineseg --cov-report=term:skip-covered || failed="$failed $version"
done
[ -z "$skipped" ] || echo "skipped, no such Python here:$skipped"
[ -z "$failed" ] || { echo "failed on:$failed"; exit 1; }
