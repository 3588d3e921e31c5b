"""The chat with FastAPI, served by uvicorn, as a browser uses it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from model_stand_in import ModelStandIn, Reply
from support.web import PATIENCE, serving

from mlsdk.local import LocalMindlytics

pytestmark = pytest.mark.timeout(180)


class Browser:
    """Holds the ids and the conversation, as the page does."""

    def __init__(self, address: str) -> None:
        self.session_id = str(uuid.uuid4())
        headers = {"X-Session-Id": self.session_id, "X-Conversation-Id": f"talk-{self.session_id}", "X-Device-Id": "d"}
        self.http = httpx.Client(base_url=address, headers=headers, timeout=PATIENCE, trust_env=False)
        self.messages: list[dict[str, str]] = []

    def say(self, text: str) -> str:
        self.messages.append({"role": "user", "content": text})
        response = self.http.post("/chat", json={"messages": self.messages})
        assert response.status_code == 200, response.text
        self.messages.append({"role": "assistant", "content": response.text})
        return response.text


@pytest.fixture
def address(service: LocalMindlytics, models: ModelStandIn, examples: Path) -> Iterator[str]:
    command = ["uvicorn", "app:app", "--port", "0"]
    with serving(command, folder=examples / "fastapi_chat", env={**service.environment, **models.environment}) as found:
        yield found


@pytest.fixture
def browsers(address: str) -> Iterator[list[Browser]]:
    """Two of them."""
    two = [Browser(address) for _ in range(2)]
    yield two
    for browser in two:
        browser.http.close()


def test_a_conversation_over_several_requests(
    service: LocalMindlytics, models: ModelStandIn, browsers: list[Browser]
) -> None:
    browser = browsers[0]
    assert "<title>Chat</title>" in browser.http.get("/").text
    models.script(Reply("Hello Ann!", input_tokens=3, output_tokens=2), Reply("It is on its way."))
    assert browser.say("I am Ann") == "Hello Ann!"
    assert browser.http.post("/identify", params={"user": "ann", "name": "Ann"}).status_code == 200
    browser.http.headers["X-User-Id"] = "ann"
    assert browser.say("Where is my order?") == "It is on its way."
    assert browser.http.post("/end").status_code == 200
    # An answer waits for delivery for two seconds at most.
    service.wait_for(lambda at: at.session(browser.session_id).ended_at, timeout=PATIENCE)
    session = service.session(browser.session_id)
    (conversation,) = session.conversations
    assert [(turn.user, turn.assistant) for turn in conversation.turns] == [
        ("I am Ann", "Hello Ann!"),
        ("Where is my order?", "It is on its way."),
    ]
    first = conversation.turns[0]
    assert (first.model, first.prompt_tokens, first.completion_tokens) == ("gpt-4o-mini", 3, 2)
    assert session.ended_at is not None
    assert [event.get("user_id") for event in service.events(browser.session_id)][-3:] == ["ann"] * 3


def test_two_browsers_do_not_meet(service: LocalMindlytics, browsers: list[Browser]) -> None:
    for number in range(3):
        for name, browser in zip("ab", browsers, strict=True):
            browser.say(f"{name}{number}")
    service.wait_for(lambda at: sum(len(at.session(each).turns) for each in at.session_ids) == 6, timeout=PATIENCE)
    for name, browser in zip("ab", browsers, strict=True):
        (conversation,) = service.session(browser.session_id).conversations
        assert [turn.user for turn in conversation.turns] == [f"{name}{number}" for number in range(3)]


def test_a_browser_that_goes_away(service: LocalMindlytics, models: ModelStandIn, browsers: list[Browser]) -> None:
    browser = browsers[0]
    models.pause = 0.05
    models.script(Reply("word " * 1000))
    question = {"messages": [{"role": "user", "content": "Tell me a story"}]}
    with browser.http.stream("POST", "/chat", json=question) as response:
        assert next(response.iter_text()).startswith("word")
    (turn,) = service.wait_for(lambda it: it.session(browser.session_id).conversations[0].turns, timeout=PATIENCE)
    assert turn.user == "Tell me a story"
    assert turn.assistant.startswith("word")
    assert len(turn.assistant) < len("word " * 1000)
    assert turn.properties == {"partial": True}


def test_a_request_of_nobody_is_refused(browsers: list[Browser]) -> None:
    ids = dict(browsers[0].http.headers)
    for name in ("x-session-id", "x-conversation-id", "x-device-id"):
        browsers[0].http.headers = {key: value for key, value in ids.items() if key != name}  # type: ignore[assignment]
        response = browsers[0].http.post("/chat", json={"messages": [{"role": "user", "content": "hi"}]})
        assert response.status_code == 422
