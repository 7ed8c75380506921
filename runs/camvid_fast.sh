#!/bin/sh
# The bundled model `camvid-fast`, for cameras, on CamVid; the teacher is the copy of `camvid` trained without val.
#   runs/camvid_fast.sh [DATA [RUN]]       two hours of one core with bf16
# Pictures are enlarged 1.75 times (`camvid`: twice); one block of width 128 replaces four of 256, with aligned corners
# and exact strides. The backbone starts from the teacher's, the decoder is new. The teacher takes more than half of
# the time and misses poles, so the third and fourth stage use labels alone, with outlines weighted, and gain more in
# the same time. The last stage trains on val too; the score given for it is that of the third.
set -eu
data=${1:-../shared/data/camvid}
run=${2:-runs/camvid-fast}
teacher=runs/camvid-without-val
leg() { # OUT MINUTES RATE SEED CLASS_WEIGHTS and more
  out=$1 minutes=$2 rate=$3 seed=$4 weights=$5
  shift 5
  refineseg train --data "camvid:$data" -o "$run/$out" --minutes "$minutes" --lr "$rate" --seed "$seed" \
    --batch-size 8 --precision bf16 --crop 256x352 --set backbone_lr=0.3 --set warmup=0.03 --set ema=0.99 \
    --set "class_weights=$weights" --set validate_every=1 --set "augment.scale=[0.6, 1.6]" \
    --set augment.class_mix=0.5 --set augment.brightness=0.4 --set augment.contrast=0.4 \
    --set augment.saturation=0.4 --set augment.hue=0.05 "$@"
}
leg first 29 0.001 0 0.3 --model refinenet-lw-mbv2 --backbone-weights "$teacher" \
  --set model.cascade=single --set model.width=128 --set model.coarse_width=128 --set model.crp_stages=2 \
  --set model.align_corners=true --set model.exact_strides=true --set "model.input_scales=[1.5]" \
  --set model.dropout=0 --set "teacher=$teacher" --set teacher_weight=0.5
leg second 20 0.0007 1 0.4 --model "$run/first/last" --set "teacher=$teacher" --set teacher_weight=0.4
leg third 40 0.0007 2 0.3 --model "$run/second/last" --set "model.input_scales=[1.75]" --set loss=boundary_weighted
leg both 20 0.0004 3 0.3 --model "$run/third/last" --set "train_splits=[train, val]" --set loss=boundary_weighted
for name in third both; do
  python scripts/unweigh.py "$run/$name/last" --data "camvid:$data" --power 0.2 -o "$run/$name-unweighed"
done
python scripts/bundle.py "$run/both-unweighed" camvid-fast --data "camvid:$data" --without-val "$run/third-unweighed"
