"""The chat with Flask, served by its own server, as a browser uses it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from model_stand_in import ModelStandIn, Reply
from support.web import PATIENCE, serving

from mlsdk.local import LocalMindlytics

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def address(service: LocalMindlytics, models: ModelStandIn, examples: Path) -> Iterator[str]:
    command = ["flask", "--app", "app", "run", "--port", "0"]
    with serving(command, folder=examples / "flask_chat", env={**service.environment, **models.environment}) as found:
        yield found


def say(browser: httpx.Client, messages: list[dict[str, str]], text: str) -> str:
    messages.append({"role": "user", "content": text})
    response = browser.post("/chat", json={"messages": messages})
    assert response.status_code == 200, response.text
    messages.append(response.json())
    return str(messages[-1]["content"])


def test_a_visit_is_a_session(service: LocalMindlytics, models: ModelStandIn, address: str) -> None:
    models.script(Reply("Hello Ann!", input_tokens=3, output_tokens=2), Reply("It is on its way."), Reply("Yes?"))
    with httpx.Client(base_url=address, timeout=PATIENCE, trust_env=False) as browser:
        messages: list[dict[str, str]] = []
        assert say(browser, messages, "I am Ann") == "Hello Ann!"
        assert browser.post("/login", json={"id": "ann", "name": "Ann"}).status_code == 200
        assert say(browser, messages, "Where is my order?") == "It is on its way."
        assert browser.post("/end").status_code == 204
        say(browser, [], "hello again")
    service.wait_for(  # an answer waits for delivery for two seconds at most
        lambda at: at.session(at.session_ids[1]).turns and at.session(at.session_ids[0]).ended_at, timeout=PATIENCE
    )
    first, second = service.session_ids
    (conversation,) = service.session(first).conversations
    assert [(turn.user, turn.assistant) for turn in conversation.turns] == [
        ("I am Ann", "Hello Ann!"),
        ("Where is my order?", "It is on its way."),
    ]
    turn = conversation.turns[0]
    assert (turn.model, turn.prompt_tokens, turn.completion_tokens) == ("gpt-4o-mini", 3, 2)
    assert service.session(first).ended_at is not None
    assert [event.get("user_id") for event in service.events(first)][-3:] == ["ann"] * 3
    # The same device and user, in a session of its own that goes on.
    (event,) = service.events(second)
    assert (event["user_id"], event["device_id"]) == ("ann", service.events(first)[0]["device_id"])
    assert service.session(second).ended_at is None


def test_two_browsers_do_not_meet(service: LocalMindlytics, address: str) -> None:
    with (
        httpx.Client(base_url=address, timeout=PATIENCE, trust_env=False) as ann,
        httpx.Client(base_url=address, timeout=PATIENCE, trust_env=False) as bob,
    ):
        for number in range(3):
            say(ann, [], f"ann {number}")
            say(bob, [], f"bob {number}")
    service.wait_for(lambda at: sum(len(at.session(each).turns) for each in at.session_ids) == 6, timeout=PATIENCE)
    said = [[turn.user for turn in service.session(each).conversations[0].turns] for each in service.session_ids]
    assert said == [[f"{name} {number}" for number in range(3)] for name in ("ann", "bob")]
