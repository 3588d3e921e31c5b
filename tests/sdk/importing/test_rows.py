"""Rows in, turns out; what is wrong is told with its line."""

from __future__ import annotations

from typing import Any

import pytest

from mlsdk.importing.rows import RowError, rows_of_csv, rows_of_json, sessions_of, turn_of

ROW: dict[str, Any] = {"session_id": "s", "user_id": "ann", "timestamp": "2025-01-01T00:00:00Z"} | {
    "user": "hi",
    "assistant": "hello",
}


def test_a_row_is_a_turn() -> None:
    turn = turn_of(3, {**ROW, "model": "m", "prompt_tokens": 1, "completion_tokens": 2, "shop": "one", "cost": None})
    assert (turn.session_id, turn.timestamp) == ("s", "2025-01-01T00:00:00.000000Z")
    assert turn.usage == {"model": "m", "prompt_tokens": 1, "completion_tokens": 2}
    assert turn.properties == {"shop": "one"}


def test_ids_that_are_made_are_the_same_in_each_run() -> None:
    one = turn_of(1, ROW)
    assert one.conversation_id == turn_of(2, ROW).conversation_id != turn_of(1, {**ROW, "session_id": "t"})
    assert len(one.conversation_id) == 36
    without = {name: value for name, value in ROW.items() if name != "session_id"} | {"conversation_id": "c"}
    assert turn_of(1, without).session_id == turn_of(9, without).session_id


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"timestamp": None}, "line 7: timestamp: is missing"),
        ({"timestamp": "2025-01-01T00:00:00"}, "line 7: timestamp"),
        ({"user": 1}, "line 7: user: must be text"),
        ({"session_id": None}, "line 7: session_id: is missing, and so is conversation_id"),
        ({"user_id": None}, "line 7: user_id: is missing, and so is device_id"),
        ({"model": "m"}, "line 7: usage"),
        ({"extra": {"nested": 1}}, "line 7: extra"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(change: dict[str, Any], told: str) -> None:
    with pytest.raises(RowError) as problem:
        turn_of(7, {**ROW, **change})
    assert str(problem.value).startswith(told)


def test_json_lines() -> None:
    (first, row), (second, broken), (third, no_object) = rows_of_json(['{"a": 1}', "", "{", "[]"])
    assert (first, row, second, third) == (1, {"a": 1}, 3, 4)
    assert "line 3: is no JSON" in str(broken)
    assert str(no_object) == "line 4: is no JSON object"


def test_half_an_emoji_is_replaced() -> None:
    ((_, row),) = rows_of_json(['{"session_id": "\\ud83d", "user": "cut \\ud83d"}'])
    assert row == {"session_id": "\ufffd", "user": "cut \ufffd"}


@pytest.mark.parametrize("line", ["[" * 100_000, '{"\\ud83d":' * 100_000, "NaN", '"\\ud83d"'])
def test_odd_lines_are_told(line: str) -> None:
    ((_, problem),) = rows_of_json([line])
    assert isinstance(problem, RowError)


def test_csv() -> None:
    lines = ["user,assistant,cost,shop\n", '"a\n', 'b",,0.5,\n', "x,y,much,z\n", "1,2,3,4,5\n"]
    (number, row), (_, no_number), (_, too_many) = rows_of_csv(lines)
    assert (number, row) == (3, {"user": "a\nb", "assistant": "", "cost": 0.5})
    assert str(no_number) == "line 4: cost: is no number: 'much'"
    assert str(too_many) == "line 5: has more cells than the header"


def test_turns_are_in_order_of_time_within_their_session() -> None:
    late = turn_of(1, {**ROW, "timestamp": "2025-01-02T00:00:00Z"})
    other, early = turn_of(2, {**ROW, "session_id": "t"}), turn_of(3, ROW)
    assert sessions_of([late, other, early]) == [[early, late], [other]]
