"""The second half of the demo: equal when everything arrived, and it says so when something did not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

import pytest
import zero_code_demo
from comparison import differing, print_table

from mlsdk.local import LocalMindlytics

QUICK: Final = {
    "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "anthropic,langchain,openai_agents",
    "MLSDK_EXIT_TIMEOUT": "25",
}
"""All that is installed here would be loaded, and most of it takes seconds; so may the service on a busy machine."""

pytestmark = pytest.mark.timeout(150)


@pytest.fixture
def service() -> Iterator[LocalMindlytics]:
    with LocalMindlytics() as running:
        yield running


def test_what_was_said_to_the_chatbot_is_there(service: LocalMindlytics, capsys: pytest.CaptureFixture[str]) -> None:
    rows = asyncio.run(zero_code_demo.demo(service.url, QUICK))
    assert differing(rows) == []
    print_table(rows)
    shown = capsys.readouterr().out
    assert "Where is order 4711?\n          I have looked: order 4711 is shipped this morning\n" in shown
    assert {row.what.strip(): row.sent for row in rows}["turns"] == 11
    assert len(service.session_ids) == 3


def test_what_does_not_arrive_is_told(service: LocalMindlytics) -> None:
    rows = asyncio.run(zero_code_demo.demo(service.url, {**QUICK, "OTEL_TRACES_EXPORTER": "none"}))
    assert differing(rows)[0] == "chats, as sessions: 3 and 0"
    assert "transcripts, word for word: 3 and 0" in differing(rows)


def test_a_chatbot_that_does_not_start_is_an_error(service: LocalMindlytics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zero_code_demo, "_APP", zero_code_demo._APP.with_name("none.py"))
    with pytest.raises(zero_code_demo.NoChatbotError, match="before it listened"):
        asyncio.run(zero_code_demo.demo(service.url, QUICK))
