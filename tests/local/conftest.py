"""A running service and the simplest client there is."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from support import wire

from mlsdk.local import LocalMindlytics


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    text: str
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.text)


Ask = Callable[..., Answer]


@pytest.fixture
def service() -> Iterator[LocalMindlytics]:
    with LocalMindlytics() as running:
        yield running


@pytest.fixture
def ask(service: LocalMindlytics) -> Ask:
    """``ask(path)`` gets, ``ask(path, body)`` posts; a connection each."""

    def ask(path: str, body: object = None, *, method: str | None = None, **headers: str | None) -> Answer:
        sent = {"Authorization": "Bearer test_key", "X-App-ID": "app"}
        for short, value in headers.items():
            name = {"app": "X-App-ID", "key": "Authorization"}.get(short, short.replace("_", "-"))
            sent.pop(name, None)
            if value is not None:
                sent[name] = value
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)
        try:
            connection.request(method or ("GET" if body is None else "POST"), path, content, sent)
            answer = connection.getresponse()
            return Answer(answer.status, answer.read().decode(), dict(answer.headers))
        finally:
            connection.close()

    return ask


@pytest.fixture
def turn() -> Callable[..., dict[str, Any]]:
    def turn(text: str = "hello", *, session_id: str = "s", **fields: Any) -> dict[str, Any]:
        return {
            "type": "track",
            "event": "Conversation Turn",
            "session_id": session_id,
            "conversation_id": "c",
            "user_id": "jj",
            "timestamp": "2025-01-01T00:00:00.123456Z",
            "properties": {"user": text, "assistant": "hi"},
            **fields,
        }

    return turn


Post = Callable[..., int]


@pytest.fixture
def post(service: LocalMindlytics) -> Post:
    """``post(event, ...)`` sends events in one request, and says by which status it was answered."""

    return partial(wire.post, service.port)
