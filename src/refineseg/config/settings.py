"""Base of the settings classes: conversion to plain values, checked overrides, errors that name the field."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from refineseg.config.yaml import parse_yaml
from refineseg.errors import ConfigError

Share = Annotated[float, "[0, 1]"]
NonNegative = Annotated[float, "[0, inf)"]


class Config:
    """Base of the settings classes: conversion and checked overrides.

    ``Annotated[float, "[0, 1)"]`` as the type of a setting is an interval, in which its number must be, or each
    number in its list or mapping.
    """

    FORMER: ClassVar[dict[str, tuple[str, ...]]] = {}  # names up to 0.1, and the settings that replaced them

    def __post_init__(self) -> None:
        for name, hint in self.types().items():
            if typing.get_origin(hint) is Annotated and getattr(self, name) is not None:
                _require_inside(hint.__metadata__[0], name, getattr(self, name))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from nested plain values. Raises ConfigError for unknown names and wrong types."""
        return _build(cls, values, "")

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values, ready for YAML and JSON."""
        return typing.cast(dict[str, Any], plain(dataclasses.asdict(self)))  # type: ignore[call-overload]

    def override(self, assignments: Sequence[str]) -> Self:
        """A copy with ``name.name=value`` assignments applied; values are read as YAML."""
        values = self.to_dict()
        for name, value in map(_split, assignments):
            *parents, leaf = name.split(".")
            node = values
            for parent in parents:
                child = node.get(parent)
                if not isinstance(child, dict):
                    raise ConfigError(_unknown(name, parent, node))
                node = child
            if leaf not in node:
                raise ConfigError(_unknown(name, leaf, node))
            node[leaf] = value
        return type(self).from_dict(values)

    @classmethod
    def read(cls, assignments: Sequence[str]) -> dict[str, Any]:
        """``name=value`` assignments as plain values of the fields' types, not checked against each other."""
        hints = cls.types()
        found = cls.renamed(dict(map(_split, assignments)))
        for name in found:
            if name not in hints:
                raise ConfigError(_unknown(name, name, hints))
        return {name: plain(_convert(hints[name], value, name)) for name, value in found.items()}

    @classmethod
    @cache
    def types(cls) -> dict[str, Any]:
        """The types of the settings by name."""
        hints = typing.get_type_hints(cls, include_extras=True)
        return {item.name: hints[item.name] for item in dataclasses.fields(cls)}  # type: ignore[arg-type]

    @classmethod
    def renamed(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values by the present names of settings."""
        return {new: value for name, value in values.items() for new in cls.FORMER.get(name, (name,))}


def flat(values: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Nested values by names such as ``augment.crop``."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{above}{key}.") if isinstance(value, dict) else {above + key: value}
    return found


C = TypeVar("C", bound=Config)


def require(condition: bool, expected: str, got: object) -> None:
    """ConfigError unless the condition holds."""
    if not condition:
        raise ConfigError(f"expected {expected}, got {got!s:.200}")


def _require_inside(interval: str, name: str, value: Any) -> None:
    """ConfigError unless the number, or each number in the list or mapping, is in an interval like ``[0, 1)``."""
    low, high = map(float, interval[1:-1].split(","))
    words = f"in {interval}"
    if high == math.inf:
        words = f"of {low:g} or more" if interval[0] == "[" else f"above {low:g}"
    if low == -math.inf:
        words = "of finite numbers"
    for number in value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else [value]:
        end = (interval[0] == "[" and number == low) or (interval[-1] == "]" and number == high)
        inside = isinstance(number, int | float) and (end or low < number < high)
        require(inside, f"{name} {words}", value)


def _split(assignment: str) -> tuple[str, Any]:
    name, found, text = assignment.partition("=")
    if not found:
        raise ConfigError(f"expected --set NAME=VALUE, got {assignment!r:.200}")
    return name.strip(), _parse(text)


def _parse(text: str) -> Any:
    try:
        value = parse_yaml(text)
    except ConfigError as error:
        raise ConfigError(f"cannot read the value {text!r:.80}: {error}") from error
    if isinstance(value, str):  # YAML 1.1 reads 1e-3 as text
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _unknown(name: str, part: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(part, list(known), n=1)
    hint = f"; did you mean {close[0]}?" if close else f"; known are {', '.join(known)}"
    return f"unknown setting {' '.join(name.split()):.80}{hint}"


def plain(value: Any) -> Any:
    """Nested values with lists for tuples, as YAML and JSON have them."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def _build(cls: type[C], values: Mapping[str, Any], prefix: str) -> C:
    hints, values = cls.types(), cls.renamed(values)
    for name in values:
        if name not in hints:
            raise ConfigError(_unknown(prefix + str(name), str(name), dict.fromkeys(sorted(hints))))
    return cls(**{name: _convert(hints[name], value, prefix + name) for name, value in values.items()})


def _convert(hint: Any, value: Any, name: str) -> Any:
    """``value`` as the type of the field, or a ConfigError. Supports only the types used by settings."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:  # the interval is checked when the settings are made
        return _convert(arguments[0], value, name)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        return _convert_union([item for item in arguments if item is not type(None)], value, name)
    if isinstance(hint, type) and issubclass(hint, Config):
        if not isinstance(value, Mapping):
            raise ConfigError(f"expected settings under {name}, got {value!r:.200}")
        return _build(hint, value, f"{name}.")
    if origin is Literal:
        chosen = str(value) if isinstance(arguments[0], str) and not isinstance(value, bool) else value
        if chosen not in arguments:
            raise ConfigError(f"expected {name} to be one of {', '.join(map(str, arguments))}, got {value!r:.200}")
        return chosen
    if origin in (tuple, list):
        return origin(_convert_list(arguments if origin is tuple else (*arguments, ...), value, name))
    if origin is dict or hint is dict:
        return _convert_mapping(arguments, value, name)
    if hint is float and type(value) is int and abs(value) < 1e300:
        return float(value)
    if type(value) is not hint:
        raise ConfigError(f"expected {name} to be {hint.__name__}, got {value!r:.200}")
    return value


def _convert_union(arguments: list[Any], value: Any, name: str) -> Any:
    """``value`` as the first of the types that takes it."""
    if len(arguments) == 1:
        return _convert(arguments[0], value, name)
    for argument in arguments:
        try:
            return _convert(argument, value, name)
        except ConfigError:
            continue
    types = " or ".join(map(_in_words, arguments))
    raise ConfigError(f"expected {name} to be {types}, got {value!r:.200}")


def _in_words(hint: Any) -> str:
    if typing.get_origin(hint) is Literal:
        return " or ".join(map(str, typing.get_args(hint)))
    return "a list" if typing.get_origin(hint) is tuple else str(hint.__name__)


def _convert_mapping(arguments: tuple[Any, ...], value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ConfigError(f"expected {name} to be names and values, got {value!r:.200}")
    if not arguments or arguments[1] is Any:
        return dict(value)
    return {key: _convert(arguments[1], item, f"{name}.{key}") for key, item in value.items()}


def _convert_list(arguments: tuple[Any, ...], value: Any, name: str) -> list[Any]:
    variable = len(arguments) == 2 and arguments[1] is Ellipsis
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = [value] if variable else [value] * len(arguments)
    if not isinstance(value, list | tuple) or not (variable or len(value) == len(arguments)):
        raise ConfigError(f"expected {name} to be a list, got {value!r:.200}")
    types = [arguments[0]] * len(value) if variable else list(arguments)
    return [_convert(hint, item, name) for hint, item in zip(types, value, strict=True)]
