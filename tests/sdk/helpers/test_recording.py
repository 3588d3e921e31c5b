"""What was found goes into a session, and nothing comes back to the application."""

from __future__ import annotations

import logging

import pytest
from support.sdk import MemoryDoor, names, session_at, sync_client_of

from mlsdk.helpers.recording import Recorder
from mlsdk.helpers.turns import Call, Found, Turn, Usage
from mlsdk.local import LocalMindlytics

FOUND = Found(
    "t1",
    Turn("hi", "hello", Usage("big", 3, 4)),
    calls=(Call(name="order", call_id="c1", args="{}", result="ok", runtime=5),),
    usage=(Usage("small", 1, 2), Usage(None, 5, 6)),
)


def test_calls_come_first_then_the_turn_then_what_others_took() -> None:
    door = MemoryDoor()
    Recorder(assistant_id="helper").record(session_at(door, device_id="d"), FOUND)
    assert names(door.events)[2:] == ["Conversation Function", "Conversation Turn", "Conversation Usage"]
    assert [event["properties"] for event in door.events[2:]] == [
        {"name": "order", "args": "{}", "result": "ok", "runtime": 5, "turn_id": "t1"},
        {
            "user": "hi",
            "assistant": "hello",
            "assistant_id": "helper",
            "model": "big",
            "prompt_tokens": 3,
            "completion_tokens": 4,
            "turn_id": "t1",
        },
        {"model": "small", "prompt_tokens": 1, "completion_tokens": 2},
    ]


def test_what_is_not_known_is_absent() -> None:
    door = MemoryDoor()
    found = Found("t1", Turn("hi", "hello", Usage(None, 3, 4)), calls=(Call(name="order", result="ok"),))
    Recorder().record(session_at(door, device_id="d"), found)
    assert [event["properties"] for event in door.events[2:]] == [
        {"name": "order", "result": "ok", "turn_id": "t1"},
        {"user": "hi", "assistant": "hello", "turn_id": "t1"},
    ]


def test_what_went_wrong_is_marked() -> None:
    door = MemoryDoor()
    found = Found("t1", Turn("hi", "hel", is_partial=True), calls=(Call(name="order", has_failed=True),))
    Recorder().record(session_at(door, device_id="d"), found)
    assert [event["properties"] for event in door.events[2:]] == [
        {"name": "order", "turn_id": "t1", "failed": True},
        {"user": "hi", "assistant": "hel", "turn_id": "t1", "partial": True},
    ]


def test_a_session_without_await_serves_as_well() -> None:
    with LocalMindlytics() as service:
        with sync_client_of(service).create_session(device_id="d") as session:
            Recorder().record(session, FOUND)
        (turn,) = service.session(str(session.session_id)).conversations[0].turns
    assert (turn.user, turn.assistant, turn.model, turn.prompt_tokens) == ("hi", "hello", "big", 3)


def test_the_conversation_is_the_one_named() -> None:
    door = MemoryDoor()
    Recorder(conversation_id="talk").record(session_at(door, device_id="d"), FOUND)
    assert {event["conversation_id"] for event in door.events if event["type"] == "track"} == {"talk"}


def test_a_refusal_is_logged_once_aloud_and_raises_nothing(caplog: pytest.LogCaptureFixture) -> None:
    door = MemoryDoor()
    recorder, nobody = Recorder(), session_at(door)
    with caplog.at_level(logging.DEBUG, logger="mlsdk.helpers.recording"):
        recorder.record(nobody, FOUND)
    assert door.events == []
    assert [record.levelname for record in caplog.records] == ["WARNING", "DEBUG", "DEBUG"]
    assert "track_function_call: not recorded: InvalidEventError: device_id" in caplog.messages[0]
    assert "hello" not in caplog.text
