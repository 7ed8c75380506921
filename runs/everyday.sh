#!/bin/sh
# The bundled model `everyday` (VOC's 20 classes and background), in legs that each go on from the one before.
#   runs/everyday.sh DATA ENCODER TEACHER [RUN]
# DATA    PASCAL VOC 2012 in its own layout; trained here on the 3,357 pictures of trainaug that public repositories hold
# ENCODER mobilenetv2_100_deeplab_voc_trainaug.safetensors: MobileNet-v2 trained on ImageNet, COCO and VOC trainaug as
#         the encoder of a DeepLab-v3, under timm's names
# TEACHER deeplabv3_mnv2_voc_trainaug.safetensors: that whole DeepLab-v3 (benchmarks/deeplab.py)
# Pictures are drawn by class from the first step, since a third of them are dogs and most classes have 38 to 180.
# Batch norm stays as the encoder has it. From the second leg on a DeepLab-v3 teaches.
set -eu
data=$1
encoder=$2
teacher=$3
run=${4:-runs/everyday}
common="--set freeze_batch_norm=true --set balanced_sampling=true --set augment.rare_crop=0.7 --set ema=0.998"
# First leg: three epochs of a cosine over twelve, then stopped.
[ -d "$run/first" ] || refineseg train --data "voc2012:$data" --model refinenet-lw-mbv2 --backbone-weights "$encoder" \
  --epochs 12 --batch-size 8 --lr 0.001 --precision bf16 --crop 320x320 --set "augment.scale=[0.5, 1.5]" \
  --set model.width=128 --set model.coarse_width=128 --set model.align_corners=false --set model.exact_strides=true \
  --set "model.mean=[0.5, 0.5, 0.5]" --set "model.std=[0.5, 0.5, 0.5]" \
  --set backbone_lr=0.1 $common -o "$run/first"
leg() { # MODEL OUT LENGTH RATE CROP SEED SETTING ...
  model=$1 out=$2 length=$3 rate=$4 crop=$5 seed=$6
  shift 6
  python benchmarks/deeplab.py "$teacher" "voc2012:$data" --train "$out" --set "model=$model" --set "$length" \
    --set "lr=$rate" --set "$crop" --set "seed=$seed" --set batch_size=8 --set precision=bf16 \
    --set "augment.scale=[0.5, 1.5]" $common --set validate_every=1 "$@"
}
leg "$run/first/last" "$run/second" "epochs=5" 0.0007 "augment.crop=320" 0 --set teacher_weight=0.6 --set backbone_lr=0.15
leg "$run/second/last" "$run/third" "steps=780" 0.0005 "augment.crop=384" 1 --set teacher_weight=0.8 --set backbone_lr=0.1
python scripts/bundle.py "$run/third/last" everyday --data "voc2012:$data"
