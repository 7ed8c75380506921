#!/bin/sh
# The bundled model `everyday` (VOC's 20 classes and background), in legs that each go on from the one before.
#   runs/everyday.sh DATA ENCODER TEACHER PHOTOGRAPHS [RUN]
# DATA    PASCAL VOC 2012 in its own layout; trained here on the 3,357 pictures of trainaug that public repositories hold
# ENCODER mobilenetv2_100_deeplab_voc_trainaug.safetensors: MobileNet-v2 trained on ImageNet, COCO and VOC trainaug as
#         the encoder of a DeepLab-v3, under timm's names
# TEACHER deeplabv3_mnv2_voc_trainaug.safetensors: that whole DeepLab-v3 (benchmarks/deeplab.py)
# PHOTOGRAPHS a folder of pictures without masks for the last leg: 2,149 of Flickr8k and other public collections, those with
#         VOC's rare classes (by the teacher's eyes) up to four times
# Pictures are drawn by class from the first step, since a third of them are dogs and most classes have 38 to 180.
# Batch norm stays as the encoder has it. From the second leg on a DeepLab-v3 teaches.
set -eu
data=$1
encoder=$2
teacher=$3
photographs=$4
run=${5:-runs/everyday}
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
# The fourth leg was stopped at step 1,008 of 2,514, the fifth at 1,620 of 1,800.
leg "$run/third/last" "$run/fourth" "steps=2514" 0.0007 "augment.crop=384" 4 --set teacher_weight=0.8 --set backbone_lr=0.15
leg "$run/fourth/last" "$run/fifth" "steps=1800" 0.0006 "augment.crop=384" 5 --set teacher_weight=0.8 --set backbone_lr=0.15 \
  --set "unlabelled=$photographs" --set unlabelled_share=0.5
python scripts/average.py "$run/second/last" "$run/third/last" "$run/fourth/last" "$run/fifth/best" "$run/fifth/last" -o "$run/average"
python scripts/bundle.py "$run/average" everyday --data "voc2012:$data"
