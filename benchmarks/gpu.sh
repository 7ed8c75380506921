#!/bin/sh
# Everything about a GPU in one call of at most ten minutes, from a checkout, with nothing to set up:
#   benchmarks/gpu.sh OUT [CAMVID]      the tests marked gpu, a training killed and resumed, (with CAMVID's folder) three
#                                       arms of the cascade at once, and the speed and memory table in the time left
#   benchmarks/gpu.sh --wheels [PYTHON]  before that, where there is a package index: what GPU machines may lack, into
#                                       .whl (default: Python 3.12); it is installed from there, outside the checkout
#   benchmarks/gpu.sh --camvid DIR      before that: CamVid as JPEGs into .camvid, 25 MiB, if all has to be sent there
# Needs PyTorch for the GPU, torchvision, timm and pytest for the Python that PYTHON names (default: python3).
# OUT has at most six small files. What fails or takes too long does not keep the rest from running. LIMIT is the time
# in seconds; DEVICE=cpu SMALL=--small tries it out on a processor.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
if [ "${1:-}" = --wheels ]; then
  "$python" -m pip download -q --no-deps --only-binary=:all: --python-version "${2:-3.12}" --implementation cp \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 -d .whl \
    lightning-fabric segmentation-models-pytorch shellingham
  exit
fi
if [ "${1:-}" = --camvid ]; then
  PYTHONPATH="src:.${PYTHONPATH:+:$PYTHONPATH}" "$python" benchmarks/gpu.py pack -o .camvid --data "$2"
  exit
fi
out=${1:?usage: benchmarks/gpu.sh OUT [CAMVID]}
start=$(date +%s)
left() { echo $((${LIMIT:-570} - $(date +%s) + start - $1)); }  # seconds, less those given
part() {  # the most seconds, and a part of benchmarks/gpu.py
  seconds=$1
  shift
  timeout -k 5 "$seconds" "$python" benchmarks/gpu.py "$@" --device "${DEVICE:-cuda}" ${SMALL:-} ||
    echo "$1 ended with $?; 124 is for too long"
}
mkdir -p "$out"
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
if ls .whl/*.whl >/dev/null 2>&1; then
  "$python" -m pip install -q --no-index --no-deps --no-compile --upgrade --target "$site" .whl/*.whl
fi
export PYTHONPATH="src:.:$site${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
timeout -k 5 150 "$python" -m pytest -q -m gpu -p no:cacheprovider tests/gpu >"$out/tests.txt" 2>&1 || true
tail -n 15 "$out/tests.txt"
part 120 resume -o "$out/gpu.json"
[ $# -lt 2 ] || part 250 arms -o "$out/arms.json" --data "camvid:$2" --seconds "${ARM_SECONDS:-150}"
part "$(left 5)" speed -o "$out/gpu.json" --seconds "$(left 15)"
