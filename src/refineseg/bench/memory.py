"""Memory needed for a setting, computed without running it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from refineseg.bench.networks import Setting
from refineseg.config import AugmentConfig, TrainConfig
from refineseg.errors import InputError
from refineseg.inference.devices import free_device_memory
from refineseg.inference.predictor import Segmenter
from refineseg.model.memory import MemoryNeed
from refineseg.training.memory import need_of_step

MIB = 1 << 20


def need_of_setting(segmenter: Segmenter, setting: Setting) -> MemoryNeed:
    """Memory for prediction, or for a training step of the modern recipe."""
    if not setting.training:
        need = segmenter.memory.need(setting.size, batch=setting.batch)
        if need is None:
            raise InputError("expected a model folder with --plan, got an exported file")
        return need
    config = TrainConfig(
        batch_size=setting.batch,
        augment=AugmentConfig(crop=setting.size),
        precision="bf16" if setting.precision == "bf16" else "32",
    )
    return need_of_step(segmenter.model, config)


def plan_memory(segmenter: Segmenter, setting: Setting) -> dict[str, Any]:
    """``resting_mib``, ``working_mib``, ``peak_mib`` and ``free_mib``, beside the setting."""
    need = need_of_setting(segmenter, setting)
    free = free_device_memory(setting.device)
    return setting.to_dict() | {
        "resting_mib": round(need.resting / MIB, 1),
        "working_mib": round(need.working / MIB, 1),
        "peak_mib": round(need.peak / MIB, 1),
        "free_mib": None if free is None else round(free / MIB, 1),
    }


def sentence(plan: Mapping[str, Any]) -> str:
    """The plan in words."""
    free = plan["free_mib"]
    fits = (
        "" if free is None else f"; {free:,.0f} MiB free: {'fits' if plan['peak_mib'] < free else 'does not fit'}"
    )
    return (
        f"{plan['net']}, {plan['mode']}, {plan['height']}x{plan['width']}, batch {plan['batch']}, precision "
        f"{plan['precision']}: at most {plan['peak_mib']:,.0f} MiB ({plan['resting_mib']:,.0f} weights and input, "
        f"{plan['working_mib']:,.0f} while running){fits}"
    )
