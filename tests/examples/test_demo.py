"""The demo succeeds when everything arrived, and fails when something did not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from chitchat import dialogues
from demo import demo

from mlsdk import Client, HTTPClient
from mlsdk.local import LocalMindlytics
from mlsdk_otel import configure


def test_what_is_there_is_what_was_sent(
    service: LocalMindlytics, data: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert asyncio.run(demo(service.url, list(dialogues(data)))) == 0
    shown = capsys.readouterr()
    assert "service   Conversation Summary: 3 turns, 1 function call" in shown.out
    assert "Everything that was sent is there" in shown.out
    assert "differs" not in shown.out
    assert shown.err.count("WRONG") == 0
    assert "carried by  6 spans with 5 span events" in shown.out
    table = [line.rsplit(maxsplit=2) for line in shown.out.splitlines()]
    assert {(row[0].strip(), row[1], row[2]) for row in table if len(row) == 3} >= {
        ("sessions", "4", "4"),
        ("still open", "0", "0"),
        ("turns", "8", "8"),
        ("events", "25", "25"),
        ("live events (heard, and made)", "9", "9"),
        ("events by spans, as by calls", "17", "17"),
    }
    assert service.received == 25 + 17


def test_more_than_was_sent_is_a_failure(
    service: LocalMindlytics, data: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    event = {"type": "track", "event": "from elsewhere", "session_id": "another"}
    http = HTTPClient(api_key="key", project_id="demo", server_endpoint=service.url)
    asyncio.run(http.send_request(url="/bc/v1/events/queue", method="POST", data=[event]))
    assert asyncio.run(demo(service.url, list(dialogues(data)))) == 1
    shown = capsys.readouterr()
    assert "<- differs" in shown.out
    assert "sessions: 4 and 5" in shown.err
    assert "Everything that was sent is there" not in shown.out


def test_a_chat_that_arrives_damaged_is_a_failure(
    service: LocalMindlytics,
    data: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def damage(event: dict[str, Any]) -> dict[str, Any]:
        if event.get("properties", {}).get("user") == "Great, thanks!":
            event["properties"]["assistant"] = "You are welcome?"
        return event

    def damaging_client(*args: str) -> Client:
        return Client(*args, before_send=damage)

    monkeypatch.setattr("demo.Client", damaging_client)
    assert asyncio.run(demo(service.url, list(dialogues(data)))) == 1
    assert "turns[2].assistant: is 'You are welcome?', not 'You are welcome!'" in capsys.readouterr().err


def test_spans_that_arrive_damaged_are_a_failure(
    service: LocalMindlytics,
    data: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def damage(event: dict[str, Any]) -> dict[str, Any]:
        if event.get("properties", {}).get("user") == "hi":
            event["properties"]["user"] = "ho"
        return event

    def damaging_configure(**settings: Any) -> Any:
        return configure(**settings, before_send=damage)

    monkeypatch.setattr("demo.configure", damaging_configure)
    assert asyncio.run(demo(service.url, list(dialogues(data)))) == 1
    shown = capsys.readouterr()
    assert "events by spans, as by calls: 17 and 16" in shown.err
    assert "chitchat-alone: the events of the two projects differ" in shown.err
    assert "user: is 'ho', not 'hi'" in shown.err


def test_sessions_that_are_sent_directly_are_not_taken_for_spans(
    service: LocalMindlytics,
    data: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def without_spans(**settings: Any) -> Any:
        return configure(**settings, instrument=False)

    monkeypatch.setattr("demo.configure", without_spans)
    assert asyncio.run(demo(service.url, list(dialogues(data)))) == 1
    assert "5 turns were recorded, 0 span events carried them" in capsys.readouterr().err
