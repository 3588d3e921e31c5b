"""Bodies: the service's texts for what is wrong, and no complaint about what is right."""

from __future__ import annotations

from typing import Any, Final

import pytest

from mlsdk.local import validation
from mlsdk.local.validation import InvalidBodyError

TURN: Final[dict[str, Any]] = {
    "type": "track",
    "event": "Conversation Turn",
    "session_id": "s",
    "conversation_id": "c",
    "timestamp": "2025-01-01T00:00:00Z",
    "properties": {"user": "hello", "assistant": "hi"},
}
GOOD: Final[dict[str, dict[str, Any]]] = {
    "start-session": {"type": "start_session", "session_id": "s", "id": "u", "attributes": {"a": 1}},
    "end-session": {"type": "end_session", "session_id": "s"},
    "identify": {"type": "identify", "session_id": "s", "device_id": "d", "traits": {"vip": True}},
    "alias": {"type": "alias", "session_id": "s", "id": "new", "previous_id": "old"},
    "track": {"type": "track", "event": "Order Placed", "session_id": "s", "properties": {"total": 1.5}},
    "start-conversation": {
        "type": "track",
        "event": "Conversation Started",
        "session_id": "s",
        "conversation_id": "c",
        "attributes": {"published": "so"},
    },
    "end-conversation": {"type": "track", "event": "Conversation Ended", "session_id": "s", "conversation_id": "c"},
    "conversation-turn": TURN,
    "conversation-usage": {
        **TURN,
        "event": "Conversation Usage",
        "properties": {"model": "m", "prompt_tokens": 1, "completion_tokens": 2},
    },
    "conversation-function": {**TURN, "event": "Conversation Function", "properties": {"name": "f", "runtime": 3}},
}


def without(event: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in event.items() if key != name}


def test_there_is_an_example_of_every_kind() -> None:
    assert GOOD.keys() == validation.KINDS.keys()


@pytest.mark.parametrize("kind", GOOD)
def test_a_good_event_is_accepted_as_it_is(kind: str) -> None:
    assert validation.check_kind(GOOD[kind], kind) is GOOD[kind]
    assert validation.unknown_fields(GOOD[kind]) == set()


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({}, "Invalid wire type: undefined"),
        (7, "Invalid wire type: undefined"),
        (None, "Invalid wire type: undefined"),
        ([TURN], "Invalid wire type: undefined"),
        ({**TURN, "type": "page"}, "Invalid wire type: page"),
        ({**TURN, "type": None}, "Invalid wire type: null"),
        (without(TURN, "session_id"), "Invalid event: session_id: Field required"),
        (without(TURN, "conversation_id"), "Invalid event: conversation_id: Field required"),
        (without(TURN, "properties"), "Invalid event: properties: Field required"),
        (without(TURN, "event"), "Invalid event: event: Field required"),
        ({**TURN, "session_id": 7}, "Invalid event: session_id: Input should be a valid string"),
        ({**TURN, "session_id": ""}, "Invalid event: session_id: String should have at least 1 character"),
        ({**TURN, "user_id": "u" * 101}, "Invalid event: user_id: String should have at most 100 characters"),
        ({**TURN, "user_id": None}, "Invalid event: user_id: null is not allowed, leave the field out"),
        (
            {**TURN, "properties": {"user": "u", "assistant": "a", "model": None}},
            "Invalid event: properties.model: null is not allowed, leave the field out",
        ),
        ({**TURN, "properties": {"user": "u"}}, "Invalid event: properties.assistant: Field required"),
        (
            {**TURN, "properties": {"user": "u", "assistant": "a", "tags": ["x"]}},
            "Invalid event: properties: Value error, 'tags' must be a string, number or boolean, got list",
        ),
        (
            {**TURN, "properties": {"user": "u", "assistant": "a", "prompt_tokens": "1"}},
            "Invalid event: properties.prompt_tokens: Input should be a valid integer",
        ),
        (
            {**TURN, "context": {"nested": 1}},
            "Invalid event: Value error, 'context' must be a string, number or boolean, got dict",
        ),
        (
            {**TURN, "timestamp": "2025-01-01T00:00:00"},
            "Invalid event: timestamp: Value error, not an ISO 8601 time with a time zone",
        ),
        (
            {**GOOD["track"], "properties": {"deep": {"er": 1}}},
            "Invalid event: properties.deep: Input should be a valid string",
        ),
        ({**GOOD["track"], "event": ""}, "Invalid event: event: String should have at least 1 character"),
        (
            without(GOOD["start-session"], "id"),
            "Invalid event: Value error, Either 'id' or 'device_id' must be provided",
        ),
        (without(GOOD["alias"], "previous_id"), "Invalid event: previous_id: Field required"),
        ({**GOOD["conversation-usage"], "properties": {"model": "m"}}, "Invalid event: properties."),
    ],
)
def test_a_bad_event_is_refused_with_a_text_that_names_the_field(event: Any, message: str) -> None:
    with pytest.raises(InvalidBodyError) as refused:
        validation.check_event(event)

    assert str(refused.value).startswith(message)


def test_a_batch_is_an_array_or_one_bare_event() -> None:
    assert validation.check_batch([]) == []
    assert validation.check_batch([TURN, GOOD["track"]]) == [TURN, GOOD["track"]]
    assert validation.check_batch(TURN) == [TURN]


def test_one_bad_event_refuses_the_batch() -> None:
    with pytest.raises(InvalidBodyError, match=r"^Invalid wire type: undefined$"):
        validation.check_batch([TURN, {}, TURN])


@pytest.mark.parametrize("kind", validation.KINDS)
def test_an_endpoint_of_one_kind_refuses_the_others(kind: str) -> None:
    for other, event in GOOD.items():
        is_wanted = other == kind or (kind == "track" and event["type"] == "track")
        if not is_wanted:
            with pytest.raises(InvalidBodyError, match=r"^Invalid (wire type|event): "):
                validation.check_kind(event, kind)


def test_a_field_that_nobody_described_is_kept_and_named() -> None:
    event = {**TURN, "conversationId": "c"}

    assert validation.check_event(event) is event
    assert validation.unknown_fields(event) == {"conversationId"}


@pytest.mark.parametrize("body", [{}, [], None, {"id": ""}, {"id": "u", "traits": {"a": []}}, {"id": None}])
def test_bad_identify_requests(body: Any) -> None:
    with pytest.raises(InvalidBodyError, match="Invalid request"):
        validation.check_identify(body)


@pytest.mark.parametrize("body", [{}, {"id": "u"}, {"id": "u", "previous_id": 1}, "u"])
def test_bad_alias_requests(body: Any) -> None:
    with pytest.raises(InvalidBodyError, match="Invalid request"):
        validation.check_alias(body)


def test_good_user_requests() -> None:
    assert validation.check_identify({"device_id": "d"}) == {"device_id": "d"}
    assert validation.check_alias({"id": "a", "previous_id": "b"}) == {"id": "a", "previous_id": "b"}
