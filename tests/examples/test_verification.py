"""The check at the service finds what is there, and fails on anything that is not as it should be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from chitchat import Dialogue, dialogues
from history import record
from verification import Findings, NoViewError, View, differences, verify

from mlsdk import Client, HTTPClient
from mlsdk.local import LocalMindlytics

Event = dict[str, Any]


def look(service: LocalMindlytics, history: Iterable[Dialogue]) -> Findings:
    async def find() -> Findings:
        async with View(service.url, "history") as view:
            return await verify(view, history)

    return asyncio.run(find())


@pytest.fixture
def history(data: dict[str, Any]) -> list[Dialogue]:
    return list(dialogues(data))


def test_what_was_sent_is_found_whole(service: LocalMindlytics, client: Client, history: list[Dialogue]) -> None:
    asyncio.run(record(client, history))
    assert look(service, history) == Findings(sessions=3, conversations=3, turns=5, events=17, equal_turns=5)


def test_an_empty_service_holds_nothing(service: LocalMindlytics, history: list[Dialogue]) -> None:
    found = look(service, history)
    assert found.equal_turns == found.sessions == 0
    assert found.differences == [f"chitchat-{name}: is not there" for name in ("whole", "unanswered", "alone")]


def alter_text(event: Event) -> Event:
    if event.get("event") == "Conversation Turn" and event["properties"]["user"] == "no?\nwell":
        event["properties"]["user"] = "no? well"
    return event


def lose_turn(event: Event) -> Event | None:
    return None if event.get("properties", {}).get("user", "").startswith("Hello") else event


def lose_last_turn(event: Event) -> Event | None:
    return None if event.get("properties", {}).get("assistant") == "bye" else event


def lose_session_end(event: Event) -> Event | None:
    return None if event["type"] == "end_session" and event["session_id"] == "chitchat-alone" else event


def lose_property(event: Event) -> Event:
    event.get("properties", {}).pop("unanswered", None)
    return event


@pytest.mark.parametrize(
    ("damage", "equal_turns", "expected"),
    [
        (alter_text, 4, "chitchat-unanswered.conversations[0].turns[1].user: is 'no? well', not 'no?\\nwell'"),
        (lose_turn, 3, "chitchat-whole.conversations[0].turns: has 1 items, not 2"),
        (lose_last_turn, 4, "chitchat-whole.conversations[0].turns: has 1 items, not 2"),
        (lose_session_end, 5, "chitchat-alone.ended_at: is None, not '2018-05-02T21:00:00.000000Z'"),
        (lose_property, 3, "chitchat-alone.conversations[0].turns[0].properties.unanswered: is None, not True"),
    ],
)
def test_damage_on_the_way_is_found(
    service: LocalMindlytics,
    history: list[Dialogue],
    damage: Callable[[Event], Event | None],
    equal_turns: int,
    expected: str,
) -> None:
    client = Client("key", "history", service.url, before_send=damage)
    asyncio.run(record(client, history))
    found = look(service, history)
    assert found.equal_turns == equal_turns
    assert expected in found.differences


def test_turns_in_another_order_are_found(service: LocalMindlytics, client: Client, history: list[Dialogue]) -> None:
    whole = history[0]
    asyncio.run(record(client, [replace(whole, turns=whole.turns[::-1])]))
    found = look(service, [whole])
    assert (found.turns, found.equal_turns) == (2, 0)
    assert found.differences


@pytest.mark.parametrize("shift", [timedelta(microseconds=1), timedelta(hours=-6)])
def test_a_time_that_is_off_is_found(
    service: LocalMindlytics, client: Client, history: list[Dialogue], shift: timedelta
) -> None:
    whole = history[0]
    first, *others = whole.turns
    asyncio.run(record(client, [replace(whole, turns=(replace(first, at=first.at + shift), *others))]))
    found = look(service, [whole])
    assert (found.turns, found.equal_turns, len(found.differences)) == (2, 1, 1)
    assert "turns[0].timestamp" in found.differences[0]


def test_a_turn_that_nobody_expects_is_found(service: LocalMindlytics, client: Client, history: list[Dialogue]) -> None:
    asyncio.run(record(client, history))
    (turn,) = [event for event in service.events("chitchat-alone") if event.get("event") == "Conversation Turn"]
    http = HTTPClient(api_key="key", project_id="history", server_endpoint=service.url)
    asyncio.run(http.send_request(url="/bc/v1/events/queue", method="POST", data=[turn]))
    found = look(service, history)
    assert (found.turns, found.events) == (6, 18)
    assert "chitchat-alone.conversations[0].turns: has 2 items, not 1" in found.differences


def test_another_project_is_not_looked_at(service: LocalMindlytics, history: list[Dialogue]) -> None:
    asyncio.run(record(Client("key", "another", service.url), history))
    assert look(service, history).sessions == 0


def test_a_service_that_cannot_be_asked_says_so() -> None:
    async def ask() -> None:
        async with View("http://127.0.0.1:9", "history") as view:
            await view.totals()

    with pytest.raises(NoViewError, match=r"127\.0\.0\.1:9 does not show what it holds"):
        asyncio.run(ask())


@pytest.mark.parametrize(
    ("wanted", "held", "expected"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, []),
        ({"a": None}, {}, []),
        ({"a": 1}, {}, [".a: is None, not 1"]),
        ({"a": {"b": "x"}}, {"a": {"b": "y"}}, [".a.b: is 'y', not 'x'"]),
        ([1, 2], [1], [": has 1 items, not 2"]),
        ([1], [1, 2], [": has 2 items, not 1"]),
        ([1, 2], [2, 1], ["[0]: is 2, not 1", "[1]: is 1, not 2"]),
        ({"a": []}, {"a": "x"}, [".a: is 'x', not []"]),
        ({"a": {}}, {"a": None}, [".a: is None, not {}"]),
    ],
)
def test_differences(wanted: object, held: object, expected: list[str]) -> None:
    assert list(differences(wanted, held)) == expected
