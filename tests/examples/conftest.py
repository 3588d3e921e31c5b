"""The examples are programs, not a package: their folder is searched as it is when Python runs one of them.

There is nothing in it by the name of what is installed, so it shadows nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from mlsdk import Client
from mlsdk.local import LocalMindlytics

EXAMPLES: Final = Path(__file__).resolve().parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))


@pytest.fixture(scope="session")
def examples() -> Path:
    """Where the programs are."""
    return EXAMPLES


@pytest.fixture
def service() -> Iterator[LocalMindlytics]:
    with LocalMindlytics() as running:
        yield running


@pytest.fixture
def client(service: LocalMindlytics) -> Client:
    return Client("key", "history", service.url, service.ws_url)


@pytest.fixture
def data() -> dict[str, Any]:
    """Three conversations in the form of the dataset: a whole one, an unanswered one, one of words to nobody."""

    def message(sender: str, text: str, time: str) -> dict[str, str]:
        return {"text": text, "timestamp": f"2018-05-02T{time}Z", "sender": sender}

    return {
        "whole": {
            "messages": [
                [message("ann", "Hello", "19:38:15"), message("ann", "How are you?", "19:38:20")],
                [message("bob", "Fine \u2603", "19:38:29"), message("bob", "", "19:38:29")],
                [message("ann", 'a "quoted" \\ word', "19:39:00")],
                [message("bob", "bye", "19:39:30")],
            ],
            "prompt": "What superpower do you wish you had, and why?",
            "ratings": {"witty": 7, "upbeat": 1, "interesting": 10},
            "start": "2018-05-03T01:38:01Z",
        },
        "unanswered": {
            "messages": [
                [message("cid", "anyone?", "20:00:00")],
                [message("ann", "", "20:00:07")],
                [message("cid", "no?", "20:01:00"), message("cid", "well", "20:01:02")],
            ],
            "start": "2018-05-02T20:00:00Z",
        },
        "alone": {"messages": [[message("bob", "hi", "21:00:00")]], "start": "2018-05-03T03:00:00Z"},
    }
