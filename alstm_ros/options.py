"""Parameters declared once: a dataclass field with default, range and description.

ROS parameters with their descriptors, the YAML file, its reference page and the checks all derive from these fields.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, get_type_hints

from alstm_ros.errors import ConfigError

Value = bool | int | float | str | tuple[str, ...] | tuple[int, ...]
C = TypeVar("C")
LARGEST = 2**63
"""Whole numbers from here on are no ROS parameters."""

_KINDS = {
    "bool": (bool, "true or false"),
    "int": (int, "a whole number"),
    "float": (float, "a number"),
    "str": (str, "a text"),
    "tuple[str, ...]": (str, "a list of texts"),
    "tuple[int, ...]": (int, "a list of whole numbers"),
}


@dataclass(frozen=True, slots=True)
class Option:
    """One parameter.

    Attributes:
        name: dotted name, such as `tracks.birth_score`.
        kind: `bool`, `int`, `float`, `str`, `tuple[str, ...]` or `tuple[int, ...]`.
        default: its value when nothing is said.
        doc: one or two sentences for the user, with the unit.
        low: smallest allowed number, or None.
        high: largest allowed number, or None.
        choices: the allowed texts; empty where any is.
        live: whether it may change while the node runs.
        spellings: pairs of what people also write and the choice that it means; YAML reads `off` as false, for one.
    """

    name: str
    kind: str
    default: Value
    doc: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    live: bool = False
    spellings: tuple[tuple[Value, str], ...] = ()

    @property
    def is_list(self) -> bool:
        """Whether the value is a list."""
        return self.kind.startswith("tuple")

    @property
    def allowed(self) -> str:
        """What may be given, in words, such as `a number from 0.0 to 1.0`."""
        words = _KINDS[self.kind][1]
        if self.choices:
            return f"one of {', '.join(repr(choice) for choice in self.choices)}"
        if self.low is not None and self.high is not None:
            return f"{words} from {self.low:g} to {self.high:g}"
        if self.low is not None:
            return f"{words}, at least {self.low:g}"
        return words if self.high is None else f"{words}, at most {self.high:g}"

    def check(self, value: object) -> Value:
        """The value in its declared type.

        A whole number is taken where a number is wanted, since YAML writes 1 for 1.0.

        Args:
            value: what the user gave.

        Returns:
            The same value; lists become tuples.

        Raises:
            ConfigError: wrong type, out of range, or not among the choices.
        """
        checked: Value
        if not self.is_list:
            checked = self._check_one(value)
        elif isinstance(value, list | tuple):
            checked = tuple(self._check_one(item) for item in value)
        else:
            raise self._refusal(value)
        return checked

    def _check_one(self, value: object) -> Any:  # bool, int, float or str, as `kind` says
        wanted = _KINDS[self.kind][0]
        for written, meant in self.spellings:
            if type(value) is type(written) and value == written:
                return meant
        if wanted is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) < LARGEST:
            value = float(value)
        if type(value) is not wanted:
            raise self._refusal(value)
        if isinstance(value, int) and abs(value) >= LARGEST:
            raise self._refusal(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            below = self.low is not None and value < self.low
            above = self.high is not None and value > self.high
            if not math.isfinite(value) or below or above:
                raise self._refusal(value)
        if self.choices and value not in self.choices:
            raise self._refusal(value)
        return value

    def _refusal(self, value: object) -> ConfigError:
        return ConfigError(f"Parameter '{self.name}' is {value!r}; it must be {self.allowed}.")


def option(  # noqa: PLR0913  # the parts of a declaration, each by its name
    default: Value,
    doc: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
    live: bool = False,
    spellings: tuple[tuple[Value, str], ...] = (),
) -> Any:  # stands where a dataclass field's default stands, like dataclasses.field
    """Declares a parameter as the default of a dataclass field; see Option for the parts."""
    extra = {"doc": doc, "low": low, "high": high, "choices": choices, "live": live, "spellings": spellings}
    return dataclasses.field(default=default, metadata={"option": extra})


def options(config: type | object, prefix: str = "") -> dict[str, Option]:
    """Every parameter of a config class, groups walked depth first in the order of declaration.

    Args:
        config: a dataclass (or an instance) whose fields are options or groups of options.
        prefix: put before each name.

    Returns:
        Dotted name to Option.
    """
    cls = config if isinstance(config, type) else type(config)
    hints = get_type_hints(cls)
    found: dict[str, Option] = {}
    for field in dataclasses.fields(cls):
        name = prefix + field.name
        if "option" in field.metadata:
            found[name] = _declared(field, name, hints[field.name])
        else:
            found |= options(hints[field.name], f"{name}.")
    return found


def _declared(field: dataclasses.Field[Any], name: str, hint: object) -> Option:
    kind = hint.__name__ if isinstance(hint, type) and not hasattr(hint, "__args__") else str(hint)
    default: Value = field.default  # type: ignore[assignment]  # `option` always gives one
    return Option(name, kind, default, **field.metadata["option"])


def values(config: object, prefix: str = "") -> dict[str, Value]:
    """Every parameter's value: dotted name to value."""
    found: dict[str, Value] = {}
    for field in dataclasses.fields(config):  # type: ignore[arg-type]  # any config dataclass
        value = getattr(config, field.name)
        name = prefix + field.name
        if "option" in field.metadata:
            found[name] = value
        else:
            found |= values(value, f"{name}.")
    return found


def validate(config: object) -> None:
    """Checks every option field of one group; call it from `__post_init__`.

    Raises:
        ConfigError: a value is refused; the name in the sentence lacks the group, `replace` gives it whole.
    """
    hints = get_type_hints(type(config))
    for field in dataclasses.fields(config):  # type: ignore[arg-type]  # any config dataclass
        if "option" in field.metadata:
            known = _declared(field, field.name, hints[field.name])
            object.__setattr__(config, field.name, known.check(getattr(config, field.name)))


def replace(config: C, changes: Mapping[str, object]) -> C:
    """A config with some parameters changed.

    Args:
        config: what to start from.
        changes: dotted name to new value.

    Returns:
        A new config; the given one is untouched.

    Raises:
        ConfigError: an unknown name (the nearest known one is suggested) or a refused value.
    """
    known = options(config)
    checked: dict[str, Value] = {}
    for name, value in changes.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.5)
            hint = f"; did you mean '{near[0]}'?" if near else "."
            msg = f"There is no parameter '{name}'{hint}"
            raise ConfigError(msg)
        checked[name] = known[name].check(value)
    return _rebuild(config, checked)


def _rebuild(config: C, changes: Mapping[str, Value]) -> C:
    parts: dict[str, Any] = {}
    for name, value in changes.items():
        head, _, rest = name.partition(".")
        if rest:
            parts.setdefault(head, {})[rest] = value
        else:
            parts[head] = value
    rebuilt = {
        head: _rebuild(getattr(config, head), part) if isinstance(part, dict) else part for head, part in parts.items()
    }
    return dataclasses.replace(config, **rebuilt)  # type: ignore[type-var]  # any config dataclass


def flatten(tree: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Walks a nested mapping, as YAML gives it, into (dotted name, value) pairs."""
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from flatten(value, f"{name}.")
        else:
            yield name, value
