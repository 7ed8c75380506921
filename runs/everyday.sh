#!/bin/sh
# The bundled model `everyday` (VOC's 20 classes and background).
#   runs/everyday.sh DATA ENCODER TEACHER [RUN]
# DATA    PASCAL VOC 2012 in its own layout; trained here on the 3,357 pictures of trainaug that public repositories hold
# ENCODER mobilenetv2_100_deeplab_voc_trainaug.safetensors: MobileNet-v2 trained on ImageNet, COCO and VOC trainaug as
#         the encoder of a DeepLab-v3, under timm's names
# TEACHER deeplabv3_mnv2_voc_trainaug.safetensors: that whole DeepLab-v3 (benchmarks/deeplab.py)
# Output stride 8 by dilation, as the DeepLab; the decoder starts with the DeepLab's head in it, trained on single
# cells, and the same DeepLab is the teacher. Pictures are sampled by class, since a third of them are dogs and most classes
# have 38 to 180. Batch norm stays frozen. The learning rate is low: at ten times the rate the head was lost
# within 100 steps; the finest path, which starts at zero, has a higher one (docs/notebook/experiments.md).
set -eu
data=$1
encoder=$2
teacher=$3
run=${4:-runs/everyday}
[ -d "$run/start" ] || python benchmarks/deeplab_head.py "$teacher" "$encoder" "voc2012:$data" -o "$run/start"
leg() { # OUT FROM MINUTES MULTIPLIER SEED
  python benchmarks/deeplab.py "$teacher" "voc2012:$data" --train "$1" --set "model=$2" --set "minutes=$3" \
    --set "lr_multipliers={decoder.blocks.1.adapt: $4, decoder.blocks.1.pooling: $4}" --set "seed=$5" \
    --set lr=0.00006 --set backbone_lr=0.3 --set warmup=0.05 --set weight_decay=0.001 --set batch_size=8 \
    --set precision=bf16 --set freeze_batch_norm=true --set balanced_sampling=true --set ema=0.99 \
    --set validate_every=1 --set loss=boundary_weighted --set teacher_weight=0.5 --set "augment.crop=416" \
    --set "augment.scale=[0.7, 1.3]" --set augment.rare_crop=0.5
}
leg "$run/first" "$run/start" 36 4 0
leg "$run/second" "$run/first/last" 40 8 1
python scripts/average.py "$run/first/last" "$run/second/last" -o "$run/average"
python scripts/bundle.py "$run/average" everyday --data "voc2012:$data"
