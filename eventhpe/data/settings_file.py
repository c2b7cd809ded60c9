"""Generator settings in a YAML file: only what differs from a preset."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path
from types import NoneType
from typing import Any, TypeVar, get_args, get_type_hints

import yaml

from eventhpe.errors import FormatError

T = TypeVar("T")


def read_settings(path: str | Path, base: T) -> T:
    """Change settings by what a YAML file says.

    Args:
        path: a mapping of field names to values; nested settings are nested mappings.
        base: settings to change.
    Raises:
        FormatError: not a readable mapping, an unknown field, a value of another kind; the field is named.
        EventHPEError: a value that the settings refuse, from their own checks.
    """
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise FormatError(f"{path}: cannot read settings ({error}).") from error
    if not isinstance(values, Mapping):
        raise FormatError(f"{path}: expected a mapping of settings, e.g. 'duration_s: 2.0'.")
    return _changed(base, values, str(path), "")


def settings_text(settings: Any) -> str:
    """The YAML that `read_settings` turns back into these settings."""
    return str(yaml.safe_dump(_plain(asdict(settings)), sort_keys=False, allow_unicode=True))


def _changed(base: T, values: Mapping[Any, Any], path: str, prefix: str) -> T:
    known = {f.name: getattr(base, f.name) for f in fields(base)}  # type: ignore[arg-type]
    hints = get_type_hints(type(base))
    changes: dict[str, Any] = {}
    for name, value in values.items():
        place = f"{prefix}{name}"
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f"did you mean {prefix}{near[0]}?" if near else f"the fields are {', '.join(known)}."
            raise FormatError(f"{path}: unknown setting {place}; {hint}")
        now = known[name]
        if is_dataclass(now):
            if not isinstance(value, Mapping):
                raise FormatError(f"{path}: {place} must be a mapping of settings; got {value!r}.")
            changes[name] = _changed(now, value, path, place + ".")
        elif NoneType in get_args(hints[name]) and (value is None or now is None):
            changes[name] = None if value is None else _like(value, 0.0, f"{path}: {place}")
        else:
            changes[name] = _like(value, now, f"{path}: {place}")
    return replace(base, **changes)  # type: ignore[type-var]


def _like(value: Any, example: Any, place: str) -> Any:
    """The value as the kind of the example: YAML has lists where settings have tuples."""
    if isinstance(example, tuple) and example:
        if not isinstance(value, list):
            raise FormatError(f"{place} must be a list such as {_plain(example)}; got {value!r}.")
        return tuple(_like(v, example[min(i, len(example) - 1)], place) for i, v in enumerate(value))
    if isinstance(example, bool) or isinstance(value, bool):
        if not (isinstance(example, bool) and isinstance(value, bool)):
            raise FormatError(f"{place} must be of the kind of {example!r}; got {value!r}.")
        return value
    if isinstance(example, float) and isinstance(value, int | float):
        return float(value)
    if isinstance(example, int) and isinstance(value, int):
        return value
    if isinstance(example, str) and isinstance(value, str):
        return value
    raise FormatError(f"{place} must be of the kind of {example!r}; got {value!r}.")


def _plain(value: Any) -> Any:
    """Tuples as lists, all the way down."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    return value
