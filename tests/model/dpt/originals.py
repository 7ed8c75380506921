"""Small networks of transformers' own classes with random weights, and what their repositories on the Hub hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

HEAD: dict[str, Any] = {"neck_hidden_sizes": [8, 12, 16, 20], "fusion_hidden_size": 16}
SIZES: dict[str, Any] = {"hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 2}
PREPROCESSOR: dict[str, Any] = {
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "ensure_multiple_of": 32,
    "image_mean": [0.5, 0.4, 0.6],
    "image_processor_type": "DPTImageProcessor",
    "image_std": [0.5, 0.25, 0.3],
    "keep_aspect_ratio": True,
    "resample": 2,
    "rescale_factor": 1 / 255,
    "size": {"height": 96, "width": 96},
}


def dinov2(**changes: Any) -> Any:
    from transformers import Dinov2Config

    sizes = {**SIZES, "mlp_ratio": 2, "image_size": 56, "patch_size": 14, "out_indices": [1, 2, 3, 4]}
    return Dinov2Config(**{**sizes, "reshape_hidden_states": False, "layer_norm_eps": 1e-6, **changes})


def beit() -> Any:
    from transformers import BeitConfig

    own = {"intermediate_size": 96, "image_size": 64, "patch_size": 16, "out_indices": [1, 2, 3, 4]}
    return BeitConfig(**{**SIZES, **own, "reshape_hidden_states": False, "use_relative_position_bias": True})


def swin(**changes: Any) -> Any:
    """Windows of 4 in maps of 16, 8, 4 and 2 cells: shifted, shifted, whole and whole."""
    from transformers import Swinv2Config

    sizes = {
        "embed_dim": 16,
        "depths": [2, 2, 2, 2],
        "num_heads": [1, 2, 4, 8],
        "mlp_ratio": 2.0,
        "image_size": 64,
    }
    stages = {"out_features": [f"stage{index}" for index in (1, 2, 3, 4)], "pretrained_window_sizes": [2, 2, 2, 2]}
    return Swinv2Config(**{**sizes, **stages, "patch_size": 4, "window_size": 4, **changes})


def dpt_config(**changes: Any) -> Any:
    from transformers import DPTConfig

    own = {"intermediate_size": 96, "image_size": 64, "backbone_out_indices": [0, 1, 2, 3], "num_labels": 5}
    return DPTConfig(**{**SIZES, **HEAD, **own, **changes})


def segmentation(**changes: Any) -> nn.Module:
    from transformers import DPTForSemanticSegmentation

    names = {index: f"kind {index}" for index in range(5)}
    torch.manual_seed(0)
    changes = {"use_batch_norm_in_fusion_residual": True, "id2label": names, **changes}
    return shaken(DPTForSemanticSegmentation(dpt_config(**changes)))


def depth(backbone: Any = None, **changes: Any) -> nn.Module:
    from transformers import DPTForDepthEstimation

    torch.manual_seed(0)
    changes |= {} if backbone is None else {"backbone_config": backbone}
    return shaken(DPTForDepthEstimation(dpt_config(**changes)))


def hybrid(kind: Callable[..., nn.Module], **changes: Any) -> nn.Module:
    sizes = {"neck_hidden_sizes": [256, 512, 16, 20], "backbone_featmap_shape": [1, 1024, 4, 4]}
    return kind(is_hybrid=True, **{**sizes, **changes})


def depth_anything(backbone: Any = None, **changes: Any) -> nn.Module:
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation

    torch.manual_seed(0)
    config = DepthAnythingConfig(
        backbone_config=backbone or dinov2(), reassemble_hidden_size=64, **HEAD, **changes
    )
    return shaken(DepthAnythingForDepthEstimation(config))


ORIGINALS: dict[str, Callable[[], nn.Module]] = {
    "DPT for classes, batch norm": segmentation,
    "DPT for classes, no batch norm, readout added": lambda: segmentation(
        use_batch_norm_in_fusion_residual=False, readout_type="add", use_auxiliary_head=False
    ),
    "DPT for classes, batch norm and bias, readout ignored": lambda: segmentation(
        use_bias_in_fusion_residual=True, readout_type="ignore"
    ),
    "DPT for depth": depth,
    "DPT for depth over BEiT": lambda: depth(beit()),
    "DPT for depth over Swin v2": lambda: depth(swin(), neck_hidden_sizes=[16, 32, 64, 128]),
    "DPT for depth over DINOv2": lambda: depth(dinov2(), readout_type="project"),
    "Depth Anything": depth_anything,
    "DPT hybrid for depth": lambda: hybrid(depth),
    "Depth Anything over DINOv2 giant": lambda: depth_anything(dinov2(use_swiglu_ffn=True)),
    "Depth Anything, metric": lambda: depth_anything(depth_estimation_type="metric", max_depth=20),
}


def shaken(model: nn.Module) -> nn.Module:
    """Every tensor away from where it starts, so that each matters; the output well above 0."""
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in [*model.named_parameters(), *model.named_buffers()]:
            if not value.is_floating_point() or name.endswith("relative_coords_table"):  # a table of places
                continue
            noise = torch.randn(value.shape, generator=draw)
            if name.endswith("running_var"):
                value.copy_(noise.abs() + 0.5)
            elif value.ndim > 1 and "embeddings" not in name and "cls_token" not in name:
                value.copy_(noise * (1.5 / value[0].numel()) ** 0.5)
            else:
                value.add_(noise * 0.2)
    for name in ("head.head.4", "head.conv3"):
        parts: dict[str, Any] = dict(model.named_modules())
        if name in parts and parts[name].out_channels == 1:  # depth: ReLU comes after it
            torch.nn.init.constant_(parts[name].bias, 3.0)
    return model.eval()


@torch.no_grad()
def output(model: Any, pixels: Tensor) -> Tensor:
    """What the original gives, BxKxHxW. Over plain ViTs its classes take square pictures, and its parts any."""
    kind = type(model).__name__
    hybrid = getattr(model.config, "is_hybrid", False)
    if kind.startswith("DepthAnything") or (model.config.backbone_config is not None and not hybrid):
        of_depth: Tensor = model(pixels).predicted_depth
        return of_depth[:, None]
    grid = (pixels.shape[-2] // 16, pixels.shape[-1] // 16)
    if hybrid:
        model.dpt.embeddings.image_size = tuple(pixels.shape[-2:])  # it resizes its positions, and checks the size
    made = model.dpt(pixels, output_hidden_states=True)
    layers = model.config.backbone_out_indices[2 * hybrid :]
    taken = list(made.intermediate_activations) if hybrid else []
    taken += [state for index, state in enumerate(made.hidden_states[1:]) if index in layers]
    found: Tensor = model.head(model.neck(taken, *grid))
    return found if kind.endswith("Segmentation") else found[:, None]


def write_repository(model: Any, folder: Path, preprocessor: dict[str, Any] | None = None) -> None:
    """What a repository on the Hub holds: config, weights, preprocessor and a card with a licence."""
    model.save_pretrained(folder)
    chosen = PREPROCESSOR if preprocessor is None else preprocessor
    (folder / "preprocessor_config.json").write_text(json.dumps(chosen))
    (folder / "README.md").write_text("---\nlicense: apache-2.0\ntags:\n- vision\n---\n# A model\n")
