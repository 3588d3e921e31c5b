"""Dialogues go through the SDK with their own times, and never fill its queue."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from chitchat import Dialogue, Turn, dialogues
from history import read, record
from support import child

from mlsdk import Client
from mlsdk.local import LocalMindlytics

START = datetime(2018, 5, 2, tzinfo=timezone.utc)


def long_dialogue(identifier: str, turns: int) -> Dialogue:
    moments = [START + timedelta(seconds=number) for number in range(turns)]
    return Dialogue(identifier, "ann", "bob", tuple(Turn(f"{at}?", "!", asked_at=at, at=at) for at in moments))


def test_the_events_of_a_dialogue(service: LocalMindlytics, client: Client, data: dict[str, Any]) -> None:
    recorded = asyncio.run(record(client, dialogues(data)))
    assert (recorded.sessions, recorded.turns, recorded.events, recorded.errors) == (3, 5, 17, [])
    who = {"session_id": "chitchat-unanswered", "user_id": "cid"}
    assert service.events("chitchat-unanswered") == [
        {**who, "type": "start_session", "timestamp": "2018-05-02T20:00:00.000000Z", "id": "cid"},
        {
            **who,
            "type": "track",
            "event": "Conversation Started",
            "conversation_id": "unanswered",
            "timestamp": "2018-05-02T20:00:00.000000Z",
        },
        {
            **who,
            "type": "track",
            "event": "Conversation Turn",
            "conversation_id": "unanswered",
            "timestamp": "2018-05-02T20:00:07.000000Z",
            "properties": {
                "user": "anyone?",
                "assistant": "",
                "assistant_id": "ann",
                "asked_at": "2018-05-02T20:00:00+00:00",
            },
        },
        {
            **who,
            "type": "track",
            "event": "Conversation Turn",
            "conversation_id": "unanswered",
            "timestamp": "2018-05-02T20:01:02.000000Z",
            "properties": {
                "user": "no?\nwell",
                "assistant": "",
                "assistant_id": "ann",
                "asked_at": "2018-05-02T20:01:00+00:00",
                "unanswered": True,
            },
        },
        {
            **who,
            "type": "track",
            "event": "Conversation Ended",
            "conversation_id": "unanswered",
            "timestamp": "2018-05-02T20:01:02.000000Z",
        },
        {**who, "type": "end_session", "timestamp": "2018-05-02T20:01:02.000000Z"},
    ]


def test_prompt_and_ratings_are_kept_with_the_conversation(
    service: LocalMindlytics, client: Client, data: dict[str, Any]
) -> None:
    asyncio.run(record(client, dialogues(data)))
    kept = service.session("chitchat-whole").conversation("whole").properties
    assert kept == {"prompt": data["whole"]["prompt"], **data["whole"]["ratings"]}


def test_progress_is_told_in_delivered_turns(client: Client) -> None:
    told: list[int] = []
    history = [long_dialogue("a", 25), long_dialogue("b", 3)]
    asyncio.run(record(client, history, at_once=1, flush_turns=10, on_turns=told.append))
    assert told == [10, 10, 5, 3]


def test_a_small_queue_never_overflows(service: LocalMindlytics) -> None:
    """Without the waits the queue of 60 would be full long before the slow service has answered once."""
    client = Client("key", "history", service.url, queue_events=60)
    for _ in range(5):
        service.fail_next(503, headers={"Retry-After": "0"})
    history = [long_dialogue(str(number), 40) for number in range(12)]
    recorded = asyncio.run(record(client, history, at_once=4, flush_turns=10))
    ledger = client.stats()
    assert (ledger["delivered"], ledger["queued"], ledger["dropped"]) == (recorded.events, 0, {})
    assert service.received == recorded.events == 12 * 44


@pytest.mark.parametrize("count", [1, 500])
def test_a_refused_key_stops_the_import_before_anything_is_lost(
    examples: Path, service: LocalMindlytics, count: int
) -> None:
    # In a process of its own: what a refused key holds back is there until the process ends.
    program = f"""
        import asyncio, json, sys
        from dataclasses import replace
        sys.path.insert(0, {str(examples)!r})
        from chitchat import dialogues
        from history import StandstillError, record
        from mlsdk import Client

        message = {{"sender": "ann", "text": "hi", "timestamp": "2018-05-02T00:00:00Z"}}
        history = dialogues({{str(number): {{"messages": [[message]]}} for number in range({count})}})
        client = Client("bad_key", "history", {service.url!r}, exit_timeout=0)
        try:
            asyncio.run(record(client, history, at_once=4, flush_turns=10))
        except StandstillError as error:
            print(json.dumps([str(error), client.stats()]))
    """
    result = child.run(program)
    assert result.returncode == 0, result.stderr
    message, ledger = json.loads(result.stdout)
    assert "No organization found for given apikey" in message
    assert ledger["dropped"] == {}
    assert ledger["queued"] == ledger["accepted"] <= 4 * (10 + 4) + 4 * 5
    assert f"{ledger['queued']} events lost" in result.stderr


def test_a_file_like_the_dataset_is_read(tmp_path: Path, data: dict[str, Any]) -> None:
    file = tmp_path / "history.json"
    file.write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")
    assert read(file) == list(dialogues(data))
