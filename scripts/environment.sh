#!/bin/sh
# Make the virtual environment $1 from the locked versions in $2 with the Python $3; uv is fetched where missing.
set -eu
venv=$1 locked=$2 python=$3
if command -v uv >/dev/null 2>&1; then
  uv=uv
else
  # A small environment of its own for uv, so that nothing is installed into the system's Python.
  [ -x "$venv-uv/bin/uv" ] || {
    echo "fetching uv ..."
    "$python" -m venv "$venv-uv"
    "$venv-uv/bin/python" -m pip install --quiet --disable-pip-version-check uv
  }
  uv=$venv-uv/bin/uv
fi
[ -x "$venv/bin/python" ] || "$uv" venv --quiet --python "$python" "$venv"
echo "installing locked versions of $locked into $venv (about 5 GB with the ordinary torch) ..."
"$uv" pip install --compile-bytecode --python "$venv/bin/python" --require-hashes -r "$locked"
"$uv" pip install --quiet --python "$venv/bin/python" --no-deps -e .
