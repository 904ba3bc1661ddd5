"""Training runs as files: a YAML of parameters, and changes to them as `name=value`."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from alstm_ros.errors import ConfigError
from alstm_ros.options import flatten
from alstm_ros.parameter_text import assigned, read_yaml

C = TypeVar("C")


def values_of(path: Path) -> dict[str, object]:
    """A run's YAML as dotted names and values.

    Raises:
        ConfigError: it cannot be read.
    """
    tree = read_yaml(path) or {}
    if not isinstance(tree, Mapping):
        raise ConfigError(f"The training file {path} holds no parameters; it must look like 'seed: 0'.")
    return dict(flatten(tree))


def parsed_changes(changes: Sequence[str]) -> dict[str, object]:
    """Changes given as `name=value`.

    Raises:
        ConfigError: one has no '=', or a value that is no YAML.
    """
    return assigned(changes, "seed=1")


def build_config(values: Mapping[str, object], cls: type[C]) -> C:
    """A config dataclass, groups of which are dataclasses again, from dotted names.

    Raises:
        ConfigError: a name is unknown, or a value is of another kind.
    """
    config: C = _build(cls, values, "")
    return config


def merged(cls: type, *layers: Mapping[str, object]) -> dict[str, object]:
    """Merges values of several origins under the present names of the parameters; later ones win.

    An old name, listed in `cls.RENAMED`, is accepted with a warning for one release.

    Args:
        cls: the config dataclass that the values are of.
        layers: dotted names and values, such as those of a file and of a command line.
    """
    old_names: Mapping[str, str] = getattr(cls, "RENAMED", {})
    found: dict[str, object] = {}
    for layer in layers:
        for name, value in layer.items():
            if name in old_names:
                text = f"The training parameter '{name}' is called '{old_names[name]}' now; the old name goes away."
                warnings.warn(text, FutureWarning, stacklevel=2)
            found[old_names.get(name, name)] = value
    return found


def _build(cls: type[Any], values: Mapping[str, object], prefix: str) -> Any:
    """A config dataclass from dotted names; every name must be used."""
    hints, parts = get_type_hints(cls), {}
    known = {field.name: field for field in dataclasses.fields(cls)}
    for name in values:
        if name.split(".")[0] not in known:
            raise ConfigError(f"There is no training parameter '{prefix}{name}'; it must be one of {', '.join(known)}.")
    for name, field in known.items():
        if dataclasses.is_dataclass(hints[name]):
            inner = {key.partition(".")[2]: value for key, value in values.items() if key.startswith(f"{name}.")}
            parts[name] = _build(hints[name], inner, f"{prefix}{name}.")
        elif name in values:
            parts[name] = _checked(prefix + name, values[name], field)
    return cls(**parts)


def _checked(name: str, value: object, field: dataclasses.Field[Any]) -> object:
    """The value in the type of the default."""
    default = field.default
    kind = str if str(field.type).startswith("tuple[str") else int
    if isinstance(default, tuple) and isinstance(value, list) and all(type(item) is kind for item in value):
        return tuple(value)
    if isinstance(default, float) and type(value) is int:
        return float(value)
    if type(value) is not type(default):
        raise ConfigError(f"The training parameter '{name}' is {value!r}; it must be like {default!r}.")
    return value
