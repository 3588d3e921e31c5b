"""Arguments that cannot be sent: an error at the call that names the argument, and nothing else happens."""

from __future__ import annotations

import asyncio
import enum
import re
import warnings
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

import pytest
from support.sdk import client_of, names

from mlsdk import InvalidEventError, Session
from mlsdk.events import END_SESSION, TRACK
from mlsdk.local import LocalMindlytics

NAIVE = datetime(2025, 4, 3)  # noqa: DTZ001
LONG = "n" * 101
TURN = {"user": "u", "assistant": "a"}

# Where values of the caller's own go: the call, and where in its arguments.
VALUES: dict[str, Callable[[Session, Any], Awaitable[object]]] = {
    "track_event": lambda session, given: session.track_event(event="e", properties=given),
    "track_conversation_turn": lambda session, given: session.track_conversation_turn(**TURN, properties=given),
    "track_function_call": lambda session, given: session.track_function_call(name="f", properties=given),
    "start_conversation": lambda session, given: session.start_conversation(properties=given),
    "end_conversation": lambda session, given: session.end_conversation(conversation_id="x", properties=given),
    "user_identify": lambda session, given: session.user_identify(id="jj", traits=given),
    "start_session": lambda session, given: session.start_session(attributes=given),
    "end_session": lambda session, given: session.end_session(attributes=given),
}

BAD_VALUES = [
    None,
    {"b": 1},
    ["b"],
    (1,),
    b"bytes",
    object(),
    float("nan"),
    float("inf"),
    float("-inf"),
    2**63,
    -(2**63) - 1,
    1j,
    NAIVE,
]

BAD_ARGUMENTS = [
    # names
    ("track_event", {"event": ""}, "event"),
    ("track_event", {"event": LONG}, "event"),
    ("track_event", {"event": None}, "event"),
    ("track_event", {"event": 5}, "event"),
    ("track_function_call", {"name": ""}, "name"),
    ("track_function_call", {"name": LONG}, "name"),
    ("track_function_call", {"name": None}, "name"),
    # ids
    *[
        (call, {**arguments, "conversation_id": wrong}, "conversation_id")
        for wrong in ("", LONG, 5, ["c"], b"c")
        for call, arguments in (
            ("track_event", {"event": "e"}),
            ("track_conversation_turn", TURN),
            ("track_conversation_usage", {"cost": {"cost": 1}}),
            ("track_function_call", {"name": "f"}),
            ("start_conversation", {}),
            ("end_conversation", {}),
        )
    ],
    *[
        (call, {**arguments, argument: wrong}, argument)
        for wrong in ("", LONG, 5, ["c"])
        for call, arguments, argument in (
            ("user_identify", {}, "id"),
            ("user_identify", {"id": "jj"}, "device_id"),
            ("user_identify", {}, "device_id"),
            ("user_alias", {"previous_id": "jj"}, "id"),
            ("user_alias", {"id": "jj"}, "previous_id"),
            ("start_session", {}, "session_id"),
            ("start_session", {}, "id"),
            ("start_session", {}, "device_id"),
        )
    ],
    ("user_alias", {"id": "jj", "previous_id": None}, "previous_id"),
    ("user_alias", {"id": None, "previous_id": "jj"}, "id"),
    # texts
    ("track_conversation_turn", {"user": None, "assistant": "a"}, "user"),
    ("track_conversation_turn", {"user": "u", "assistant": 5}, "assistant"),
    ("track_conversation_turn", {**TURN, "assistant_id": 5}, "assistant_id"),
    ("track_function_call", {"name": "f", "args": {"a": 1}}, "args"),
    ("track_function_call", {"name": "f", "result": 17}, "result"),
    # numbers
    ("track_function_call", {"name": "f", "runtime": True}, "runtime"),
    ("track_function_call", {"name": "f", "runtime": 4.5}, "runtime"),
    ("track_function_call", {"name": "f", "runtime": "4"}, "runtime"),
    ("track_function_call", {"name": "f", "runtime": -1}, "runtime"),
    ("track_function_call", {"name": "f", "runtime": 2**63}, "runtime"),
    # what is no mapping, or has wrong keys
    ("track_event", {"event": "e", "properties": [("a", 1)]}, "properties"),
    ("track_event", {"event": "e", "properties": "a"}, "properties"),
    ("track_event", {"event": "e", "properties": {1: "a"}}, "properties"),
    ("track_event", {"event": "e", "properties": {None: "a"}}, "properties"),
    ("user_identify", {"id": "jj", "traits": {("a",): 1}}, "traits"),
    ("start_session", {"attributes": {1: 1}}, "attributes"),
    # a property that is an argument already
    ("track_conversation_turn", {**TURN, "properties": {"user": "v"}}, "user"),
    ("track_function_call", {"name": "f", "properties": {"name": "g"}}, "name"),
    # moments
    *[
        (call, {**arguments, "timestamp": wrong}, "timestamp")
        for wrong in (NAIVE, "2025-04-03T07:35:10", "yesterday", "", "2025-13-03T07:35:10Z", 1743665710, 1.5, True)
        for call, arguments in (("track_event", {"event": "e"}), ("start_conversation", {}), ("end_session", {}))
    ],
    *[
        (call, {**arguments, "timestamp": "yesterday"}, "timestamp")
        for call, arguments in (
            ("track_conversation_turn", TURN),
            ("track_conversation_usage", {"cost": {"cost": 1}}),
            ("track_function_call", {"name": "f"}),
            ("end_conversation", {"conversation_id": "c"}),
            ("user_identify", {"id": "jj"}),
            ("user_alias", {"id": "jj", "previous_id": "ii"}),
            ("start_session", {}),
        )
    ],
]


def check_refused(
    service: LocalMindlytics, call: Callable[[Session], Awaitable[object]], named: str, *, is_start: bool
) -> None:
    """Refused before anything is started, and in the midst of good events; all of those arrive, and nothing else."""

    async def refused(session: Session) -> None:
        with pytest.raises(InvalidEventError) as problem:
            await call(session)
        assert problem.value.argument == named
        assert named in problem.value.message
        assert isinstance(problem.value, ValueError)

    async def main() -> None:
        session = client_of(service).create_session(device_id="d")
        if not is_start:
            await session.track_event(event="Before")
        await refused(session)
        assert (session.id, session.device_id) == (None, "d")
        await session.track_event(event="Between")
        await session.track_conversation_turn(user="u", assistant="a")
        if not is_start:
            await refused(session)
        await session.track_conversation_turn(user="u", assistant="a")
        await session.end_session()
        assert not session.has_errors()

    asyncio.run(main())

    before = [] if is_start else ["Before"]
    turns = ["Conversation Started", "Conversation Turn", "Conversation Turn", "Conversation Ended"]
    assert names(service.events()) == ["start_session", *before, "Between", *turns, "end_session"]


@pytest.mark.parametrize(("call", "arguments", "named"), BAD_ARGUMENTS)
def test_bad_argument(service: LocalMindlytics, call: str, arguments: dict[str, Any], named: str) -> None:
    check_refused(service, lambda session: getattr(session, call)(**arguments), named, is_start=call == "start_session")


@pytest.mark.parametrize("value", BAD_VALUES, ids=lambda value: re.sub(" at 0x.*", "", repr(value)))
@pytest.mark.parametrize("call", ["track_event", "user_identify", "start_session", "end_session"])
def test_bad_value_among_good_ones(service: LocalMindlytics, call: str, value: object) -> None:
    given = {"good": 1, "the bad one": value}

    check_refused(
        service, lambda session: VALUES[call](session, given), "the bad one", is_start=call == "start_session"
    )


@pytest.mark.parametrize("call", VALUES)
def test_bad_value_anywhere(service: LocalMindlytics, call: str) -> None:
    check_refused(service, lambda session: VALUES[call](session, {"k": {}}), "k", is_start=call == "start_session")


@pytest.mark.parametrize("call", VALUES)
def test_bad_first_call_starts_nothing(service: LocalMindlytics, call: str) -> None:
    async def main() -> None:
        session = client_of(service).create_session(device_id="d")
        if call != "end_session":  # which has nothing to end
            with pytest.raises(InvalidEventError):
                await VALUES[call](session, {"k": None})
        await session.end_session()

    asyncio.run(main())

    assert service.requests == []


@pytest.mark.parametrize("argument", ["session_id", "conversation_id", "id", "device_id"])
@pytest.mark.parametrize("wrong", ["", LONG, 5, ["c"], b"c"])
def test_bad_id_of_a_new_session(service: LocalMindlytics, argument: str, wrong: Any) -> None:
    with pytest.raises(InvalidEventError) as problem:
        client_of(service).create_session(**{argument: wrong})
    assert problem.value.argument == argument


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"attributes": {"k": None}}, "k"),
        ({"attributes": [1]}, "attributes"),
        ({"on_error": "print"}, "on_error"),
        ({"on_event": 5}, "on_event"),
    ],
)
def test_bad_argument_of_a_new_session(service: LocalMindlytics, arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidEventError) as problem:
        client_of(service).create_session(device_id="d", **arguments)
    assert problem.value.argument == named


# -- odd, but good ----------------------------------------------------------------------------------------------------


class Plan(str, enum.Enum):  # what programs have
    FREE = "free"


class Level(enum.IntEnum):
    HIGH = 3


def sent(service: LocalMindlytics, **arguments: Any) -> dict[str, Any]:
    """The properties that arrive of a custom event."""

    async def main() -> None:
        session = client_of(service).create_session(session_id="s")
        await session.track_event(**arguments)
        await session.flush()
        assert not session.has_errors()

    asyncio.run(main())
    event: dict[str, Any] = service.events()[0]
    return event


def test_the_widest_values_that_are_allowed(service: LocalMindlytics) -> None:
    properties = {"min": -(2**63), "max": 2**63 - 1, "big": 1.7e308, "small": 5e-324, "yes": True, "": "", "💬": "ß"}

    assert sent(service, event="n" * 100, properties=properties)["properties"] == properties


def test_subclasses_of_plain_values_are_sent_as_plain_values(service: LocalMindlytics) -> None:
    arrived = sent(service, event=Plan.FREE, properties={Plan.FREE: Plan.FREE, "level": Level.HIGH})

    assert arrived["event"] == "free"
    assert arrived["properties"] == {"free": "free", "level": 3}


def test_lone_surrogates_are_replaced(service: LocalMindlytics) -> None:
    arrived = sent(service, event="odd \ud83d", properties={"key \udc00": "text \ud83d\udcac \ud83d"})

    assert arrived["event"] == "odd \ufffd"
    assert arrived["properties"] == {"key \ufffd": "text 💬 \ufffd"}


def test_lone_surrogates_in_ids_keep_a_session_together(service: LocalMindlytics) -> None:
    async def main() -> None:
        async with client_of(service).create_session(session_id="s\udc00", device_id="d\udc00") as session:
            await session.track_conversation_turn(user="\udc00", assistant="\udfff")

    asyncio.run(main())

    events = service.events("s\ufffd")
    assert [event["type"] for event in events] == ["start_session", TRACK, TRACK, TRACK, END_SESSION]
    assert events[2]["properties"] == {"user": "\ufffd", "assistant": "\ufffd"}


IGNORED = "ignore:Sending a large body:ResourceWarning"  # aiohttp's, off unless asked for


@pytest.mark.filterwarnings(IGNORED)
def test_a_huge_text_is_accepted(service: LocalMindlytics) -> None:
    text = "ä" * 2_500_000  # 5 MB

    async def main() -> None:
        async with client_of(service).create_session(device_id="d") as session:
            await session.track_conversation_turn(user=text, assistant="a")
            await session.track_event(event="After")
        assert not session.has_errors()

    asyncio.run(main())

    events = service.events()
    assert names(events) == [
        *("start_session", "Conversation Started", "Conversation Turn", "After", "Conversation Ended", "end_session"),
    ]
    assert events[2]["properties"]["user"] == text


@pytest.mark.filterwarnings(IGNORED)
def test_a_huge_text_that_the_service_refuses_is_reported(service: LocalMindlytics) -> None:
    text = "ä" * 9_000_000  # more than the local service takes

    async def main() -> None:
        client = client_of(service)
        async with client.create_session(device_id="d") as session:
            await session.track_conversation_turn(user=text, assistant="a")
        assert [error.status for error in session.get_errors()] == [413]
        assert client.stats()["dropped"] == {"refused": 1}

    asyncio.run(main())

    assert names(service.events()) == ["start_session", "Conversation Started", "Conversation Ended", "end_session"]


def test_a_huge_text_is_sent_without_a_warning(service: LocalMindlytics) -> None:
    """Where warnings are errors, this one would keep the event from ever being sent."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        sent(service, event="Seen", properties={"text": "a" * 2_000_000})
    assert [str(warning.message) for warning in seen if "body" in str(warning.message)] == []
