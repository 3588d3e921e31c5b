"""What delays the end of a process, besides silence (see test_budget.py), and what does not."""

from __future__ import annotations

import time

import pytest
from support import lifecycle
from support.lifecycle import ready, rest_of

from mlsdk.local import Fault, LocalMindlytics

pytestmark = pytest.mark.lifecycle

RECORD = """
import os, sys, time
from mlsdk.sync import Client

client = Client()
session = client.create_session(device_id="d")
for number in range(10):
    session.track_conversation_turn(user=f"question {number}", assistant="answer")
"""
LOST = "mlsdk: 14 events lost: the service did not take them before the process ended\n"
BUSY = 4.0
"""Seconds by which a busy machine may be late."""


def exit_seconds(service: LocalMindlytics, program: str, **env: str) -> tuple[float, str, int]:
    """How long the process took from its last line of code to its end, what it said, and its exit code."""
    # By the program's own look at the clock, which is the system's: who reads it late must not find it short.
    last = "\nimport time\nprint('ready', time.monotonic(), sep='\\n', flush=True)\n"
    with ready(service, program + last, env=env) as running:
        began, err = rest_of(running)
        return time.monotonic() - float(began), err, running.returncode


@pytest.mark.timed
def test_a_name_server_that_does_not_answer_is_silence(service: LocalMindlytics) -> None:
    """Looking up blocks its thread for as long as it likes; nobody joins that thread."""
    program = "import socket, time\nsocket.getaddrinfo = lambda *_: time.sleep(60)\n" + RECORD
    seconds, err, code = exit_seconds(service, program, **lifecycle.USUAL)
    assert (err, code) == (LOST, 0)
    assert seconds < 3 + BUSY


@pytest.mark.timed
def test_the_budget_bounds_a_service_that_answers_slowly(service: LocalMindlytics) -> None:
    service.on_request(lambda _: Fault.answer(503, delay=0.3))
    seconds, err, _ = exit_seconds(service, RECORD, MLSDK_EXIT_TIMEOUT="3.5")
    assert err.endswith(LOST)
    assert 3 < seconds < 4.5 + BUSY


@pytest.mark.timed
def test_a_wait_that_the_service_asks_for_and_that_is_too_long_is_not_begun(service: LocalMindlytics) -> None:
    service.on_request(lambda _: Fault.answer(429, headers={"Retry-After": "30"}))
    seconds, err, _ = exit_seconds(service, RECORD, **lifecycle.USUAL)
    assert err.endswith(LOST)
    assert seconds < 3 + BUSY


def test_a_wait_that_the_service_asks_for_and_that_is_short_is_kept(service: LocalMindlytics) -> None:
    service.fail_next(429, headers={"Retry-After": "3"})
    _, err, _ = exit_seconds(service, RECORD)
    assert "lost" not in err
    assert lifecycle.sessions(service) == {"d": lifecycle.whole_session(10)}


def test_sigterm_without_a_handler_ends_the_process_at_once(service: LocalMindlytics) -> None:
    """Nothing of ours catches it: what is under way then is lost, as documented."""
    program = "import signal, time\n" + RECORD + "print('ready', flush=True)\nwhile True: time.sleep(0.05)\n"
    service.on_request(lambda _: Fault.hang())
    with ready(service, program) as running:
        running.terminate()
        assert rest_of(running)[1] == ""
    assert running.returncode == -15


@pytest.mark.timed
def test_a_client_costs_an_idle_process_no_time_at_its_end(service: LocalMindlytics) -> None:
    def shortest(client: str) -> float:
        program = f"import mlsdk.delivery.pipeline, mlsdk.live.listener\nfrom mlsdk.sync import Client\n{client}\n"
        return min(exit_seconds(service, program)[0] for _ in range(3))

    without = shortest("")
    idle = shortest("client = Client()")
    used = shortest(RECORD + "session.end_session()")
    # Whatever is waited for at the end of a process is waited for by the second.
    assert idle - without < 1
    assert used - without < 1
