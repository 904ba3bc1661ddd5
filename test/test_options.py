"""Parameters declared once: checks, changes, names."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alstm_ros.errors import ConfigError
from alstm_ros.options import Option, flatten, option, options, replace, validate, values


@dataclass(frozen=True, slots=True)
class Inner:
    rate: float = option(0.5, "A rate.", low=0.0, high=1.0, live=True)
    names: tuple[str, ...] = option((), "Names.")

    def __post_init__(self) -> None:
        validate(self)


@dataclass(frozen=True, slots=True)
class Outer:
    count: int = option(3, "A count.", low=1)
    mode: str = option("fast", "A mode.", choices=("fast", "slow"))
    on: bool = option(default=True, doc="A switch.")
    sizes: tuple[int, ...] = option((1, 2), "Sizes.", low=0, high=9)
    inner: Inner = field(default_factory=Inner)

    def __post_init__(self) -> None:
        validate(self)


def test_what_people_also_write_means_a_choice() -> None:
    known = Option("camera", "str", "auto", "", choices=("auto", "none"), spellings=(("off", "none"), (False, "none")))
    assert [known.check(value) for value in ("off", False, "none", "auto")] == ["none", "none", "none", "auto"]
    for value in (0, "Off", True, None):
        with pytest.raises(ConfigError, match="it must be one of 'auto', 'none'"):
            known.check(value)


def test_every_option_is_found_with_its_dotted_name() -> None:
    found = options(Outer)
    assert list(found) == ["count", "mode", "on", "sizes", "inner.rate", "inner.names"]
    assert found["inner.rate"] == Option("inner.rate", "float", 0.5, "A rate.", 0.0, 1.0, (), live=True)
    assert [found[name].kind for name in ("count", "mode", "on", "sizes", "inner.names")] == [
        "int",
        "str",
        "bool",
        "tuple[int, ...]",
        "tuple[str, ...]",
    ]
    assert values(Outer()) == {name: known.default for name, known in found.items()}


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("count", 0, "Parameter 'count' is 0; it must be a whole number, at least 1."),
        ("count", 1.5, "Parameter 'count' is 1.5; it must be a whole number, at least 1."),
        ("count", True, "Parameter 'count' is True; it must be a whole number, at least 1."),
        ("mode", "medium", "Parameter 'mode' is 'medium'; it must be one of 'fast', 'slow'."),
        ("on", 1, "Parameter 'on' is 1; it must be true or false."),
        ("sizes", (1, 10), "Parameter 'sizes' is 10; it must be a list of whole numbers from 0 to 9."),
        ("sizes", 3, "Parameter 'sizes' is 3; it must be a list of whole numbers from 0 to 9."),
        ("inner.rate", 1.01, "Parameter 'inner.rate' is 1.01; it must be a number from 0 to 1."),
        ("inner.rate", float("nan"), "Parameter 'inner.rate' is nan; it must be a number from 0 to 1."),
        ("inner.names", "front", "Parameter 'inner.names' is 'front'; it must be a list of texts."),
        ("inner.rat", 0.1, "There is no parameter 'inner.rat'; did you mean 'inner.rate'?"),
        ("zzz", 0.1, "There is no parameter 'zzz'."),
    ],
)
def test_a_wrong_value_is_refused_with_what_is_allowed(name: str, value: object, sentence: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        replace(Outer(), {name: value})
    assert str(refusal.value) == sentence


def test_a_group_made_by_hand_checks_itself() -> None:
    with pytest.raises(ConfigError, match="'rate' is 2"):
        Inner(rate=2)


@given(st.integers(1, 2**63 - 1), st.sampled_from(["fast", "slow"]), st.floats(0, 1), st.lists(st.text(), max_size=3))
def test_replace_changes_what_is_named_and_nothing_else(count: int, mode: str, rate: float, names: list[str]) -> None:
    start = Outer()
    changed = replace(start, {"count": count, "inner.names": names, "mode": mode, "inner.rate": rate})
    assert values(changed) == values(start) | {
        "count": count,
        "mode": mode,
        "inner.rate": rate,
        "inner.names": tuple(names),
    }
    assert start == Outer()


def test_a_whole_number_is_taken_where_a_number_is_wanted() -> None:
    rate = replace(Outer(), {"inner.rate": 1}).inner.rate
    assert type(rate) is float


def test_flatten_joins_names_with_dots() -> None:
    assert dict(flatten({"a": 1, "b": {"c": [2], "d": {"e": 3}}})) == {"a": 1, "b.c": [2], "b.d.e": 3}
