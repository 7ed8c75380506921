#!/bin/sh
# The bundled model `camvid-fast`: for cameras; CamVid train, distilled from the copy of `camvid` that has not seen val.
#   runs/camvid_fast.sh [DATA [RUN]]       half an hour of one core with bf16
# Pictures are seen 1.5 times as large (`camvid`: twice), one block of width 128 in place of four of 256, corners
# aligned on the grid of strides. The backbone starts as that copy's, the decoder is new.
set -eu
data=${1:-../shared/data/camvid}
run=${2:-runs/camvid-fast}
teacher=runs/camvid-without-val
refineseg train --data "camvid:$data" --model refinenet-lw-mbv2 --backbone-weights "$teacher" \
  --minutes 29 --batch-size 8 --lr 0.001 --precision bf16 --crop 256x352 --set backbone_lr=0.3 --set ema=0.99 \
  --set model.cascade=single --set model.width=128 --set model.coarse_width=128 --set model.crp_stages=2 \
  --set model.align_corners=true --set model.exact_strides=true --set "model.input_scales=[1.5]" \
  --set model.dropout=0 --set class_weights=0.3 --set validate_every=1 \
  --set "teacher=$teacher" --set teacher_weight=0.5 --set "augment.scale=[0.6, 1.6]" --set augment.class_mix=0.5 \
  --set augment.brightness=0.4 --set augment.contrast=0.4 --set augment.saturation=0.4 --set augment.hue=0.05 \
  -o "$run/model"
python scripts/unweigh.py "$run/model/last" --data "camvid:$data" --power 0.15 -o "$run/unweighed"
python scripts/bundle.py "$run/unweighed" camvid-fast --data "camvid:$data"
