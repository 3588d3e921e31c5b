"""Reads rows of a file as turns, and groups them into sessions. Pure, but for ids that follow from names.

A row is one turn: `timestamp`, `user` and `assistant`; a `session_id` or a `conversation_id`; a `user_id` or a
`device_id`; then, where known, `assistant_id`, and `model` with `prompt_tokens` and `completion_tokens`, or `cost`.
Whatever else it has becomes a property of the turn.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID, uuid5

import orjson

from mlsdk import events
from mlsdk.errors import InvalidEventError
from mlsdk.events import Value

_NAMESPACE: Final = UUID("5e1c9d3b-0f0e-5d4c-9a53-3f2f3c1f7a10")
_IDS: Final = ("session_id", "conversation_id", "user_id", "device_id")
_COUNTS: Final = ("prompt_tokens", "completion_tokens")
_USAGE: Final = ("model", *_COUNTS, "cost")
_KNOWN: Final = frozenset({*_IDS, *_USAGE, "timestamp", "user", "assistant", "assistant_id"})


class RowError(ValueError):
    """A row cannot be imported; the text names its line and what is wrong."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")
        self.line = line


@dataclass(frozen=True, slots=True)
class Turn:
    """One row, checked: `moment` in microseconds since 1970; the rest as `track_conversation_turn` takes it."""

    line: int
    session_id: str
    conversation_id: str
    user_id: str | None
    device_id: str | None
    moment: int
    user: str
    assistant: str
    assistant_id: str | None
    usage: Mapping[str, Value] | None
    properties: Mapping[str, Value]

    @property
    def timestamp(self) -> str:
        """When it was, as the SDK takes it."""
        return events.format_timestamp(self.moment)


def rows_of_json(lines: Iterable[str]) -> Iterator[tuple[int, Mapping[str, object] | RowError]]:
    """The objects of JSON Lines with their line numbers; empty lines are left out."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = _parsed(line)
        except (ValueError, RecursionError) as problem:
            yield number, RowError(number, f"is no JSON: {problem}")
            continue
        yield number, row if isinstance(row, dict) else RowError(number, "is no JSON object")


def _parsed(line: str) -> object:
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        # Python's own reads half an emoji too, as Python and JavaScript write it.
        return events.without_surrogates(json.loads(line))


def rows_of_csv(lines: Iterable[str]) -> Iterator[tuple[int, Mapping[str, object] | RowError]]:
    """The rows of CSV with a header, with their line numbers; empty cells are left out but for the two texts."""
    reader = csv.DictReader(lines, strict=True)
    while True:
        try:
            row: dict[Any, Any] = next(reader)
        except StopIteration:
            return
        except csv.Error as problem:
            yield reader.line_num, RowError(reader.line_num, f"is no CSV: {problem}")
            return
        if None in row:
            yield reader.line_num, RowError(reader.line_num, "has more cells than the header")
            continue
        try:
            yield reader.line_num, {name: _cell(name, cell) for name, cell in row.items() if _is_there(name, cell)}
        except ValueError as problem:
            yield reader.line_num, RowError(reader.line_num, str(problem))


def _is_there(name: str, cell: str | None) -> bool:
    return cell is not None and (cell != "" or name in ("user", "assistant"))


def _cell(name: str, cell: str) -> object:
    if name not in (*_COUNTS, "cost"):
        return cell
    try:
        return float(cell) if name == "cost" else int(cell)
    except ValueError:
        raise ValueError(f"{name}: is no number: {cell[:40]!r}") from None


def turn_of(line: int, row: Mapping[str, object]) -> Turn:
    """A row as a turn.

    Raises:
        RowError: Something is missing or wrong.
    """
    try:
        return _turn_of(line, {name: value for name, value in row.items() if value is not None})
    except InvalidEventError as problem:
        raise RowError(line, problem.message) from None


def _turn_of(line: int, row: Mapping[str, Any]) -> Turn:
    for name in ("timestamp", "user", "assistant"):
        if name not in row:
            raise InvalidEventError(name, "is missing")
    ids = {name: events.check_name(name, row[name]) for name in _IDS if name in row}
    if "session_id" not in ids and "conversation_id" not in ids:
        raise InvalidEventError("session_id", "is missing, and so is conversation_id; one is needed")
    if "user_id" not in ids and "device_id" not in ids:
        raise InvalidEventError("user_id", "is missing, and so is device_id; one is needed")
    session_id = ids.get("session_id") or _made("session", ids["conversation_id"])
    given = {name: row[name] for name in _USAGE if name in row}
    turn = Turn(
        line=line,
        session_id=session_id,
        conversation_id=ids.get("conversation_id") or _made("conversation", session_id),
        user_id=ids.get("user_id"),
        device_id=ids.get("device_id"),
        moment=events.parse_timestamp(row["timestamp"]),
        user=row["user"],
        assistant=row["assistant"],
        assistant_id=row.get("assistant_id"),
        usage=events.check_usage("usage", given) if given else None,
        properties={name: value for name, value in row.items() if name not in _KNOWN},
    )
    who = events.common(session_id=session_id, user_id=turn.user_id, device_id=turn.device_id)
    events.turn(  # what would be refused when it is recorded is refused here
        who,
        turn.moment,
        conversation_id=turn.conversation_id,
        user=turn.user,
        assistant=turn.assistant,
        assistant_id=turn.assistant_id,
        usage=turn.usage,
        properties=turn.properties,
    )
    return turn


def _made(what: str, name: str) -> str:
    """An id that follows from another one: the same in each run."""
    return str(uuid5(_NAMESPACE, f"{what}\n{name}"))


def sessions_of(turns: Iterable[Turn]) -> list[list[Turn]]:
    """The turns by session, in order of time within each; the file's order decides between equals."""
    found: dict[str, list[Turn]] = {}
    for turn in turns:
        found.setdefault(turn.session_id, []).append(turn)
    return [sorted(each, key=lambda turn: turn.moment) for each in found.values()]
