#!/bin/sh
# Everything about a GPU in one call of at most ten minutes, from a checkout, with nothing to set up:
#   benchmarks/gpu.sh OUT [CAMVID]      the tests marked gpu, the speed and memory table, a training killed and
#                                       resumed, and (with CAMVID's folder) three arms of the cascade at once
#   benchmarks/gpu.sh --wheels [PYTHON]  before that, where there is a package index: what GPU machines may lack, into
#                                       .whl (default: Python 3.12); it is installed from there, into a folder of its own
# Needs PyTorch for the GPU, torchvision, timm and pytest for the Python that PYTHON names (default: python3).
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
if [ "${1:-}" = --wheels ]; then
  "$python" -m pip download -q --no-deps --only-binary=:all: --python-version "${2:-3.12}" --implementation cp \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 -d .whl \
    lightning-fabric segmentation-models-pytorch shellingham
  exit
fi
out=${1:?usage: benchmarks/gpu.sh OUT [CAMVID]}
mkdir -p "$out"
if ls .whl/*.whl >/dev/null 2>&1; then
  "$python" -m pip install -q --no-index --no-deps --no-compile --upgrade --target "$out/site" .whl/*.whl
fi
export PYTHONPATH="src:.:$out/site${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
"$python" -m pytest -q -m gpu -p no:cacheprovider tests/gpu 2>&1 | tail -n 15 | tee "$out/tests.txt"
"$python" benchmarks/gpu.py speed -o "$out/gpu.json" --seconds "${SPEED_SECONDS:-180}"
"$python" benchmarks/gpu.py resume -o "$out/gpu.json"
[ $# -lt 2 ] || "$python" benchmarks/gpu.py arms -o "$out/arms.json" --data "camvid:$2" --seconds "${ARM_SECONDS:-150}"
rm -rf "$out/site"
