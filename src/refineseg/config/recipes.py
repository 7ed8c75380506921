"""The recipes: settings that belong together, by name. No torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from refineseg.config.augment import AugmentConfig
from refineseg.config.training import TrainConfig

NO_JITTER = AugmentConfig(brightness=0.0, contrast=0.0, saturation=0.0, hue=0.0, blur=0.0)


def paper_recipe(by_class: bool = False) -> TrainConfig:
    """The authors' recipe, pictures and crops drawn at random; docs/reproduction.md has it setting by setting.

    In their other form (``by_class``) every crop is centred on a pixel of a class drawn from the picture's, and
    pictures are sampled by class above 1,000.
    """
    return TrainConfig(
        fields={"input_scales": [1.2]},
        augment=replace(
            NO_JITTER,
            crop=(400, 400),
            scale=(0.7, 1.3),
            scale_step=0.1,
            short_edge=(450, 1100),
            pad=False,
            rare_crop=float(by_class),
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
        balanced_sampling="paper" if by_class else False,
        ema=0.0,
        clip_norm=0.0,
    )


def lightweight_recipe() -> TrainConfig:
    """Light-Weight RefineNet's (Nekrasov et al., BMVC 2018): batch 6, three stages with the rates halved."""
    return replace(
        paper_recipe(),
        fields={"init": "default"},
        augment=replace(NO_JITTER, crop=(500, 500), scale=(0.5, 2.0), rare_crop=0.0),
        batch_size=6,
        lr=5e-3,
        weight_decay=1e-5,
        schedule="halving",
        loss_resolution="full",
    )


RECIPES: dict[str, Callable[[], TrainConfig]] = {
    "modern": TrainConfig,
    "paper": paper_recipe,
    "paper-class-crop": partial(paper_recipe, by_class=True),
    "lightweight": lightweight_recipe,
}
