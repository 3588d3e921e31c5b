from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.spans import NOON, at

from mlsdk import events
from mlsdk.events import Event
from mlsdk_otel import attributes as names
from mlsdk_otel.instrumentation import writing
from mlsdk_otel.translation.conventions import native
from mlsdk_otel.translation.spanview import EventView, SpanView

WHO = events.common(session_id="s", user_id="u", device_id="d")
MOMENT = NOON // 1000


def back(event: Event, **span: Any) -> Event:
    """The event that is read from what is written of it, on a span with these attributes."""
    attributes = {**writing.ids(events.end_session(WHO, MOMENT)), **span}
    inner = EventView(
        writing.event_name(event), writing.nanoseconds(event), writing.event_attributes(event, attributes)
    )
    view = SpanView(
        names.SESSION_SPAN,
        1,
        2,
        None,
        has_remote_parent=False,
        start=NOON,
        end=NOON,
        attributes=attributes,
        events=(inner,),
    )
    (found,) = native.read(view, session_id="s", inherited={}).inner
    return found


USAGE = {"model": "m", "prompt_tokens": 1, "completion_tokens": 2}


@pytest.mark.parametrize(
    "event",
    [
        events.turn(
            WHO, 1, conversation_id="c", user="", assistant="a", assistant_id="", usage=USAGE, properties={"k": True}
        ),
        events.turn(WHO, -1, conversation_id="c", user="u", assistant="a", properties={"model": "m" * 300}),
        events.turn(WHO, 0, conversation_id="c", user="u", assistant="a", usage={"cost": 1}, properties={"model": ""}),
        events.turn(WHO, 0, conversation_id="c", user="u", assistant="a", properties={"prompt_tokens": -1}),
        events.usage(WHO, 0, conversation_id="c", usage=USAGE),
        events.usage(WHO, 0, conversation_id="c", usage={"cost": 1.5}),
        events.function_call(
            WHO, 0, conversation_id="c", name="f", args="{}", result="", runtime=0, properties={"*": 1}
        ),
        events.function_call(WHO, 0, conversation_id="c", name="f", properties={"runtime": -5}),
        events.custom(WHO, 0, event="e", properties={"": "", "*": '{"a":1}'}),
        events.custom(WHO, 0, event="e", conversation_id="c", properties={f"k{n}": n for n in range(150)}),
        events.custom(
            WHO, 0, event="Conversation Turn", conversation_id="c", properties={"user": "u", "assistant": "a"}
        ),
        events.identify(WHO, 0, id="v", traits={"*": 1}),
        events.identify(WHO, 0, device_id="e"),
        events.identify(events.common(session_id="s", device_id="d"), 0, device_id="e"),
        events.alias(WHO, 0, id="v", previous_id="u"),
        events.alias(events.common(session_id="s"), 0, id="v", previous_id="u"),
        events.conversation_started(WHO, 0, conversation_id="c", properties={"k": 1}),
        events.conversation_ended(WHO, 0, conversation_id="c"),
        events.end_session(events.common(session_id="s"), 0, attributes={"k": 1}),
    ],
    ids=lambda event: str(event.get("event", event["type"])),
)
def test_what_is_written_is_what_is_read(event: Event) -> None:
    assert back(event) == event


scalars = (
    st.text() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans()
)


@given(st.dictionaries(st.text() | st.just("*"), scalars, max_size=80))
def test_properties_are_what_they_were(properties: Mapping[str, Any]) -> None:
    event = events.custom(WHO, 0, event="e", properties=properties)
    found = back(event)
    assert found == event
    assert [type(value) for value in writing.values(found, "properties").values()] == [
        type(value) for value in properties.values()
    ]


def test_many_values_are_one_attribute() -> None:
    given = {f"k{number}": number for number in range(65)}
    assert writing.prefixed("p.", given) == {"p.*": orjson.dumps(given).decode()}
    assert len(writing.prefixed("p.", dict(list(given.items())[:64]))) == 64


def test_values_beside_others_leave_room_for_them() -> None:
    """64 attributes of a start and 64 of an end are more than a span takes; the first were once dropped."""
    given = {f"k{number}": number for number in range(40)}
    assert len(writing.prefixed("p.", given, beside=24)) == 40
    assert list(writing.prefixed("p.", given, beside=25)) == ["p.*"]
    assert writing.prefixed("p.", {}, beside=100) == {}


def test_lone_surrogates_in_json_are_replaced() -> None:
    assert writing.prefixed("p.", {"*": "\ud800"}) == {"p.*": '{"*":"\ufffd"}'}


def test_only_ids_that_differ_from_the_spans_are_written_at_the_end() -> None:
    span = writing.ids(events.end_session(WHO, 0))
    assert writing.end_ids(events.end_session(WHO, 0), span) == {}
    other = events.common(session_id="s", user_id="v")
    assert writing.end_ids(events.end_session(other, 0), span) == {names.END_USER_ID: "v", names.END_DEVICE_ID: ""}


def test_a_tracked_event_without_a_conversation_is_the_applications_own() -> None:
    event = events.custom(WHO, 0, event="Conversation Started")
    assert writing.event_name(event) == names.CUSTOM
    assert writing.event_attributes(event, {})[names.EVENT_NAME] == "Conversation Started"


def test_moments_are_exact() -> None:
    assert writing.nanoseconds(events.end_session(WHO, at(0.123456) // 1000)) == at(0.123456)


def test_the_start_is_told_as_json() -> None:
    event = events.start_session(events.common(session_id="s", user_id="\ud800"), 0, attributes={"k": 2**63 - 1})
    assert orjson.loads(writing.session_start(event)) == {
        "timestamp": "1970-01-01T00:00:00.000000Z",
        "id": "\ufffd",
        "attributes": {"k": 2**63 - 1},
    }
