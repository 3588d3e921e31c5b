from __future__ import annotations

from typing import Any

import orjson
import pytest

from mlsdk_otel.translation.conventions import payloads
from mlsdk_otel.translation.facts import Message

ASKED = Message("user", "Hi")
LANGCHAIN = {"lc": 1, "id": ["langchain", "schema", "messages", "HumanMessage"], "kwargs": {"content": "Hi"}}


@pytest.mark.parametrize(
    "payload",
    [
        {"model": "m", "messages": [{"role": "user", "content": "Hi"}]},
        {"messages": [[LANGCHAIN]]},
        {"model": "m", "input": "Hi"},
        {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]},
        [{"role": "user", "content": "Hi"}],
        "Hi",
    ],
)
def test_what_was_sent(payload: Any) -> None:
    assert payloads.said(payload, role="user") == (ASKED,)
    assert payloads.said(orjson.dumps(payload).decode(), role="user") == (ASKED,)


def test_the_system_prompt_comes_first() -> None:
    payload = {"system": "Be brief.", "messages": [{"role": "user", "content": "Hi"}]}
    assert payloads.said(payload, role="user") == (Message("system", "Be brief."), ASKED)


@pytest.mark.parametrize(
    "payload",
    [
        {"choices": [{"finish_reason": "stop", "message": {"role": "assistant", "content": "Hello."}}]},
        {
            "generations": [
                [{"text": "Hello.", "message": {"lc": 1, "id": ["AIMessage"], "kwargs": {"content": "Hello."}}}]
            ]
        },
        {"output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hello."}]}]},
        {"role": "assistant", "content": "Hello."},
    ],
)
def test_what_was_answered(payload: Any) -> None:
    assert payloads.said(payload, role="assistant") == (Message("assistant", "Hello."),)


NOTHING = (None, "", payloads.REDACTED, {}, {"messages": ["Message(role='user')"]}, 21, '{"id":"c","choices":[{"mess')


@pytest.mark.parametrize("payload", NOTHING)
def test_nothing_is_said(payload: Any) -> None:
    assert payloads.said(payload, role="user") == ()
