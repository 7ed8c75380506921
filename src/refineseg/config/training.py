"""The settings of a training run. No torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from refineseg.config.augment import AugmentConfig
from refineseg.config.settings import Config, NonNegative, Share, require


@dataclass(frozen=True)
class TrainConfig(Config):
    """A training recipe. The defaults are the modern one; ``paper_recipe`` is that of the CVPR paper.

    Attributes:
        model: preset name, or a bundled model, model folder or hf:ORG/NAME to start from, whose classes may
            differ.
        fields: changes to the ModelConfig of the preset, or of the model folder where its weights still fit;
            ``settings`` is a published form of the preset.
        backbone_weights: ``imagenet`` (from the package, else timm's through the Hub's cache), ``auto`` (the same
            where there are any; a model folder keeps its own), ``none`` (random), a bundled model or
            model folder (its backbone), or a safetensors file.
        class_map: from a class of the initial model to the same class of the data, where their names differ.
        augment: joint transforms.
        train_splits: splits that are trained on; with ``[train, val]`` the model card has no score on val.
        data: value of ``--data``, for ``--resume``.
        drop_bad: leave out pairs that cannot be used, and list them.
        epochs: passes over the training set; ignored if ``steps`` or ``minutes`` is given.
        steps: number of optimiser steps.
        minutes: duration of the whole run, validation included; the schedule is adapted to it.
        patience: validations without a better ``metric`` after which the run ends.
        batch_size: pictures per step over all processes.
        accumulate: number of sequential parts per batch, to save memory.
        optimizer: ``adamw`` or ``sgd`` (momentum 0.9).
        lr: learning rate of the decoder.
        backbone_lr: multiplier for the backbone; 0 freezes it, batch norm included.
        lr_multipliers: multipliers for parts of the network, by the start of their parameters' names
            (``{decoder.blocks.1: 10}``), in place of the above; the longest start counts, 0 freezes.
        weight_decay: on convolution weights; biases and norms have none.
        decay_all: weight decay on biases and norms too.
        schedule: ``cosine``, ``poly`` (power 0.9), ``step`` (a tenth after ``drop_at``), ``halving``
            (halved after each third) or ``constant``.
        warmup: share of the steps with a linearly rising rate.
        drop_at: share of the steps after which ``step`` drops the rate.
        freeze_batch_norm: keep batch norm's statistics and weights as loaded; ``statistics`` trains its weights.
        sync_batch_norm: with several processes, take batch norm's statistics over the whole batch (GPUs only)
            instead of over each process's share of it.
        strategy: with several processes: ``ddp`` keeps the whole network in each, ``fsdp`` shards it.
        loss: ``cross_entropy``, ``boundary_weighted`` (the same, pixels near an outline weighing five times as
            much), ``ohem`` (hardest pixels only), ``focal``, ``dice``, or a sum: ``cross_entropy+dice``.
        loss_resolution: ``full`` (labels as they are) or ``paper`` (labels at stride 4 by nearest neighbour).
        label_smoothing: in [0, 1).
        teacher: bundled model, model folder or hf:ORG/NAME to distil from; same classes.
        teacher_weight: weight of the teacher in the loss; the labels have the rest.
        teacher_temperature: softmax temperature of teacher and student; above 1 gives less likely classes more
            weight.
        unlabelled: folder of pictures without masks, which only the teacher labels.
        unlabelled_share: share of these pictures in each batch.
        class_weights: power of the inverse class frequency in the loss (0 weighs all pixels the same), or a list
            with one weight for each class.
        balanced_sampling: pictures drawn by class instead of each once per epoch; ``paper`` does so above 1,000
            pictures, in the authors' rounds of at most 2,000 that repeat none.
        ema: decay of the moving average of the weights; 0 keeps none.
        clip_norm: largest gradient norm; 0 does not clip.
        precision: ``32`` or ``bf16``.
        compile: compile the network with torch.compile.
        seed: random seed.
        workers: data loading processes.
        cache_mb: decoded pictures kept in memory, at most.
        validate_every: epochs between validations, of which there are ten at least (with ``minutes``, as many as
            take a tenth of the time); the last weights are always validated.
        metric: metric by which the best checkpoint is chosen.
        description: description of the data in your own words, for the model card.
        licence: licence of weights and training data, for the model card; by default that of the data set.
        loggers: additional destinations of the metrics: ``wandb``, ``mlflow`` or both.
    """

    model: str = "refinenet-lw-mbv2"
    fields: dict[str, Any] = field(default_factory=dict)
    backbone_weights: str | None = "auto"
    class_map: dict[str, str] = field(default_factory=dict)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    train_splits: tuple[str, ...] = ("train",)
    data: str | None = None
    drop_bad: bool = False
    epochs: Annotated[int, "[1, 1e9]"] = 100
    steps: Annotated[int | None, "[1, 1e9]"] = None
    minutes: Annotated[float | None, "(0, 1e6)"] = None
    patience: Annotated[int | None, "[1, inf)"] = None
    batch_size: Annotated[int, "[1, 100000]"] = 8
    accumulate: Annotated[int, "[1, inf)"] = 1
    optimizer: Literal["adamw", "sgd"] = "adamw"
    lr: Annotated[float, "(0, inf)"] = 1e-3
    backbone_lr: NonNegative = 0.25
    lr_multipliers: Annotated[dict[str, float], "[0, inf)"] = field(default_factory=dict)
    weight_decay: NonNegative = 1e-2
    decay_all: bool = False
    schedule: Literal["cosine", "poly", "step", "halving", "constant"] = "cosine"
    warmup: Share = 0.03
    drop_at: Share = 0.67
    freeze_batch_norm: bool | Literal["statistics"] = False
    sync_batch_norm: bool = False
    strategy: Literal["ddp", "fsdp"] = "ddp"
    loss: str = "cross_entropy"
    loss_resolution: Literal["full", "paper"] = "full"
    label_smoothing: Annotated[float, "[0, 1)"] = 0.0
    teacher: str | None = None
    teacher_weight: Share = 0.5
    teacher_temperature: Annotated[float, "(0, inf)"] = 1.0
    unlabelled: str | None = None
    unlabelled_share: Annotated[float, "(0, 1)"] = 0.5
    class_weights: Annotated[float | tuple[float, ...], "[0, inf)"] = 0.0
    balanced_sampling: bool | Literal["paper"] = False
    ema: Annotated[float, "[0, 1)"] = 0.999
    clip_norm: NonNegative = 5.0
    precision: Literal["32", "bf16"] = "32"
    compile: bool = False
    seed: Annotated[int, "[0, 4294967295]"] = 0
    workers: Annotated[int, "[0, inf)"] = 1
    cache_mb: Annotated[int, "[0, inf)"] = 2048
    validate_every: Annotated[int, "[1, inf)"] = 5
    metric: Literal["mean_iou", "pixel_accuracy", "mean_class_accuracy"] = "mean_iou"
    description: str | None = None
    licence: str | None = None
    loggers: tuple[str, ...] = ()

    @property
    def unlabelled_in_batch(self) -> int:
        """Number of pictures without masks in a batch; at least one picture has a mask."""
        if self.unlabelled is None:
            return 0
        return min(max(1, round(self.batch_size * self.unlabelled_share)), self.batch_size - 1)

    @property
    def labelled_in_batch(self) -> int:
        """Number of pictures with masks in a batch."""
        return self.batch_size - self.unlabelled_in_batch

    def __post_init__(self) -> None:
        super().__post_init__()
        names = self.train_splits
        require(0 < len(names) == len(set(names)), "train_splits of one or more splits, each once", list(names))
        split = self.batch_size % self.accumulate == 0
        require(split, "accumulate to divide the batch size", (self.accumulate, self.batch_size))
        fits = self.augment.pad or self.augment.class_mix == 0
        require(fits, "pad with class_mix, which needs crops of one size", self.augment.class_mix)
        choices = (self.freeze_batch_norm, self.sync_batch_norm)
        require(not all(choices), "freeze_batch_norm or sync_batch_norm, not both", choices)
        enough = self.unlabelled is None or self.batch_size > 1
        require(enough, "a batch size of 2 or more with unlabelled pictures", self.batch_size)
        known = len(set(self.loggers)) == len(self.loggers) and set(self.loggers) <= {"wandb", "mlflow"}
        require(known, "loggers of wandb and mlflow, each once", list(self.loggers))
