#!/bin/sh
# The bundled model `camvid` from nothing: ImageNet weights of MobileNet-v2, CamVid train, chosen on val.
#   runs/camvid.sh [DATA [WEIGHTS [RUN]]]       about three hours on two cores with bf16
# First at the pictures' own size; then on, seen 1.5 times as large (input_scales, part of the network), which names
# what is thin: poles are two or three pixels wide, less than the stride of the scores.
# Last with half of another picture's classes pasted onto every second one, which helps on a drive not seen; the
# average of both sets of weights is kept, and scored.
# Half-pixel upsampling in the decoder (align_corners=false) and exact strides make tiles agree; docs/architecture.md.
set -eu
data=${1:-../shared/data/camvid}
weights=${2:-../shared/weights/mobilenetv2_100_imagenet.safetensors}
run=${3:-runs/camvid}
refineseg train --data "camvid:$data" --model refinenet-lw-mbv2 --backbone-weights "$weights" \
  --epochs 45 --batch-size 8 --lr 0.001 --precision bf16 --set model.align_corners=false --set model.dropout=0 \
  --set class_weights=0.3 --set ema=0.995 -o "$run/first"
refineseg train --data "camvid:$data" --model "$run/first/best" \
  --epochs 28 --batch-size 8 --lr 0.0005 --precision bf16 --crop 256x352 \
  --set "model.input_scales=[1.5]" --set model.exact_strides=true --set "augment.scale=[0.6, 1.6]" \
  --set augment.brightness=0.4 --set augment.contrast=0.4 --set augment.saturation=0.4 --set augment.hue=0.05 \
  --set class_weights=0.3 --set ema=0.995 -o "$run/second"
refineseg train --data "camvid:$data" --model "$run/second/best" \
  --epochs 14 --batch-size 8 --lr 0.0004 --precision bf16 --crop 256x352 \
  --set "augment.scale=[0.6, 1.6]" --set augment.class_mix=0.5 \
  --set augment.brightness=0.4 --set augment.contrast=0.4 --set augment.saturation=0.4 --set augment.hue=0.05 \
  --set class_weights=0.3 --set ema=0.99 -o "$run/third"
python scripts/average.py "$run/second/best" "$run/third/last" -o "$run/model"
refineseg evaluate --model "$run/model" --data "camvid:$data" --split val --json "$run/val.json"
