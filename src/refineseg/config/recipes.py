"""The recipes: settings that belong together, by name. No torch."""

from __future__ import annotations

from refineseg.config.augment import AugmentConfig
from refineseg.config.training import TrainConfig


def paper_recipe() -> TrainConfig:
    """The authors' recipe: batch 1, SGD at 5e-4 then 5e-5, frozen batch norm, loss at stride 4, crop 400."""
    return TrainConfig(
        augment=AugmentConfig(
            crop=(400, 400),
            scale=(0.7, 1.3),
            scale_step=0.1,
            brightness=0.0,
            contrast=0.0,
            saturation=0.0,
            hue=0.0,
            blur=0.0,
        ),
        batch_size=1,
        optimizer="sgd",
        lr=5e-4,
        backbone_lr=0.1,
        weight_decay=5e-4,
        schedule="step",
        warmup=0.0,
        freeze_batch_norm=True,
        loss_resolution="paper",
        balanced_sampling=True,
        ema=0.0,
        clip_norm=0.0,
    )


RECIPES = {"modern": TrainConfig, "paper": paper_recipe}
