"""Fixtures for your tests: a Mindlytics on this machine, and time that you set.

    # conftest.py
    pytest_plugins = ["mlsdk.testing"]

Loaded only where it is asked for: a test run that does not name it is not changed by this package being installed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from time import monotonic
from typing import Final, Protocol
from urllib.parse import urlsplit

import pytest

from mlsdk import client
from mlsdk.delivery.pipeline import deliveries
from mlsdk.local.service import LocalMindlytics
from mlsdk.local.views import ConversationView, SessionView
from mlsdk.memory import FakeClock, MemoryClient, MemoryDelivery, SyncMemoryClient

__all__ = [
    "FakeClock",
    "MemoryClient",
    "MemoryDelivery",
    "SyncMemoryClient",
    "mindlytics",
    "mindlytics_clock",
    "the_session",
    "transcript",
]

_IN_THE_WAY: Final = ("MLSDK_DISABLED", "MLSDK_PROXY", "MLSDK_SPOOL_DIR")
"""Variables by which events would not come to the test's service, or not to it alone."""
_SETTLE: Final = 5.0
"""Seconds that the end of a test waits for what it left undelivered, at most."""


@pytest.fixture
def mindlytics(monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalMindlytics]:
    """A local Mindlytics on a free port, empty for each test.

    While the test runs the `MLSDK_*` variables lead to it, whatever this machine's say, so that a `Client()` that is
    made without arguments sends its events there, and directly: not by a proxy, nor by a spool. When the test ends,
    sessions that are still open are ended, and what waits is delivered.
    """
    with LocalMindlytics() as service:
        for name, value in service.environment.items():
            monkeypatch.setenv(name, value)
        for name in _IN_THE_WAY:
            monkeypatch.delenv(name, raising=False)
        for name in ("no_proxy", "NO_PROXY"):  # this machine's proxy cannot know what listens here
            monkeypatch.setenv(name, ",".join(filter(None, [os.environ.get(name), urlsplit(service.url).hostname])))
        yield service
        _settle(service)


@pytest.fixture
def mindlytics_clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """A clock that stands still; clients that are made during the test take their timestamps from it."""
    clock = FakeClock()
    monkeypatch.setattr(client, "_CLOCK", clock)
    return clock


def _settle(service: LocalMindlytics) -> None:
    """Leaves nothing for the end of the process, when nobody is there any more to take it."""
    service.clear()  # faults that the test has planned are over
    service.release()
    end = monotonic() + _SETTLE
    for connection, delivery in deliveries():
        if connection.server_endpoint == service.url:
            delivery.end_sessions()
            with suppress(FutureTimeoutError):
                delivery.settled().result(timeout=max(0.0, end - monotonic()))


class Sessions(Protocol):
    """What knows sessions: `LocalMindlytics` and `MemoryDelivery` do."""

    @property
    def session_ids(self) -> list[str]:
        """The sessions, in order of appearance."""

    def session(self, session_id: str) -> SessionView:
        """One of them."""


def the_session(sessions: Sessions) -> SessionView:
    """The only session there is.

    Raises:
        AssertionError: There is none, or more than one.
    """
    found = sessions.session_ids
    if len(found) != 1:
        raise AssertionError(f"one session was expected, and there are {len(found)}: {found}")
    return sessions.session(found[0])


def transcript(talk: SessionView | ConversationView) -> list[tuple[str, str]]:
    """What was said, turn by turn: the user's words, and the assistant's."""
    return [(turn.user, turn.assistant) for turn in talk.turns]
