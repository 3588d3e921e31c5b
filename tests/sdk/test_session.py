"""What a session records: its start and end, its conversations, and when each was. See also the folder `session/`."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from support.sdk import KEY, HandClock, MemoryDoor, client_of, moment_of, names, normal, session_at

from mlsdk import Cost, InvalidEventError, Session, SessionClosedError, TokenBasedCost
from mlsdk.local import LocalMindlytics

T1 = "2025-04-03T07:35:10.000001Z"
T2 = "2025-04-03T07:35:20.000002Z"
T3 = "2025-04-03T07:35:30.000003Z"

Script = Callable[[Session], Awaitable[object]]


def recorded(service: LocalMindlytics, script: Script, **arguments: Any) -> list[dict[str, Any]]:
    """All that the service gets while a session does what the script says."""

    async def main() -> list[dict[str, Any]]:
        async with client_of(service) as client:
            session = client.create_session(**arguments)
            await script(session)
            await session.flush()
            return service.events()

    return asyncio.run(main())


async def say(session: Session, **arguments: Any) -> None:
    await session.track_conversation_turn(user="Hello", assistant="Hi", **arguments)


# -- starts -----------------------------------------------------------------------------------------------------------


def test_creating_a_session_sends_nothing(service: LocalMindlytics) -> None:
    async def script(session: Session) -> None:
        assert session.session_id is None

    assert recorded(service, script) == []


def test_first_event_starts_the_session(service: LocalMindlytics) -> None:
    async def script(session: Session) -> None:
        await session.track_event(event="Seen", timestamp=T1)
        assert session.session_id == service.wait_for(lambda service: service.session_ids[0])

    assert normal(recorded(service, script, device_id="d", attributes={"store": "135"})) == [
        {
            "type": "start_session",
            "session_id": "id-1",
            "device_id": "d",
            "timestamp": T1,
            "attributes": {"store": "135"},
        },
        {"type": "track", "event": "Seen", "session_id": "id-1", "device_id": "d", "timestamp": T1},
    ]


def test_first_turn_starts_session_and_conversation_at_its_own_time(service: LocalMindlytics) -> None:
    events = recorded(service, lambda session: say(session, timestamp=T1), device_id="d")

    assert names(events) == ["start_session", "Conversation Started", "Conversation Turn"]
    assert {event["timestamp"] for event in events} == {T1}


@pytest.mark.parametrize(
    "call",
    [
        lambda session: session.track_conversation_turn(user="u", assistant="a"),
        lambda session: session.track_conversation_usage(cost={"cost": 1.5}),
        lambda session: session.track_function_call(name="f"),
    ],
)
def test_a_conversation_event_starts_a_conversation_when_none_is_open(service: LocalMindlytics, call: Script) -> None:
    async def script(session: Session) -> None:
        await call(session)
        await session.end_conversation()
        assert session.conversation_id is None
        await call(session)

    events = recorded(service, script, device_id="d")

    assert names(events[1::3]) == ["Conversation Started", "Conversation Started"]
    first, second = events[1:4], events[4:6]
    assert (
        len({event["conversation_id"] for event in first}) == len({event["conversation_id"] for event in second}) == 1
    )
    assert first[0]["conversation_id"] != second[0]["conversation_id"]


def test_start_session_takes_what_create_session_does_not_know(service: LocalMindlytics) -> None:
    async def script(session: Session) -> None:
        session_id = await session.start_session(
            session_id="s", id="jj", device_id="e", timestamp=T1, attributes={"b": 3, "c": True}
        )
        assert (session_id, session.session_id, session.id, session.device_id) == ("s", "s", "jj", "e")

    assert recorded(service, script, device_id="d", attributes={"a": 1, "b": 2}) == [
        {
            "type": "start_session",
            "session_id": "s",
            "id": "jj",
            "user_id": "jj",
            "device_id": "e",
            "timestamp": T1,
            "attributes": {"a": 1, "b": 3, "c": True},
        }
    ]


def test_start_session_on_an_open_session_is_refused(service: LocalMindlytics) -> None:
    async def script(session: Session) -> None:
        await session.start_session()
        with pytest.raises(InvalidEventError, match="is open"):
            await session.start_session()
        await session.track_event(event="Seen")

    assert names(recorded(service, script, device_id="d")) == ["start_session", "Seen"]


def test_a_session_of_nobody_is_refused_naming_the_device(service: LocalMindlytics) -> None:
    async def script(session: Session) -> None:
        with pytest.raises(InvalidEventError, match="device_id"):
            await session.start_session()
        with pytest.raises(InvalidEventError, match="device_id"):
            await say(session)
        with pytest.raises(InvalidEventError, match="device_id"):
            async with session:
                pytest.fail("entered")
        await session.end_session()

    assert recorded(service, script) == []


def test_a_refused_session_can_still_be_started(service: LocalMindlytics) -> None:
    async def script(session: Session) -> None:
        with pytest.raises(InvalidEventError):
            await say(session)
        await session.start_session(device_id="d")
        await say(session)

    assert names(recorded(service, script)) == ["start_session", "Conversation Started", "Conversation Turn"]


# -- ends -------------------------------------------------------------------------------------------------------------


def test_end_session_ends_the_open_conversations_first_at_its_own_time(service: LocalMindlytics) -> None:
    async def script(session: Session) -> None:
        await session.start_conversation(conversation_id="c1", timestamp=T1)
        await session.start_conversation(conversation_id="c2", timestamp=T1)
        await session.end_session(timestamp=T3, attributes={"resolved": True})

    events = recorded(service, script, session_id=None, device_id="d")

    who = {"session_id": events[0]["session_id"], "device_id": "d", "timestamp": T3}
    assert events[3:] == [
        {"type": "track", "event": "Conversation Ended", "conversation_id": "c1", **who},
        {"type": "track", "event": "Conversation Ended", "conversation_id": "c2", **who},
        {"type": "end_session", "attributes": {"resolved": True}, **who},
    ]


@pytest.mark.parametrize("in_context", [True, False])
def test_imported_history_ends_at_its_last_event(service: LocalMindlytics, in_context: bool) -> None:
    async def script(session: Session) -> None:
        await session.start_session(timestamp=T1)
        await say(session, timestamp=T3)
        await session.track_event(event="Late news", timestamp=T2)
        if in_context:
            async with session:
                pass
        else:
            await session.end_session()

    events = recorded(service, script, device_id="d")

    assert names(events[-2:]) == ["Conversation Ended", "end_session"]
    assert {event["timestamp"] for event in events[-2:]} == {T3}


def test_a_session_of_which_one_event_had_no_timestamp_ends_now(service: LocalMindlytics) -> None:
    async def script(session: Session) -> None:
        await say(session, timestamp=T1)
        await session.track_event(event="Live")
        await say(session, timestamp=T2)
        await session.end_session()

    events = recorded(service, script, device_id="d")

    assert [event["timestamp"] for event in normal(events)[-2:]] == ["now", "now"]


def test_nothing_ends_before_its_last_event(service: LocalMindlytics) -> None:
    ahead = datetime.now(timezone.utc) + timedelta(hours=1)

    async def script(session: Session) -> None:
        await session.track_event(event="Live")
        await say(session, timestamp=ahead)
        await session.end_session()

    events = recorded(service, script, device_id="d")

    assert {moment_of(event) for event in events[-2:]} == {ahead}


def test_a_conversation_ends_as_a_session_does(service: LocalMindlytics) -> None:
    async def script(session: Session) -> None:
        await say(session, timestamp=T2)
        await session.end_conversation()
        await session.end_session()

    events = recorded(service, script, device_id="d")

    assert {event["timestamp"] for event in events} == {T2}


def test_a_conversation_that_ended_now_makes_no_history_of_its_session() -> None:
    """It was the first event of a joined session: nothing had a timestamp, so nothing is imported."""
    door, clock = MemoryDoor(), HandClock()

    async def main() -> None:
        session = session_at(door, clock=clock, session_id="s", conversation_id="c")
        await session.end_conversation()
        clock.pass_by(60)
        await session.end_session()

    asyncio.run(main())

    ended, end = door.events
    assert moment_of(end) - moment_of(ended) == timedelta(seconds=60)


def test_second_end_session_does_nothing(service: LocalMindlytics) -> None:
    async def script(session: Session) -> None:
        await session.start_session()
        await session.end_session()
        await session.end_session(attributes={"again": True})

    assert names(recorded(service, script, device_id="d")) == ["start_session", "end_session"]


def test_end_session_that_is_refused_leaves_the_session_open(service: LocalMindlytics) -> None:
    async def script(session: Session) -> None:
        await say(session)
        for wrong in ({"attributes": {"bad": None}}, {"timestamp": "yesterday"}):
            with pytest.raises(InvalidEventError):
                await session.end_session(**wrong)  # type: ignore[arg-type]
        await say(session)
        await session.end_session()

    events = recorded(service, script, device_id="d")

    assert names(events)[2:] == ["Conversation Turn", "Conversation Turn", "Conversation Ended", "end_session"]


@pytest.mark.parametrize(
    "call",
    [
        lambda session: session.track_event(event="Seen"),
        lambda session: session.track_conversation_turn(user="u", assistant="a"),
        lambda session: session.track_conversation_usage(cost={"cost": 1.5}),
        lambda session: session.track_function_call(name="f"),
        lambda session: session.start_conversation(),
        lambda session: session.end_conversation(),
        lambda session: session.user_identify(id="jj"),
        lambda session: session.user_alias(id="jj", previous_id="ii"),
    ],
)
def test_use_after_the_end_is_refused(service: LocalMindlytics, call: Script) -> None:
    async def script(session: Session) -> None:
        await session.start_session()
        await session.end_session()
        with pytest.raises(SessionClosedError, match="ended"):
            await call(session)
        assert issubclass(SessionClosedError, RuntimeError)

    assert names(recorded(service, script, device_id="d")) == ["start_session", "end_session"]


@pytest.mark.parametrize("session_id", [None, "mine"])
def test_after_the_end_the_object_opens_as_a_new_session(service: LocalMindlytics, session_id: str | None) -> None:
    async def script(session: Session) -> None:
        first = await session.start_session()
        await say(session)
        await session.end_session()
        second = await session.start_session()
        await session.end_session()
        async with session:
            third = session.session_id
        assert len({first, second, third}) == 3
        assert first == (session_id or first)

    events = recorded(service, script, session_id=session_id, device_id="d", attributes={"a": 1})

    assert names(events) == [
        *("start_session", "Conversation Started", "Conversation Turn", "Conversation Ended", "end_session"),
        *("start_session", "end_session"),
        *("start_session", "end_session"),
    ]
    assert [event["attributes"] for event in events if event["type"] == "start_session"] == [{"a": 1}] * 3


# -- conversations ----------------------------------------------------------------------------------------------------


def test_with_several_conversations_open_an_event_must_name_one(service: LocalMindlytics) -> None:
    async def script(session: Session) -> None:
        await session.start_conversation(conversation_id="c1")
        await session.start_conversation(conversation_id="c2")
        assert session.conversation_id is None
        for refused in (
            say(session),
            session.track_conversation_usage(cost={"cost": 1}),
            session.track_function_call(name="f"),
            session.end_conversation(),
        ):
            with pytest.raises(InvalidEventError, match=r"conversation_id.*'c1'.*'c2'"):
                await refused
        await say(session, conversation_id="c1")
        await session.end_conversation(conversation_id="c1")
        assert session.conversation_id == "c2"
        await say(session)

    events = recorded(service, script, device_id="d")

    assert [(event.get("event"), event.get("conversation_id")) for event in events[3:]] == [
        ("Conversation Turn", "c1"),
        ("Conversation Ended", "c1"),
        ("Conversation Turn", "c2"),
    ]


def test_an_event_belongs_to_the_session_unless_a_conversation_is_named(service: LocalMindlytics) -> None:
    async def script(session: Session) -> None:
        conversation_id = await session.start_conversation()
        await session.track_event(event="Of the session")
        await session.track_event(event="Of the conversation", conversation_id=conversation_id)

    of_session, of_conversation = recorded(service, script, device_id="d")[2:]

    assert "conversation_id" not in of_session
    assert of_conversation["conversation_id"]


def test_an_event_belongs_to_the_conversation_named_at_creation(service: LocalMindlytics) -> None:
    async def script(session: Session) -> None:
        await session.track_event(event="Within")
        await session.end_conversation()
        await session.track_event(event="After")

    events = recorded(service, script, device_id="d", conversation_id="c")

    assert [(name, event.get("conversation_id")) for name, event in zip(names(events), events, strict=True)] == [
        ("start_session", None),
        ("Conversation Started", "c"),
        ("Within", "c"),
        ("Conversation Ended", "c"),
        ("After", None),
    ]


def test_an_unknown_conversation_is_sent_as_given_and_does_not_become_open(service: LocalMindlytics) -> None:
    async def script(session: Session) -> None:
        await say(session, conversation_id="elsewhere")
        await session.end_conversation(conversation_id="elsewhere too")
        await say(session)
        await session.end_session()

    events = normal(recorded(service, script, device_id="d"))

    assert [(name, event.get("conversation_id")) for name, event in zip(names(events), events, strict=True)] == [
        ("start_session", None),
        ("Conversation Turn", "elsewhere"),
        ("Conversation Ended", "elsewhere too"),
        ("Conversation Started", "id-2"),
        ("Conversation Turn", "id-2"),
        ("Conversation Ended", "id-2"),
        ("end_session", None),
    ]


def test_an_ended_conversation_may_get_events_and_may_be_opened_again(service: LocalMindlytics) -> None:
    async def script(session: Session) -> None:
        await session.start_conversation(conversation_id="c")
        await session.end_conversation()
        await say(session, conversation_id="c")
        assert session.conversation_id is None
        await session.start_conversation(conversation_id="c")
        assert session.conversation_id == "c"

    assert names(recorded(service, script, device_id="d"))[1:] == [
        *("Conversation Started", "Conversation Ended", "Conversation Turn", "Conversation Started"),
    ]


def test_starting_an_open_conversation_is_refused(service: LocalMindlytics) -> None:
    async def script(session: Session) -> None:
        await session.start_conversation(conversation_id="c")
        with pytest.raises(InvalidEventError, match=r"conversation_id.*'c' is open"):
            await session.start_conversation(conversation_id="c")

    assert names(recorded(service, script, device_id="d")) == ["start_session", "Conversation Started"]


def test_ending_a_conversation_when_none_is_open_is_refused(service: LocalMindlytics) -> None:
    async def script(session: Session) -> None:
        with pytest.raises(InvalidEventError, match="conversation_id"):
            await session.end_conversation()

    assert recorded(service, script, device_id="d") == []


def test_properties_of_a_conversation(service: LocalMindlytics) -> None:
    async def script(session: Session) -> None:
        await session.start_conversation(properties={"timezone": "UTC"}, timestamp=T1)
        await session.end_conversation(properties={"device": "browser"}, timestamp=T2)
        await session.start_conversation(properties={})

    started, ended, bare = recorded(service, script, device_id="d")[1:]

    assert (started["properties"], started["timestamp"]) == ({"timezone": "UTC"}, T1)
    assert (ended["properties"], ended["timestamp"]) == ({"device": "browser"}, T2)
    assert "properties" not in bare


# -- turns, usage, function calls -------------------------------------------------------------------------------------

TOKENS = {"model": "gpt-4o", "prompt_tokens": 134, "completion_tokens": 237}


@pytest.mark.parametrize("name", ["usage", "cost"])
@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (TokenBasedCost(model="gpt-4o", prompt_tokens=134, completion_tokens=237), TOKENS),
        (TOKENS, TOKENS),
        (Cost(cost=0.25), {"cost": 0.25}),
        ({"cost": 0.25}, {"cost": 0.25}),
        ({"cost": 3}, {"cost": 3}),
    ],
)
def test_usage_has_two_names_and_four_forms(service: LocalMindlytics, name: str, given: Any, sent: Any) -> None:
    async def script(session: Session) -> None:
        await say(session, **{name: given})
        await session.track_conversation_usage(**{name: given})

    turn, usage = recorded(service, script, device_id="d")[2:]

    assert turn["properties"] == {"user": "Hello", "assistant": "Hi", **sent}
    assert usage["properties"] == sent


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"model": "m"}, "usage"),
        ({**TOKENS, "cost": 0.25}, "usage"),
        ({}, "usage"),
        (0.25, "usage"),
        ({**TOKENS, "model": ""}, "model"),
        ({**TOKENS, "model": "m" * 101}, "model"),
        ({**TOKENS, "prompt_tokens": True}, "prompt_tokens"),
        ({**TOKENS, "completion_tokens": 2.5}, "completion_tokens"),
        ({**TOKENS, "completion_tokens": -1}, "completion_tokens"),
        ({**TOKENS, "prompt_tokens": 2**63}, "prompt_tokens"),
        ({"cost": True}, "cost"),
        ({"cost": "0.25"}, "cost"),
        ({"cost": None}, "cost"),
        ({"cost": float("nan")}, "cost"),
        ({"cost": 2**64}, "cost"),
    ],
)
def test_usage_in_no_known_form_is_refused(service: LocalMindlytics, given: Any, named: str) -> None:
    async def script(session: Session) -> None:
        with pytest.raises(InvalidEventError) as problem:
            await say(session, usage=given)
        assert problem.value.argument == named
        with pytest.raises(InvalidEventError):
            await session.track_conversation_usage(usage=given)

    assert recorded(service, script, device_id="d") == []


def test_usage_under_both_names_or_none_is_refused(service: LocalMindlytics) -> None:
    async def script(session: Session) -> None:
        with pytest.raises(InvalidEventError, match=r"usage.*cost"):
            await say(session, usage={"cost": 1}, cost={"cost": 1})
        with pytest.raises(InvalidEventError, match="cost: is missing"):
            await session.track_conversation_usage()

    assert recorded(service, script, device_id="d") == []


def test_everything_that_a_turn_may_have(service: LocalMindlytics) -> None:
    async def script(session: Session) -> None:
        await session.track_conversation_turn(
            user="Hello",
            assistant="",
            assistant_id="router",
            timestamp=T1,
            conversation_id="c",
            usage={"cost": 1},
            properties={"mood": "fine"},
        )

    assert recorded(service, script, session_id="s", device_id="d", id="jj") == [
        {
            "type": "track",
            "event": "Conversation Turn",
            "session_id": "s",
            "user_id": "jj",
            "device_id": "d",
            "conversation_id": "c",
            "timestamp": T1,
            "properties": {"user": "Hello", "assistant": "", "assistant_id": "router", "cost": 1, "mood": "fine"},
        }
    ]


def test_a_function_call_without_a_runtime_sends_none(service: LocalMindlytics) -> None:
    async def script(session: Session) -> None:
        await session.track_function_call(name="f")
        await session.track_function_call(name="f", args="", result="", runtime=0, properties={"tries": 2})

    bare, full = recorded(service, script, device_id="d")[2:]

    assert bare["properties"] == {"name": "f"}
    assert full["properties"] == {"name": "f", "args": "", "result": "", "runtime": 0, "tries": 2}


def test_timestamps_are_sent_as_utc_to_the_microsecond(service: LocalMindlytics) -> None:
    east = timezone(timedelta(hours=5, minutes=30))
    given: list[str | datetime] = [
        "2025-04-03T07:35:10Z",
        "2025-04-03T07:35:10.1234567+05:30",
        datetime(2025, 4, 3, 7, 35, 10, 5, tzinfo=east),
    ]

    async def script(session: Session) -> None:
        for timestamp in given:
            await session.track_event(event="Seen", timestamp=timestamp)

    assert [event["timestamp"] for event in recorded(service, script, session_id="s")] == [
        "2025-04-03T07:35:10.000000Z",
        "2025-04-03T02:05:10.123456Z",
        "2025-04-03T02:05:10.000005Z",
    ]


def test_what_was_recorded_is_not_changed_by_what_the_caller_does_later(service: LocalMindlytics) -> None:
    properties = {"a": 1}

    async def script(session: Session) -> None:
        await session.track_event(event="Seen", properties=properties)
        properties["a"] = 2

    assert recorded(service, script, session_id="s")[0]["properties"] == {"a": 1}


# -- the object -------------------------------------------------------------------------------------------------------


def test_a_session_shows_no_key_and_no_more_than_its_id_and_state(service: LocalMindlytics) -> None:
    session = client_of(service).create_session(session_id="s")

    assert repr(session) == "<Session s, not started>"
    assert KEY not in repr(vars(session)["_surroundings"])


@pytest.mark.parametrize("take", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_session_cannot_be_pickled_or_copied(service: LocalMindlytics, take: Callable[[object], object]) -> None:
    session = client_of(service).create_session(device_id="d")

    with pytest.raises(TypeError, match=r"session_id.*join=True"):
        take(session)


def test_a_missing_or_unknown_keyword_is_pythons_own_error(service: LocalMindlytics) -> None:
    session = client_of(service).create_session(device_id="d")

    with pytest.raises(TypeError, match="assistant"):
        asyncio.run(session.track_conversation_turn(user="u"))  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="usr"):
        asyncio.run(session.track_conversation_turn(usr="u", user="u", assistant="a"))  # type: ignore[call-arg]


def test_flush_has_the_name_that_older_programs_use(service: LocalMindlytics) -> None:
    async def script(session: Session) -> None:
        await say(session)
        await session.flush_and_continue()
        assert len(service.events()) == 3
        await say(session)

    assert len(recorded(service, script, device_id="d")) == 4
