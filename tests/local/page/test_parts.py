"""How numbers, times and values are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsdk.local.page.parts import avatar, chips, clock_time, counted, duration, number, pager, plain


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0, "0"),
        (1234567, "1,234,567"),
        (0.0, "0"),
        (2.0, "2"),
        (0.00213, "0.00213"),
        (0.000012345, "1.2e-05"),
        (1.5, "1.5"),
        (1234.567, "1,234.57"),
        (-0.5, "-0.5"),
    ],
)
def test_numbers(value: float, written: str) -> None:
    assert number(value) == written


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers())
def test_any_cost_can_be_written(value: float) -> None:
    assert number(value)


def test_nouns() -> None:
    assert [counted(count, "turn") for count in (0, 1, 1000)] == ["0 turns", "1 turn", "1,000 turns"]


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0, "0 s"),
        (1.25, "1.2 s"),
        (59, "59 s"),
        (60, "1 min"),
        (90.5, "1 min 30 s"),
        (3600, "1 h"),
        (7260, "2 h 1 min"),
        (86400 * 3 + 7200, "3 d 2 h"),
        (86400 * 1000, "1,000 d"),
    ],
)
def test_lengths_of_time(seconds: float, written: str) -> None:
    assert duration(seconds) == written


def test_times_are_in_utc_until_the_browser_knows_better() -> None:
    assert clock_time("2025-06-01T14:00:05.123456+02:00") == (
        '<time datetime="2025-06-01T14:00:05.123456+02:00" title="2025-06-01T14:00:05.123456+02:00" data-day>'
        "2025-06-01 12:00:05 UTC</time>"
    )
    assert "12:00:05 UTC" in clock_time("2025-06-01T12:00:05Z", day=False)
    assert "data-day" not in clock_time("2025-06-01T12:00:05Z", day=False)


def test_plain_values_are_written_as_they_were_sent() -> None:
    assert [plain(value) for value in (True, False, 1, 1.5, "x")] == ["true", "false", "1", "1.5", "x"]
    assert chips({}) is None
    assert "<b>a</b>" in (chips({"a": 1}) or "")


@given(st.text(max_size=20))
def test_any_name_has_an_avatar_which_is_always_the_same(name: str) -> None:
    assert avatar(name) == avatar(name)
    assert 'class="avatar hue-' in avatar(name)


def test_pages_have_neighbours_where_there_are_any() -> None:
    def links(page: int, pages: int) -> list[str]:
        made = pager(page, pages, previous="/before", following="/after", what="Pages") or ""
        return [address for address in ("/before", "/after") if f'href="{address}"' in made]

    assert [links(1, 1), links(1, 3), links(2, 3), links(3, 3)] == [
        [],
        ["/after"],
        ["/before", "/after"],
        ["/before"],
    ]
