#!/bin/sh
# The bundled model `camvid` from nothing: ImageNet weights of MobileNet-v2, CamVid train, chosen on val.
#   runs/camvid.sh [DATA [WEIGHTS [RUN]]]       about an hour on two cores with bf16
# Half-pixel upsampling in the decoder (align_corners=false) makes tiles agree; see docs/architecture.md.
set -eu
data=${1:-../shared/data/camvid}
weights=${2:-../shared/weights/mobilenetv2_100_imagenet.safetensors}
run=${3:-runs/camvid}
refineseg train --data "camvid:$data" --model refinenet-lw-mbv2 --backbone-weights "$weights" \
  --epochs 45 --batch-size 8 --lr 0.001 --precision bf16 --set model.align_corners=false --set model.dropout=0 \
  --set class_weights=0.3 --set ema=0.995 -o "$run"
refineseg evaluate --model "$run/best" --data "camvid:$data" --split val --json "$run/val.json"
