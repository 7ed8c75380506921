#!/bin/sh
# PASCAL Person-Part from the official archives to the paper's protocol. Not run yet: it needs a GPU.
#   runs/person_part.sh ARCHIVES WEIGHTS [ROOT [RUN]]
# ARCHIVES holds VOCtrainval_03-May-2010.tar and pascal_person_part.zip (or PASCAL-Part's trainval.tar.gz); WEIGHTS
# is a ResNet-101 trained on ImageNet, as safetensors under timm's key names.
set -eu
archives=$1
weights=$2
root=${3:-data/person-part}
run=${4:-runs/person-part}
refineseg data prepare person-part "$archives"/* -o "$root"
refineseg check "person-part:$root"
refineseg train --recipe paper --config configs/recipes/person-part.yaml --data "person-part:$root" \
  --backbone-weights "$weights" -o "$run"
refineseg evaluate --model "$run/best" --data "person-part:$root" --split val --protocol paper \
  --json "$run/val.json" --report "$run/report"
