#!/bin/sh
# The bundled model `camvid` from nothing: ImageNet weights of MobileNet-v2, CamVid train, chosen on val.
#   runs/camvid.sh [DATA [WEIGHTS [RUN]]]       about five hours on two cores with bf16
# First stage: pictures at their own size. Second: enlarged 1.5 times (input_scales, part of the network), for thin
# objects: poles are two or three pixels wide, less than the stride of the scores.
# Third: half of another picture's classes pasted onto every second picture, which helps on unseen drives. The average
# of the weights of the second and third stage is trained further.
# Fourth: enlarged twice, once on train and once on train and val. The released model is the average of these three;
# the average without the one trained on val is the one that is scored. In both, half of the class weights'
# logarithm is subtracted from the logits, which helps on val and on the unseen drive.
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
python scripts/average.py "$run/second/best" "$run/third/last" -o "$run/before"
fourth() { # OUT SETTING ...
  refineseg train --data "camvid:$data" --model "$run/before" -o "$@" \
    --epochs 14 --batch-size 8 --lr 0.0004 --precision bf16 --crop 224x304 --set "model.input_scales=[2.0]" \
    --set "augment.scale=[0.6, 1.6]" --set augment.class_mix=0.5 \
    --set augment.brightness=0.4 --set augment.contrast=0.4 --set augment.saturation=0.4 --set augment.hue=0.05 \
    --set class_weights=0.3 --set ema=0.99
}
fourth "$run/alone"
fourth "$run/both" --set "train_splits=[train, val]" --seed 1
average() { # OUT MODEL ...
  out=$1
  shift
  python scripts/average.py "$@" --set "input_scales=[2.0]" -o "$out-weighed"
  python scripts/unweigh.py "$out-weighed" --data "camvid:$data" --power 0.15 -o "$out"
}
average "$run/without-val" "$run/before" "$run/alone/last"
average "$run/model" "$run/before" "$run/alone/last" "$run/both/last"
refineseg evaluate --model "$run/without-val" --data "camvid:$data" --split val --json "$run/val.json"
