from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
from support.spans import at, check_wire, conversation, event, session, turn

from mlsdk import events
from mlsdk.events import Event
from mlsdk_otel import attributes as names
from mlsdk_otel.translation.conventions import native
from mlsdk_otel.translation.facts import Loss, SessionPart
from mlsdk_otel.translation.spanview import SpanView


def read(view: SpanView, **inherited: Any) -> SessionPart:
    assert native.claims(view)
    part = native.read(view, session_id="s", inherited=inherited)
    found = [part.session_start, part.likely_start, part.opening, *part.inner, part.closing]
    check_wire([item for item in found if item is not None])
    return part


def one(*inner: Any, **attributes: Any) -> Event:
    """The event that a conversation's span with one event gives."""
    (found,) = read(conversation(*inner, gen_ai__conversation__id="c", user__id="u", **attributes)).inner
    return found


def properties(found: Event) -> Mapping[str, Any]:
    held = found.get("properties", {})
    assert isinstance(held, Mapping)
    return held


# -- whole spans ------------------------------------------------------------------------------------------------------


def test_a_session_by_hand() -> None:
    part = read(
        session(
            user__id="u",
            mindlytics__session__attribute__plan="pro",
            mindlytics__session__end_attribute__rating=5,
            start=0,
            end=10,
        )
    )
    assert part.session_start == part.likely_start
    assert part.session_start == {
        "type": "start_session",
        "session_id": "s",
        "user_id": "u",
        "timestamp": "2025-06-15T15:06:40.000000Z",
        "id": "u",
        "attributes": {"plan": "pro"},
    }
    assert part.closing == {
        "type": "end_session",
        "session_id": "s",
        "user_id": "u",
        "timestamp": "2025-06-15T15:06:50.000000Z",
        "attributes": {"rating": 5},
    }
    assert (part.opening, part.conversation_id, part.number, part.is_continued) == (None, None, 0, False)


def test_a_conversation_by_hand() -> None:
    part = read(
        conversation(
            user__id="u",
            mindlytics__device__id="d",
            gen_ai__conversation__id="c",
            mindlytics__conversation__property__a=1,
            mindlytics__conversation__end_property__b=2,
            below=5,
        )
    )
    who = events.common(session_id="s", user_id="u", device_id="d")
    start, end = at(0) // 1000, at(10) // 1000
    assert part.opening == events.conversation_started(who, start, conversation_id="c", properties={"a": 1})
    assert part.closing == events.conversation_ended(who, end, conversation_id="c", properties={"b": 2})
    assert part.session_start is None
    assert part.likely_start == events.start_session(who, start)


def test_who_is_not_known_is_an_anonymous_one_of_the_session() -> None:
    part = read(session(turn("hi", gen_ai__conversation__id="c")))
    device = native.anonymous_device("s")
    assert device.startswith("anon-")
    assert native.anonymous_device("s") == device != native.anonymous_device("t")
    assert {item["device_id"] for item in part.inner} == {device}


def test_of_a_joined_session_nobody_is_made_up() -> None:
    part = read(session(turn("hi", gen_ai__conversation__id="c"), mindlytics__session__joined=True))
    assert (part.session_start, part.likely_start, part.closing) == (None, None, None)
    assert "device_id" not in part.inner[0]


def test_an_unnamed_conversation_has_an_id_of_its_own() -> None:
    one, two = read(conversation(number=1)), read(conversation(number=2))
    assert one.conversation_id is not None
    assert one.conversation_id != two.conversation_id


def test_a_start_that_is_told_is_the_one() -> None:
    told = '{"timestamp":"2020-01-01T00:00:00Z","id":"v","attributes":{"*":1}}'
    part = read(conversation(below=5, user__id="u", mindlytics__session__start=told))
    who = events.common(session_id="s", user_id="v")
    assert part.session_start == events.start_session(
        who, events.parse_timestamp("2020-01-01T00:00:00Z"), attributes={"*": 1}
    )


@pytest.mark.parametrize(
    "told", ["junk", "[]", "{}", '{"timestamp":"yesterday","id":"v"}', 5, '{"timestamp":"2020-01-01T00:00:00Z"}']
)
def test_a_start_that_makes_no_sense_is_counted_once(told: object) -> None:
    part = read(session(user__id="u", mindlytics__session__start=told))
    assert part.session_start == events.start_session(events.common(session_id="s", user_id="u"), at(0) // 1000)
    assert part.loss == Loss(values=1)


def test_values_that_are_lost_are_counted_once() -> None:
    """The start was once read twice, and its losses counted twice."""
    assert read(session(user__id="u", mindlytics__session__attribute__k=math.nan)).loss == Loss(values=1)


def test_an_end_before_the_start_is_told_by_an_attribute() -> None:
    part = read(session(user__id="u", mindlytics__end__timestamp="2000-01-01T00:00:00Z"))
    assert part.closing is not None
    assert part.closing["timestamp"] == "2000-01-01T00:00:00.000000Z"
    junk = read(session(user__id="u", mindlytics__end__timestamp="then"))
    assert junk.closing is not None
    assert junk.closing["timestamp"] == "2025-06-15T15:06:50.000000Z"
    assert junk.loss == Loss(values=1)


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ({}, ("u", "d")),
        ({"mindlytics__end__user__id": "v"}, ("v", "d")),
        ({"mindlytics__end__device__id": "e"}, ("u", "e")),
        ({"mindlytics__end__user__id": ""}, (None, "d")),
    ],
)
def test_whose_a_session_is_at_its_end(said: dict[str, str], wanted: tuple[str | None, str]) -> None:
    closing = read(session(user__id="u", mindlytics__device__id="d", **said)).closing
    assert closing is not None
    assert (closing.get("user_id"), closing.get("device_id")) == wanted


@pytest.mark.parametrize("moment", [-(10**40), 10**40, -1])
def test_a_time_outside_of_the_calendar_is_its_edge(moment: int) -> None:
    view = SpanView(names.SESSION_SPAN, 1, 2, None, has_remote_parent=False, start=moment, end=moment, attributes={})
    assert read(view).closing is not None


def test_parts() -> None:
    first = read(conversation(mindlytics__continued=True, gen_ai__conversation__id="c"))
    second = read(conversation(mindlytics__part=1, gen_ai__conversation__id="c"))
    again = read(
        conversation(mindlytics__part=2, mindlytics__conversation__reopened=True, gen_ai__conversation__id="c")
    )
    assert [part.opening is not None for part in (first, second, again)] == [True, False, True]
    assert [part.closing is not None for part in (first, second, again)] == [False, True, True]
    assert [part.number for part in (first, second, again)] == [0, 1, 2]


def test_what_limits_dropped_is_counted() -> None:
    view = session(user__id="u", dropped_events=3, dropped_attributes=2)
    assert read(view).loss == Loss(dropped_events=3, dropped_attributes=2)


# -- events -----------------------------------------------------------------------------------------------------------


def test_a_turn() -> None:
    found = one(
        turn(
            "hi",
            mindlytics__turn__assistant_id="bot",
            gen_ai__response__model="m",
            gen_ai__usage__input_tokens=1,
            gen_ai__usage__output_tokens=2,
            mindlytics__property__k=True,
        )
    )
    usage = {"model": "m", "prompt_tokens": 1, "completion_tokens": 2}
    assert properties(found) == {"user": "hi", "assistant": "hi", "assistant_id": "bot", **usage, "k": True}
    assert found["timestamp"] == "2025-06-15T15:06:41.000000Z"


def test_of_a_turns_usage_what_is_known_is_sent() -> None:
    """It was once dropped unless whole, and not counted."""
    part = read(conversation(turn("hi", gen_ai__response__model="m", gen_ai__usage__input_tokens="many"), user__id="u"))
    assert properties(part.inner[0]) == {"user": "hi", "assistant": "hi", "model": "m"}
    assert part.loss == Loss(values=1)


def test_properties_that_are_called_like_fields() -> None:
    """The event was once lost for one of them."""
    part = read(
        conversation(
            turn(
                "hi", mindlytics__property__user="x", mindlytics__property__model=5, mindlytics__property__cost="much"
            ),
            user__id="u",
        )
    )
    assert properties(part.inner[0]) == {"user": "hi", "assistant": "hi", "model": "5"}
    assert part.loss == Loss(values=2)


@pytest.mark.parametrize(
    ("attributes", "wanted"),
    [
        ({"mindlytics__cost": 1.5}, {"cost": 1.5}),
        ({"mindlytics__cost": 1, "gen_ai__response__model": "m"}, {"cost": 1}),
        (
            {
                "gen_ai__response__model": "m" * 101,
                "gen_ai__usage__input_tokens": "1",
                "gen_ai__usage__output_tokens": 2.0,
            },
            {"model": "m" * 100, "prompt_tokens": 1, "completion_tokens": 2},
        ),
    ],
)
def test_usage(attributes: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert properties(one(event("mindlytics.usage", **attributes))) == wanted


def test_a_function_call() -> None:
    attributes = {
        "gen_ai__tool__name": "f",
        "gen_ai__tool__call__arguments": {"a": [1]},
        "gen_ai__tool__call__result": 17,
        "mindlytics__function__runtime_ms": 4.2,
        "mindlytics__property__k": 1,
    }
    found = one(event("mindlytics.function", **attributes))
    assert properties(found) == {"name": "f", "args": '{"a":[1]}', "result": "17", "runtime": 4, "k": 1}


def test_events_that_make_no_sense_are_counted() -> None:
    part = read(
        conversation(
            event("mindlytics.turn", mindlytics__turn__user="only"),
            event("mindlytics.usage", gen_ai__response__model="m"),
            event("mindlytics.usage"),
            event("mindlytics.function"),
            event("mindlytics.event"),
            event("mindlytics.user.alias", user__id="u"),
            event("exception"),
            event("mindlytics.unknown"),
            user__id="u",
        )
    )
    assert part.inner == ()
    assert part.loss == Loss(events=6)
    assert part.loss.why == "mindlytics.turn: mindlytics.turn.assistant: is missing"


def test_events_need_the_conversation_that_they_cannot_do_without() -> None:
    part = read(session(turn("hi"), event("mindlytics.event", mindlytics__event__name="Paid"), user__id="u"))
    assert [item["event"] for item in part.inner] == ["Paid"]
    assert part.loss == Loss(events=1)
    assert part.loss.why.startswith("mindlytics.turn: gen_ai.conversation.id: is missing")


def test_identify_and_alias() -> None:
    part = read(
        session(
            event("mindlytics.user.identify", user__id="v", mindlytics__user__trait__name="V"),
            event("mindlytics.user.identify", mindlytics__user__known_id="", mindlytics__device__id="e"),
            event(
                "mindlytics.user.alias", user__id="w", mindlytics__user__previous_id="v", mindlytics__user__known_id="v"
            ),
            user__id="u",
        )
    )
    known = events.common(session_id="s", user_id="u")
    moment = at(1) // 1000
    assert part.inner == (
        events.identify(known, moment, id="v", traits={"name": "V"}),
        events.identify(events.common(session_id="s", device_id="e"), moment, device_id="e"),
        events.alias(events.common(session_id="s", user_id="v"), moment, id="w", previous_id="v"),
    )


def test_events_of_a_joined_session() -> None:
    part = read(
        session(
            event("mindlytics.conversation.started", gen_ai__conversation__id="c", mindlytics__property__a=1),
            event("mindlytics.conversation.ended", gen_ai__conversation__id="c"),
            event("mindlytics.session.ended", mindlytics__property__b=2),
            mindlytics__session__joined="true",
        )
    )
    who, moment = events.common(session_id="s"), at(1) // 1000
    assert part.inner == (
        events.conversation_started(who, moment, conversation_id="c", properties={"a": 1}),
        events.conversation_ended(who, moment, conversation_id="c"),
        events.end_session(who, moment, attributes={"b": 2}),
    )


@pytest.mark.parametrize(
    ("name", "said", "wanted"),
    [
        ("Conversation Turn", {"user": "u", "assistant": "a", "k": 1}, {"user": "u", "assistant": "a", "k": 1}),
        ("Conversation Turn", {"user": "u"}, None),
        ("Conversation Function", {"name": "f", "runtime": "slow"}, {"name": "f"}),
        ("Conversation Usage", {"cost": "much"}, None),
        ("Conversation Started", {"k": 1}, {"k": 1}),
    ],
)
def test_custom_events_with_names_of_the_service(
    name: str, said: dict[str, Any], wanted: dict[str, Any] | None
) -> None:
    given = {f"mindlytics__property__{key}": value for key, value in said.items()}
    inner = event("mindlytics.event", mindlytics__event__name=name, **given)
    part = read(conversation(inner, gen_ai__conversation__id="c", user__id="u"))
    assert [properties(item) for item in part.inner] == ([] if wanted is None else [wanted])
    assert part.loss.events == (wanted is None)


def test_ids_of_odd_kinds() -> None:
    part = read(session(turn("hi", gen_ai__conversation__id=("c", 1), user__id=7, mindlytics__device__id="x" * 500)))
    assert part.inner[0]["conversation_id"] == '["c",1]'
    assert part.inner[0]["user_id"] == "7"
    assert len(str(part.inner[0]["device_id"])) == 100


# -- which spans ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delivery", ["direct", b"direct"])
def test_spans_of_which_the_sdk_sends_the_events_are_left_alone(delivery: object) -> None:
    assert not native.claims(session(mindlytics__delivery=delivery))
    assert native.claims(session(mindlytics__delivery="otel"))


@pytest.mark.parametrize(("named", "is_meant"), [(None, True), ("p", True), ("", True), ("q", False), (5, False)])
def test_a_span_names_the_project_that_it_is_for(named: object, is_meant: bool) -> None:
    assert native.is_meant_for(session(mindlytics__project__id=named), "p") is is_meant
