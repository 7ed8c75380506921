"""Take a part of the loss's class weights back out of a trained model (logit adjustment, Menon et al., ICLR 2021).

    python scripts/unweigh.py MODEL --data camvid:DIR --power 0.15 -o OUT

Trained with ``class_weights=P`` a network scores as if rare classes were more frequent, by that power of their
inverse frequency: rare things are found, and their surroundings with them. The logarithm of the weights of
``--power`` is taken off the classifier's biases, which leaves what ``P - power`` would have made.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import torch

from refineseg.config import AugmentConfig
from refineseg.data import open_data
from refineseg.data.batches.loader import TrainingPictures
from refineseg.model.folders.model_folder import load_model_folder, save_model_folder
from refineseg.training.losses import class_weights


def main() -> None:
    """Write OUT, a model folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", required=True, help="whose train gives the frequencies, as in training")
    parser.add_argument("--power", type=float, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args()
    network, card = load_model_folder(given.model)
    pictures = TrainingPictures(open_data(given.data), "train", AugmentConfig(), seed=0)
    pictures.prepare(cache_mb=0)
    shift = class_weights(pictures.class_pixels.sum(0), given.power).log()
    with torch.no_grad():
        network.classifier.bias -= shift
    save_model_folder(given.output, network, dataclasses.replace(card, scores=(), calibration={}))


if __name__ == "__main__":
    main()
