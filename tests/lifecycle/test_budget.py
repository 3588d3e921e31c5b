"""What the end of a process costs when the service does not take what is left, and that the loss is counted."""

from __future__ import annotations

import socket

import pytest
from support import lifecycle

from mlsdk.local import Fault, LocalMindlytics

pytestmark = pytest.mark.lifecycle

RECORD = """
from mlsdk.sync import Client

client = Client()
session = client.create_session(device_id="d")
for number in range(10):
    session.track_conversation_turn(user=f"question {number}", assistant="answer")
"""
LOST = "mlsdk: 14 events lost: the service did not take them before the process ended\n"
START = 5.0
"""Seconds that an interpreter may take to start and to load everything, on a busy machine."""


@pytest.mark.timed
def test_a_service_that_never_answers_costs_two_seconds(service: LocalMindlytics) -> None:
    service.on_request(lambda _: Fault.hang())
    ended = lifecycle.run(service, RECORD, env=lifecycle.USUAL)
    assert (ended.code, ended.err) == (0, LOST)
    assert 2.0 <= ended.seconds < 2.0 + 1.0 + START
    service.release()


@pytest.mark.timed
def test_so_does_one_that_cannot_be_reached(service: LocalMindlytics) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = {"MLSDK_SERVER_BASE": f"http://localhost:{closed.getsockname()[1]}"}
        ended = lifecycle.run(service, RECORD, env={**lifecycle.USUAL, **nobody})
    assert ended.code == 0
    *log, last = ended.err.splitlines(keepends=True)
    assert last == LOST
    assert len(log) == 1  # the outage
    assert ended.seconds < 2.0 + 1.0 + START


@pytest.mark.timed
def test_the_budget_can_be_set(service: LocalMindlytics) -> None:
    service.on_request(lambda _: Fault.hang())
    ended = lifecycle.run(service, RECORD, env={"MLSDK_EXIT_TIMEOUT": "0.2"})
    assert (ended.code, ended.err) == (0, LOST)
    assert ended.seconds < 0.2 + 1.0 + START
    service.release()


def test_a_service_that_answers_slowly_is_waited_for(service: LocalMindlytics) -> None:
    """It may take the whole budget as long as it answers within a fifth of that each time."""
    service.on_request(lambda request: Fault.slow(delay=1.2) if request.path.startswith("/bc/v1/events") else None)
    program = RECORD.replace('device_id="d"', 'session_id="s", device_id="d"').replace(
        "for number", "session.start_session()\nsession.flush()\nfor number"
    )
    ended = lifecycle.run(service, program)
    assert (ended.code, ended.err) == (0, "")
    assert lifecycle.sessions(service) == {"d": lifecycle.whole_session(10)}


@pytest.mark.timed
def test_a_key_that_is_refused_costs_nothing(service: LocalMindlytics) -> None:
    ended = lifecycle.run(service, RECORD, env={"MLSDK_API_KEY": "bad_key"})
    assert ended.code == 0
    assert ended.err.endswith(LOST)
    assert "bad_key" not in ended.err
    assert ended.seconds < 1.0 + START
