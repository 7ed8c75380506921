"""Recognition of transformers' networks: config.json and preprocessor_config.json to our settings.

Only the two JSON files are read; no code of a repository or of transformers runs. A setting that our network does
not have must have the one value that it implements; any other is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from refineseg.config import ModelConfig
from refineseg.config.dpt import MAPS, DPTConfig, SwinSizes, ViTSizes
from refineseg.config.resize import Resize
from refineseg.errors import ConfigError, WeightsError
from refineseg.model.dpt import keymaps
from refineseg.model.dpt.recognised import HYBRID, RecognisedNetwork
from refineseg.model.dpt.vit import FACTORS, RESNET_MAPS

Values = Mapping[str, Any]
CLASSES, DEPTH, DEPTH_ANYTHING = (
    "DPTForSemanticSegmentation",
    "DPTForDepthEstimation",
    "DepthAnythingForDepthEstimation",
)
ARCHITECTURES = (CLASSES, DEPTH, DEPTH_ANYTHING)
BIT: dict[str, Any] = {  # a hybrid's ResNet
    "model_type": "bit",
    "layer_type": "bottleneck",
    "depths": [3, 4, 9],
    "hidden_sizes": [256, 512, 1024, 2048],
    "embedding_size": 64,
    "num_groups": 32,
    "width_factor": 1,
    "hidden_act": "relu",
    "global_padding": "SAME",
    "embedding_dynamic_padding": True,
    "out_features": ["stage1", "stage2", "stage3"],
}
VIT_BASE: dict[str, Any] = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "image_size": 224,
}
# Default values of backbones by model type: transformers 4 leaves them out of config.json.
DEFAULTS: dict[str, dict[str, Any]] = {
    "dinov2": {**VIT_BASE, "patch_size": 14, "mlp_ratio": 4, "layer_norm_eps": 1e-6},
    "beit": {
        **VIT_BASE,
        "patch_size": 16,
        "intermediate_size": 3072,
        "layer_norm_eps": 1e-12,
        "use_relative_position_bias": False,
    },
    "swinv2": {
        "image_size": 224,
        "embed_dim": 96,
        "depths": [2, 2, 6, 2],
        "num_heads": [3, 6, 12, 24],
        "window_size": 7,
        "pretrained_window_sizes": [0, 0, 0, 0],
        "mlp_ratio": 4.0,
    },
}
FILTERS: dict[int, Literal["bilinear", "bicubic"]] = {2: "bilinear", 3: "bicubic"}  # by PIL's numbers
UNUSED = (  # the coarsest stage has nothing to be summed with
    r"neck\.fusion_stage\.layers\.0\.residual_layer1\..*",
    r"auxiliary_head\..*",
    r"dpt\.(layernorm|pooler)\..*",
    r"backbone\.embeddings\.mask_token",
)


def architecture_of(values: Values) -> str | None:
    """The supported class of transformers that a config.json names; None if there is none."""
    names = values.get("architectures") or []
    return next((name for name in names if name in ARCHITECTURES), None)


def recognise_repository(values: Values, preprocessor: Values, where: str) -> RecognisedNetwork:
    """Recognise the network of a config.json (``values``) and a preprocessor_config.json.

    Raises WeightsError, which names the repository as ``where``, for another architecture or a setting that our
    network does not have.
    """
    try:
        name = architecture_of(values)
        if name is None:
            got = ", ".join(map(str, values.get("architectures") or [])) or "none"
            raise WeightsError(f"expected an architecture of {', '.join(ARCHITECTURES)} in {where}, got {got}")
        resize, mean, std, notes = preprocessing(preprocessor, where)
        dpt, backbone, vit_rules = _transformer(values, name, where)
        side = dpt.swin.image if dpt.swin else 0
        if side and (resize is None or (resize.fit, resize.height, resize.width) != ("exact", side, side)):
            raise WeightsError(f"expected pictures of {side}x{side} for a Swin in {where}, got {resize}")
        names = _class_names(values) if name == CLASSES else ()
        config = ModelConfig(
            preset="refinenet-dpt",
            backbone=backbone,
            num_classes=len(names) if name == CLASSES else 1,
            width=int(values["fusion_hidden_size"]),
            init="default",
            mean=mean,
            std=std,
            outputs="classes" if name == CLASSES else "depth",
            dpt=dpt,
        )
    except (ConfigError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise WeightsError(f"cannot read the settings of {where}: {type(error).__name__} {error}") from error
    heads = {CLASSES: keymaps.CLASSES, DEPTH: keymaps.DEPTH, DEPTH_ANYTHING: keymaps.DEPTH_ANYTHING_HEAD}
    keys = keymaps.key_map(f"{name} of transformers", keymaps.NECK, heads[name], vit_rules)
    return RecognisedNetwork(config, keys, UNUSED, resize, names, notes)


def _transformer(values: Values, name: str, where: str) -> tuple[DPTConfig, str, tuple[Any, ...]]:
    """Settings of the DPT, timm's name of its transformer, and the rules for the transformer's names."""
    sizes: ViTSizes | SwinSizes
    _require(values, where, head_in_index=-1, reassemble_factors=list(FACTORS))
    hybrid = bool(values.get("is_hybrid"))
    inner = None if hybrid or name == CLASSES else values.get("backbone_config")
    if inner is None:
        _require(values, where, num_channels=3, qkv_bias=True, hidden_act="gelu")
        if hybrid:
            _require(values, where, neck_ignore_stages=[0, 1], patch_size=16, readout_type="project")
            _require(values.get("backbone_config") or {}, where, **BIT)
        else:
            _require(values, where, backbone_config=None)
        backbone, rules = (HYBRID, keymaps.HYBRID) if hybrid else ("vit_base_patch16_384", keymaps.PLAIN_VIT)
        layers = [int(layer) for layer in values["backbone_out_indices"]][RESNET_MAPS * hybrid :]
        own: dict[str, Any] = {"final_norm": False, "positions": "bilinear"}
        sizes = _sizes(values, float(values["intermediate_size"]) / float(values["hidden_size"]))
    else:
        inner = {**DEFAULTS.get(str(inner.get("model_type")), {}), **inner}
        backbone, rules, own, sizes = _backbone(inner, where)
        # transformers counts the embeddings as stage 0.
        layers = [int(index) - 1 for index in inner["out_indices"]]
    count = MAPS - RESNET_MAPS * (backbone == HYBRID)
    if len(layers) != count:
        raise WeightsError(f"expected {count} layers of the transformer in {where}, got {layers}")
    if name == DEPTH_ANYTHING:
        metric = values.get("depth_estimation_type", "relative") == "metric"
        own |= {"head_width": int(values.get("head_hidden_size", 32)), "depth": "metres" if metric else "relative"}
        own |= {"max_depth": float(values["max_depth"])} if metric else {}
        if isinstance(sizes, SwinSizes):
            raise WeightsError(f"expected a Depth Anything over DINOv2 in {where}, got one over swinv2")
        _require(values, where, patch_size=sizes.patch)
    else:
        own |= _dpt_fields(values, name, sizes, where)
    widths = tuple(int(width) for width in values["neck_hidden_sizes"])
    if isinstance(sizes, SwinSizes):
        return DPTConfig(swin=sizes, map_widths=widths, **own), backbone, rules
    return DPTConfig(vit=sizes, layers=tuple(layers), map_widths=widths, **own), backbone, rules


def _dpt_fields(values: Values, name: str, sizes: ViTSizes | SwinSizes, where: str) -> dict[str, Any]:
    """Settings of DPT's own classes only."""
    norm = bool(values.get("use_batch_norm_in_fusion_residual") or False)
    bias = values.get("use_bias_in_fusion_residual")
    own = {
        "readout": values.get("readout_type", "project"),
        "batch_norm": norm,
        "unit_bias": (not norm) if bias is None else bool(bias),
    }
    # Twice the finest block's size; with patches of 16 and with Swin this is the picture's.
    doubles = isinstance(sizes, ViTSizes) and sizes.patch != 16
    if name == CLASSES:
        _require(values, where, patch_size=16)
        return own | {"head_norm": True}
    return own | {"head_projection": bool(values.get("add_projection")), "head_doubles": doubles}


def _backbone(inner: Values, where: str) -> tuple[str, tuple[Any, ...], dict[str, Any], ViTSizes | SwinSizes]:
    """timm's name, rules, settings and sizes of a backbone with its own config."""
    model_type = inner.get("model_type")
    if model_type == "dinov2":
        _require(inner, where, num_channels=3, hidden_act="gelu", qkv_bias=True)
        own: dict[str, Any] = {"final_norm": bool(inner.get("apply_layernorm", True)), "positions": "bicubic"}
        width, ratio = int(inner["hidden_size"]), float(inner["mlp_ratio"])
        if not inner.get("use_swiglu_ffn"):
            return "vit_base_patch14_dinov2", keymaps.DINOV2, own, _sizes(inner, ratio)
        hidden = (int(int(width * ratio) * 2 / 3) + 7) // 8 * 8  # as DINOv2 rounds; gate and value in one matrix
        return "vit_giant_patch14_dinov2", keymaps.DINOV2_SWIGLU, own, _sizes(inner, 2 * hidden / width)
    if model_type == "beit":
        _require(inner, where, num_channels=3, hidden_act="gelu", use_relative_position_bias=True)
        _require(inner, where, use_shared_relative_position_bias=False, use_absolute_position_embeddings=False)
        ratio = float(inner["intermediate_size"]) / float(inner["hidden_size"])
        return "beit_base_patch16_384", keymaps.BEIT, {"final_norm": False}, _sizes(inner, ratio)
    if model_type == "swinv2":
        _require(inner, where, num_channels=3, hidden_act="gelu", qkv_bias=True, patch_size=4, layer_norm_eps=1e-5)
        _require(inner, where, use_absolute_embeddings=False, out_indices=[1, 2, 3, 4])
        return "swinv2_tiny_window8_256", keymaps.SWIN, {}, _swin_sizes(inner)
    raise WeightsError(f"expected a backbone_config of dinov2, beit or swinv2 in {where}, got {model_type}")


def _swin_sizes(values: Values) -> SwinSizes:
    numbers = {name: tuple(map(int, values[name])) for name in ("depths", "num_heads", "pretrained_window_sizes")}
    return SwinSizes(
        image=int(values["image_size"]),
        width=int(values["embed_dim"]),
        depths=numbers["depths"],
        heads=numbers["num_heads"],
        window=int(values["window_size"]),
        trained_windows=numbers["pretrained_window_sizes"],
        mlp=float(values["mlp_ratio"]),
    )


def _sizes(values: Values, mlp: float) -> ViTSizes:
    return ViTSizes(
        image=int(values["image_size"]),
        patch=int(values["patch_size"]),
        width=int(values["hidden_size"]),
        depth=int(values["num_hidden_layers"]),
        heads=int(values["num_attention_heads"]),
        mlp=mlp,
        norm_eps=float(values["layer_norm_eps"]),
    )


def _require(values: Values, where: str, **expected: Any) -> None:
    """WeightsError if a setting is given with another value than the one that our network implements."""
    for name, value in expected.items():
        got = values.get(name, value)
        if (list(got) if isinstance(got, list | tuple) else got) != value:
            raise WeightsError(f"expected {name} {value} in {where}, got {got}: this network is not imported")


def _class_names(values: Values) -> tuple[str, ...]:
    """Names by train id, from id2label; repeated names get their number."""
    table = {int(key): str(name).strip() for key, name in values["id2label"].items()}
    if sorted(table) != list(range(len(table))):
        raise ValueError(f"id2label does not count from 0: {sorted(table)[:5]}")
    names = [table[index] for index in range(len(table))]
    return tuple(name if names.count(name) == 1 else f"{name} ({index})" for index, name in enumerate(names))


def preprocessing(
    values: Values, where: str
) -> tuple[Resize | None, tuple[float, ...], tuple[float, ...], dict[str, str]]:
    """Resize rule, mean, deviation, and notes for the card from a preprocessor_config.json."""
    _require(values, where, do_rescale=True, do_center_crop=False)
    factor = float(values.get("rescale_factor", 1 / 255))
    if abs(factor - 1 / 255) > 1e-6:
        raise WeightsError(f"expected rescale_factor 1/255 in {where}, got {factor}")
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    if values.get("do_normalize", True):
        mean, std = (tuple(map(float, values[name])) for name in ("image_mean", "image_std"))
    notes = {}
    if values.get("do_pad"):
        notes["padding"] = "the repository's preprocessor pads all around with zeros; here the edge is repeated"
    return _resize(values, where) if values.get("do_resize", True) else None, mean, std, notes


def _resize(values: Values, where: str) -> Resize:
    size = values["size"]
    if isinstance(size, Mapping):
        if "shortest_edge" in size:
            raise WeightsError(f"expected a size with height and width in {where}, got {dict(size)}")
        height, width = int(size["height"]), int(size["width"])
    else:
        height = width = int(size)
    chosen = FILTERS.get(int(values.get("resample", 3)))
    if chosen is None:
        raise WeightsError(f"expected resample 2 (bilinear) or 3 (bicubic) in {where}, got {values['resample']}")
    fit: Literal["least", "exact"] = "least" if values.get("keep_aspect_ratio") else "exact"
    return Resize(height, width, fit, int(values.get("ensure_multiple_of") or 1), chosen)
