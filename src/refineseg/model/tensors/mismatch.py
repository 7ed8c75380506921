"""Strict comparison of a checkpoint's tensors with a network's: all match, or none is used."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from refineseg.errors import WeightsError
from refineseg.model.tensors.keymaps import KeyMap
from refineseg.system.text import counted

SHOWN = 3  # number of names in an error's line; the table has all
COUNTER = ".num_batches_tracked"  # a batch norm's counter, which inference does not use


class MismatchError(WeightsError):
    """Tensors of a checkpoint and of the network differ; ``table`` lists every difference."""

    def __init__(self, message: str, table: str) -> None:
        super().__init__(message)
        self.table = table


def without_counters(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All tensors but the counters of batch norms."""
    return {name: value for name, value in state.items() if not name.endswith(COUNTER)}


def difference(expected: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> str:
    """Differences in names and shapes between expected and given tensors, in words; empty if none."""
    missing, left_over = sorted(expected.keys() - state.keys()), sorted(state.keys() - expected.keys())
    misfits = [key for key in expected if key in state and expected[key].shape != state[key].shape]
    if not (missing or left_over or misfits):
        return ""
    return (
        f"{counted(missing, 'tensor')} missing {missing[:SHOWN]}, {len(left_over)} left over {left_over[:SHOWN]}, "
        f"{len(misfits)} of another shape {misfits[:SHOWN]}"
    )


def matched(
    keys: KeyMap, recognised: str, state: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]]
) -> dict[str, Tensor]:
    """The tensors of a checkpoint under our names, if they are exactly those ``expected``: shapes by our names.

    Raises MismatchError if a tensor is missing, left over or of another shape.
    """
    pairs = keys.pairs(state)
    ours = {name: state[key] for key, name in pairs.items()}
    missing = [name for name in expected if name not in ours]
    rows = [("missing", keys.to_theirs(name) or name, "-", _show(expected[name])) for name in missing]
    unknown = [key for key in state if pairs.get(key) not in expected]
    rows += [("left over", key, _show(tuple(state[key].shape)), "-") for key in unknown]
    misfits = [key for key, name in pairs.items() if name in expected and state[key].shape != expected[name]]
    rows += [("other shape", key, _show(tuple(state[key].shape)), _show(expected[pairs[key]])) for key in misfits]
    if rows:
        named = ", ".join(f"{row[1]} ({row[0]})" for row in rows[:SHOWN])
        raise MismatchError(
            f"the checkpoint looks like {recognised} and is not: {counted(missing, 'tensor')} missing, "
            f"{len(unknown)} left over, {len(misfits)} of another shape, such as {named}; nothing was written",
            _table([("what", "tensor", "in the file", "expected"), *rows]),
        )
    return ours


def _show(shape: tuple[int, ...]) -> str:
    return "x".join(str(size) for size in shape) or "scalar"


def _table(rows: list[tuple[str, str, str, str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
