"""What exporters and processor have in common; their own tests show the rest."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future

import pytest
from support.otel import arguments, lines
from support.sdk import PATIENCE

from mlsdk.delivery.host import host
from mlsdk.local import LocalMindlytics
from mlsdk_otel.road import Road


def test_nothing_given_is_nothing_offered(shared_service: LocalMindlytics) -> None:
    road = Road("test", arguments(shared_service))
    assert road.carry([]) is None
    assert road.flush(PATIENCE) is True


def test_without_a_bridge_there_is_nothing_to_wait_for(caplog: pytest.LogCaptureFixture) -> None:
    road = Road("test", {})
    assert road.carry([]) is None
    assert road.flush(PATIENCE) is True
    assert road.wait(Future()) is True
    assert len(lines(caplog)) == 1


def test_work_that_somebody_else_is_at_is_waited_for(shared_service: LocalMindlytics) -> None:
    """A flush whose release is still in the queue has flushed nothing yet."""
    road = Road("test", arguments(shared_service))
    assert road.bridge is not None
    lock = road.bridge._lock
    assert lock.acquire(timeout=PATIENCE)
    try:
        assert road.flush(0.01) is False
    finally:
        lock.release()
    assert road.flush(PATIENCE) is True


def test_the_senders_own_thread_never_waits(shared_service: LocalMindlytics) -> None:
    road = Road("test", arguments(shared_service), timeout=PATIENCE)
    took: list[float] = []
    done = threading.Event()

    def wait_there() -> None:
        began = time.monotonic()
        road.wait(Future())
        took.append(time.monotonic() - began)
        done.set()

    host.call_soon(wait_there)
    assert done.wait(PATIENCE)
    assert took[0] < PATIENCE / 2
