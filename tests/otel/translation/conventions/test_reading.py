from __future__ import annotations

import enum
import math
from collections.abc import Callable, Mapping
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsdk.events import check_name, check_values, encode
from mlsdk_otel.translation.conventions import reading


class Level(enum.IntEnum):
    HIGH = 3


class Name(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "something else"


class Number(float):
    """As numpy's float64 is one, which the SDK keeps as it is."""

    def __repr__(self) -> str:
        return "Number(1.5)"


class Hostile:
    def __str__(self) -> str:
        raise RuntimeError("no")


def deep(levels: int) -> Any:
    nested: Any = "x"
    for _ in range(levels):
        nested = [nested]
    return nested


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        ("a", "a"),
        (True, True),
        (1, 1),
        (1.0, 1.0),
        (Name("a"), "a"),
        (Level.HIGH, 3),
        (Number(1.5), 1.5),
        (None, None),
        (math.nan, None),
        (math.inf, None),
        (2**63, "9223372036854775808"),
        (b"a\xff", "a\ufffd"),
        ((1, "a", None), '[1,"a",null]'),
        ({"k": (True, b"a")}, '{"k":[true,"a"]}'),
        ({1: 2}, '{"1":2}'),
        (["\ud800"], '["\ufffd"]'),
        ([2**64], '["18446744073709551616"]'),
        ([Number(1.5)], "[1.5]"),
        ({("a",): 1}, "{\"('a',)\":1}"),
    ],
)
def test_values(raw: object, wanted: object) -> None:
    read = reading.value(raw)
    assert read == wanted
    assert type(read) is type(wanted)


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        (None, None),
        ("", ""),
        (5, "5"),
        (Level.HIGH, "3"),
        (Number(1.5), "1.5"),
        (True, "true"),
        (False, "false"),
        (math.nan, None),
        (Hostile(), "Hostile"),
        ([Hostile()], '["Hostile"]'),
    ],
)
def test_texts(raw: object, wanted: str | None) -> None:
    assert reading.text(raw) == wanted


def test_an_integer_of_thousands_of_digits_is_told_in_hexadecimal() -> None:
    assert reading.text(10**5000) == reading.value(10**5000) == hex(10**5000)


@pytest.mark.parametrize("levels", [200, 300, 5000])
def test_great_depth_is_cut(levels: int) -> None:
    """It once raised."""
    read = reading.text(deep(levels))
    assert read is not None
    assert orjson.loads(read)


def test_a_name_is_cut_and_an_id_stays_different() -> None:
    """Two sessions whose ids differ after a hundred characters, such as tokens, were once one."""
    one, two = "x" * 100 + "1", "x" * 100 + "2"
    assert reading.name(one) == reading.name(two) == "x" * 100
    assert reading.identifier(one) != reading.identifier(two)
    assert reading.identifier("x" * 100) == "x" * 100
    for read in (reading.name(one), reading.identifier(one), reading.identifier("\ud800" * 101)):
        check_name("id", read)


@pytest.mark.parametrize("read", [reading.name, reading.identifier])
def test_nothing_is_no_name(read: Callable[[object], str | None]) -> None:
    assert [read(raw) for raw in (None, "", b"", math.nan)] == [None] * 4
    assert read(5) == "5"


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        (0, 0),
        (2**63 - 1, 2**63 - 1),
        (4.9, 4),
        ("12", 12),
        (Level.HIGH, 3),
        *((raw, None) for raw in (-1, 2**63, True, "", "-1", "x", "\u0663", "9" * 30, math.nan, None, [1], 1e300)),
    ],
)
def test_counts(raw: object, wanted: int | None) -> None:
    assert reading.count(raw) == wanted


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [(1, 1), (1.5, 1.5), (-2.0, -2.0), *((raw, None) for raw in (True, "1", math.inf, 2**64, None))],
)
def test_numbers(raw: object, wanted: float | None) -> None:
    assert reading.number(raw) == wanted


@pytest.mark.parametrize(
    ("raw", "wanted"), [(True, True), ("true", True), ("True", True), (1, False), ("yes", False), (None, False)]
)
def test_flags(raw: object, wanted: bool) -> None:
    assert reading.flag(raw) is wanted


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        ('{"a":1}', {"a": 1}),
        (b'{"a":1}', {"a": 1}),
        ({"a": 1, 2: 3}, {"a": 1, "2": 3}),
        ("{}", {}),
        ('{"a": "\\ud83d", "b": "\ud83d", "c": -Infinity}', {"a": "\ud83d", "b": "\ud83d", "c": -math.inf}),
        (b'{"a": "\\ud83d"}', {"a": "\ud83d"}),
        *((raw, None) for raw in ("[1]", "x", "", "\ud800", b"\xff", None, 5, "[" * 100_000)),
        *((raw, None) for raw in ("NaN", '{"NaN":', '{"NaN":' * 100_000, "\\u", '{"a": \ud800}')),
    ],
)
def test_mappings(raw: object, wanted: Mapping[str, object] | None) -> None:
    assert reading.mapping(raw) == wanted


def test_values_that_the_wire_cannot_hold_are_counted() -> None:
    assert reading.values({"a": 1, "b": math.nan, "c": None, "d": [1]}) == ({"a": 1, "d": "[1]"}, 1)


def test_values_below_a_prefix() -> None:
    attributes = {"p.a": 1, "p.": 2, "q.b": 3, "p": 4, "p.*": '{"c":5,"*":6}'}
    assert reading.under(attributes, "p.", "*") == {"a": 1, "": 2, "c": 5, "*": 6}


def test_a_value_whose_name_is_that_of_all_values_is_kept() -> None:
    assert reading.under({"p.*": "no JSON"}, "p.", "*") == {"*": "no JSON"}


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.text(st.characters(categories=["Cs"]))
    | st.just(Hostile())
    | st.dates(),
    lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(st.text() | st.integers() | st.binary(), inner),
    max_leaves=10,
)


@given(anything)
def test_whatever_is_read_fits_the_wire(raw: object) -> None:
    value = reading.value(raw)
    if value is not None:
        encode({"type": "track", "properties": check_values("properties", {"k": value})})
    for read in (reading.name(raw), reading.identifier(raw)):
        assert read is None or check_name("id", read)
    for number in (reading.count(raw), reading.number(raw)):
        assert number is None or check_values("properties", {"k": number})
    reading.mapping(raw)
