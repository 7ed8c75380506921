#!/bin/sh
# The fast tests in an environment for each of the given Pythons ("oldest": the lowest versions that pyproject.toml
# allows, on 3.11), with coverage; without arguments on all of them. An interpreter that is missing is named and skipped.
#   scripts/test_all.sh [3.11] [3.12] [3.13] [oldest]
set -eu
command -v uv >/dev/null 2>&1 || { echo "uv not found: pip install uv" >&2; exit 2; }
[ $# -gt 0 ] || set -- 3.11 3.12 3.13 oldest
failed="" skipped=""
for version in "$@"; do
  python=$version resolution=highest
  [ "$version" != oldest ] || { python=3.11 resolution=lowest-direct; }
  if ! uv python find --no-python-downloads "$python" >/dev/null 2>&1; then
    skipped="$skipped $version"
    continue
  fi
  venv=.venv-$version
  uv venv -q --allow-existing --no-python-downloads --python "$python" "$venv"
  uv pip install -q --python "$venv/bin/python" --resolution "$resolution" -e '.[dev]' 'pytest-cov>=6'
  echo "== Python $version"
  OMP_NUM_THREADS=1 "$venv/bin/pytest" -q -n 2 --cov=refineseg --cov-report=term:skip-covered | tail -n "${LINES_SHOWN:-60}" \
    > "$venv/report" || true
  cat "$venv/report"
  tail -n 1 "$venv/report" | grep -q " passed" && ! tail -n 1 "$venv/report" | grep -Eq " failed| error" || failed="$failed $version"
done
[ -z "$skipped" ] || echo "skipped, no such Python here:$skipped"
[ -z "$failed" ] || { echo "failed on:$failed"; exit 1; }
