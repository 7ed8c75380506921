"""The recipes: settings that belong together, by name. No torch."""

from __future__ import annotations

from dataclasses import replace

from refineseg.config.augment import AugmentConfig
from refineseg.config.training import TrainConfig

NO_JITTER = AugmentConfig(brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0, blur=0.0)


def paper_recipe() -> TrainConfig:
    """The authors' recipe, with crops drawn anywhere; docs/reproduction.md has it setting by setting."""
    return TrainConfig(
        fields={"input_scales": [1.2]},
        augment=replace(
            NO_JITTER,
            crop=(400, 400),
            scale=(0.7, 1.3),
            scale_step=0.1,
            short_edge=(450, 1100),
            pad=False,
            rare_crop=0.0,
        ),
        batch_size=1,
        optimizer="sgd",
        lr=5e-4,
        backbone_lr=0.1,
        weight_decay=5e-4,
        decay_all=True,
        schedule="step",
        warmup=0.0,
        freeze_batch_norm="statistics",
        loss_resolution="paper",
        balanced_sampling="paper",
        ema=0.0,
        clip_norm=0.0,
    )


def paper_class_crop_recipe() -> TrainConfig:
    """The authors' other form: every crop is centred on a pixel of a class drawn from the picture's classes."""
    recipe = paper_recipe()
    return replace(recipe, augment=replace(recipe.augment, rare_crop=1.0))


def lightweight_recipe() -> TrainConfig:
    """Light-Weight RefineNet's (Nekrasov et al., BMVC 2018): batch 6, three stages with the rates halved."""
    return TrainConfig(
        fields={"init": "default"},
        augment=replace(NO_JITTER, crop=(500, 500), scale=(0.5, 2.0), rare_crop=0.0),
        batch_size=6,
        optimizer="sgd",
        lr=5e-3,
        backbone_lr=0.1,
        weight_decay=1e-5,
        decay_all=True,
        schedule="halving",
        warmup=0.0,
        freeze_batch_norm="statistics",
        ema=0.0,
        clip_norm=0.0,
    )


RECIPES = {
    "modern": TrainConfig,
    "paper": paper_recipe,
    "paper-class-crop": paper_class_crop_recipe,
    "lightweight": lightweight_recipe,
}
