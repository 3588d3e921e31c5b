"""The HTTP side, at its public door."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from mlsdk.local import LocalMindlytics

QUEUE = "/bc/v1/events/queue"
Ask = Callable[..., Any]
Turn = Callable[..., dict[str, Any]]


# --- bodies ----------------------------------------------------------------------------------------------------------


def test_the_queue_takes_an_array_a_bare_event_and_an_empty_array(
    service: LocalMindlytics, ask: Ask, turn: Turn
) -> None:
    for body in ([turn("1"), turn("2")], turn("3"), []):
        answer = ask(QUEUE, body)
        assert answer.status == 200
        assert isinstance(answer.json["status"], str)

    assert [each.user for each in service.session("s").turns] == ["1", "2", "3"]


def test_a_batch_with_one_bad_event_is_refused_whole(service: LocalMindlytics, ask: Ask, turn: Turn) -> None:
    answer = ask(QUEUE, [turn(), {"session_id": "s"}, turn()])

    assert (answer.status, answer.text) == (400, "Invalid wire type: undefined")
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert service.received == 0
    assert not service.requests[0].processed


@pytest.mark.parametrize("body", [b"", b"{", b"NaN", b'"\\ud800"', b"\xff"])
def test_a_body_that_is_no_json_is_refused(ask: Ask, body: bytes) -> None:
    answer = ask(QUEUE, body, method="POST")

    assert answer.status == 400
    assert answer.text.startswith("Invalid JSON: ")


def test_a_body_over_the_bound_is_refused(turn: Turn) -> None:
    with LocalMindlytics(max_body=1000) as service:
        ask = asker(service)
        assert ask(QUEUE, turn("x" * 500))[0] == 200
        assert ask(QUEUE, turn("x" * 1000)) == (413, "Request Entity Too Large")
        assert service.received == 1


def asker(service: LocalMindlytics) -> Callable[..., tuple[int, str]]:
    """For services that are not the fixture's: status and text of one request."""
    import http.client
    import json

    def ask(path: str, body: object = None, key: str = "test_key", host: str = "127.0.0.1") -> tuple[int, str]:
        connection = http.client.HTTPConnection(host, service.port, timeout=10)
        try:
            content = None if body is None else json.dumps(body).encode()
            headers = {"Authorization": f"Bearer {key}", "X-App-ID": "app"}
            connection.request("GET" if body is None else "POST", path, content, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    return ask


# --- credentials -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "status", "text"),
    [
        ({"key": "Bearer any"}, 200, '{"status":"ok"}'),
        ({"key": "any"}, 200, '{"status":"ok"}'),
        ({"key": None}, 401, "Unauthorized: No apikey given"),
        ({"key": "Bearer "}, 401, "Unauthorized: No apikey given"),
        ({"key": "Bearer bad_key"}, 403, "Unauthorized: No organization found for given apikey"),
        ({"key": "bad_key"}, 403, "Unauthorized: No organization found for given apikey"),
        ({"app": None}, 401, "Unauthorized: No X-App-ID given"),
    ],
)
def test_credentials(ask: Ask, headers: dict[str, str | None], status: int, text: str) -> None:
    answer = ask(QUEUE, [], **headers)

    assert (answer.status, answer.text) == (status, text)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/bc/v1/events/event", {}),
        ("/bc/v1/events/event/track", {}),
        ("/bc/v1/user/identify", {"id": "u"}),
        ("/bc/v1/user/alias", {"id": "u", "previous_id": "v"}),
        ("/bc/v1/live-events/realtime", None),
        ("/bc/v1/live-events/events", None),
    ],
)
def test_every_endpoint_wants_a_key(ask: Ask, path: str, body: object) -> None:
    assert ask(path, body, key="bad_key").status == 403


def test_one_key_can_be_pinned() -> None:
    with LocalMindlytics(api_key="mine") as service:
        ask = asker(service)
        assert ask(QUEUE, [], key="mine")[0] == 200
        assert ask(QUEUE, [], key="other") == (403, "Unauthorized: No organization found for given apikey")
        assert service.environment["MLSDK_API_KEY"] == "mine"


# --- routes ----------------------------------------------------------------------------------------------------------


def test_unknown_paths_and_methods(ask: Ask) -> None:
    assert (ask("/bc/v2").status, ask("/bc/v1/events/event/page", {}).status) == (404, 404)
    answer = ask(QUEUE)
    assert (answer.status, answer.text, answer.headers["Allow"]) == (405, "Method Not Allowed", "POST")


def test_one_event_a_post_as_the_javascript_client_does(service: LocalMindlytics, ask: Ask) -> None:
    """Key without Bearer, times as ``toISOString`` writes them, each kind at its own path."""
    at = {"session_id": "js", "device_id": "browser", "timestamp": "2025-01-01T00:00:00.123Z"}
    chat = {**at, "type": "track", "conversation_id": "c"}
    steps: list[tuple[str, dict[str, Any], list[str]]] = [
        ("start-session", {**at, "type": "start_session", "attributes": {"page": "/"}}, ["Session Started"]),
        ("start-conversation", {**chat, "event": "Conversation Started"}, ["Conversation Started"]),
        (
            "conversation-turn",
            {**chat, "event": "Conversation Turn", "properties": {"user": "hi", "assistant": "hello", "cost": 1}},
            ["Conversation Turn"],
        ),
        (
            "conversation-usage",
            {
                **chat,
                "event": "Conversation Usage",
                "properties": {"model": "m", "prompt_tokens": 1, "completion_tokens": 2},
            },
            ["Conversation Usage"],
        ),
        (
            "conversation-function",
            {**chat, "event": "Conversation Function", "properties": {"name": "f", "args": "{}", "runtime": 3}},
            ["Conversation Function"],
        ),
        ("track", {**at, "type": "track", "event": "Clicked", "properties": {"x": 1}}, ["Clicked"]),
        ("identify", {**at, "type": "identify", "id": "jj", "traits": {"name": "JJ"}}, []),
        ("alias", {**at, "type": "alias", "id": "jjacob", "previous_id": "jj"}, []),
        ("end-conversation", {**chat, "event": "Conversation Ended"}, ["Conversation Summary", "Conversation Ended"]),
        ("end-session", {**at, "type": "end_session"}, ["Session Ended"]),
    ]
    for kind, event, names in steps:
        answer = ask(f"/bc/v1/events/event/{kind}", event, key="test_key")
        assert answer.status == 200
        assert [each["event"] for each in answer.json] == names

    view = service.session("js")
    assert list(view.received) == [event for _, event, _ in steps]
    assert (view.ended_at, view.conversation("c").ended_at) == (at["timestamp"], at["timestamp"])
    assert view.user is not None
    assert (view.user.id, view.user.traits) == ("jjacob", {"name": "JJ"})


def test_an_event_at_the_wrong_kinds_path_is_refused(service: LocalMindlytics, ask: Ask, turn: Turn) -> None:
    assert ask("/bc/v1/events/event/end-session", turn()).text == "Invalid wire type: track"
    assert ask("/bc/v1/events/event/start-conversation", turn()).text == "Invalid event: Conversation Turn"
    assert ask("/bc/v1/events/event/track", [turn()]).status == 400
    assert service.received == 0
    assert ask("/bc/v1/events/event", turn()).status == 200


def test_users_are_identified_and_renamed(ask: Ask) -> None:
    answer = ask("/bc/v1/user/identify", {"id": "jj", "device_id": "phone", "traits": {"age": 41}})
    record = answer.json
    created = record.pop("created_at")
    assert created.endswith("Z")
    assert record == {
        "organization_id": "local",
        "app_id": "app",
        "user_id": "user_1",
        "id": "jj",
        "aliases": [],
        "traits": {"age": 41},
    }

    renamed = ask("/bc/v1/user/alias", {"id": "jjacob", "previous_id": "jj"}).json
    assert (renamed["id"], renamed["aliases"], renamed["created_at"]) == ("jjacob", ["jj"], created)
    unknown = ask("/bc/v1/user/alias", {"id": "x", "previous_id": "nobody"})
    assert (unknown.status, unknown.text) == (400, "No user found for previous_id: nobody")


def test_live_events_of_a_time(ask: Ask, turn: Turn) -> None:
    ask(QUEUE, [turn(str(hour), timestamp=f"2025-01-01T0{hour}:00:00Z") for hour in range(1, 6)])
    path = "/bc/v1/live-events/events?start=2025-01-01T02:00:00Z&end=2025-01-01T04:00:00Z"

    assert [each["properties"]["user"] for each in ask(path).json] == ["4", "3", "2"]
    assert [each["properties"]["user"] for each in ask(f"{path}&limit=1").json] == ["4"]
    assert ask("/bc/v1/live-events/events?end=2025-01-01T04:00:00Z").text == "Invalid request: start: Field required"
    assert ask(path.replace("T02", "T99")).status == 400
    assert ask(f"{path}&limit=few").text == "Invalid request: limit: must be a whole number"


def test_the_limit_of_live_events_is_150(ask: Ask, turn: Turn) -> None:
    ask(QUEUE, [turn()] * 200)

    assert len(ask("/bc/v1/live-events/events?start=2025-01-01T00:00:00Z&end=2025-01-02T00:00:00Z").json) == 150


# --- the JSON view ---------------------------------------------------------------------------------------------------


def test_the_json_view(service: LocalMindlytics, ask: Ask, turn: Turn) -> None:
    ask(QUEUE, [turn("one"), turn("two", session_id="a/b c")], idempotency_key="first")
    ask(QUEUE, {**turn("three"), "odd": 1})

    assert ask("/local/stats").json == {
        "requests": 3,
        "events": 3,
        "live_events": 7,
        "listeners": 0,
        "users": 1,
        "sessions": 2,
        "open_sessions": 2,
        "conversations": 2,
        "turns": 3,
        "functions": 0,
        "unknown_fields": {"odd": 1},
    }
    listed = ask("/local/sessions").json
    assert listed["total"] == 2
    assert [(each["session_id"], each["turns"]) for each in listed["sessions"]] == [("s", 2), ("a/b c", 1)]
    assert [each["session_id"] for each in ask("/local/sessions?after=1").json["sessions"]] == ["a/b c"]
    session = ask("/local/sessions/a%2Fb%20c").json
    assert [each["user"] for each in session["conversations"][0]["turns"]] == ["two"]
    assert session["user"]["id"] == "jj"
    assert ask("/local/sessions/none").status == 404
    page = ask("/local/events?after=1&limit=1").json
    assert page["total"] == 3
    assert [(each["number"], each["request"], each["idempotency_key"]) for each in page["events"]] == [(2, 1, "first")]
    assert page["events"][0]["event"] == service.events()[1]
    assert "/local/sessions" in ask("/").text


# --- speed -----------------------------------------------------------------------------------------------------------


@pytest.mark.timed
def test_intake_does_not_slow_down_as_events_gather(ask: Ask, turn: Turn) -> None:
    def seconds(first: int) -> float:
        batches = [
            [turn(session_id=f"s{number // 20}") for number in range(start, start + 500)]
            for start in range(first, first + 5000, 500)
        ]
        start = time.process_time()
        for batch in batches:
            assert ask(QUEUE, batch).status == 200
        return time.process_time() - start

    early = min(seconds(0), seconds(5000))
    for number in range(2, 6):
        seconds(number * 5000)
    late = min(seconds(30_000), seconds(35_000))

    assert late < 3 * early
