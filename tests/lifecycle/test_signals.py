"""Signals: what was recorded before one arrives, wherever the program is when it comes."""

from __future__ import annotations

import signal
import time

import pytest
from support import child, lifecycle
from support.lifecycle import PATIENCE, ready, rest_of

from mlsdk.local import Fault, LocalMindlytics

pytestmark = pytest.mark.lifecycle

SYNC = """
import os, signal, sys, threading, time
from mlsdk.sync import Client

client = Client()
session = client.create_session(device_id="d")
"""
# On a busy machine a program records faster than it sends.
ROOMY = SYNC.replace("Client()", "Client(queue_events=1_000_000)")
ASYNC = """
import asyncio, os, signal, sys, threading, time
from mlsdk import Client

async def main():
    asyncio.get_running_loop().slow_callback_duration = 60
    client = Client()
    session = client.create_session(device_id="d")
    for number in range(10):
        await session.track_conversation_turn(user=f"question {number}", assistant="answer")
    print("ready", flush=True)
    WAIT

asyncio.run(main())
"""
RECORD = """
for number in range(10):
    session.track_conversation_turn(user=f"question {number}", assistant="answer")
print("ready", flush=True)
"""
# Not one long sleep: a signal that comes just before it begins would be noticed at its end.
STAY = "while True: time.sleep(0.05)"
STAY_ASYNC = "while True: await asyncio.sleep(0.05)"
EXIT_ON_SIGTERM = "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(4))\n"


@pytest.mark.parametrize(
    ("program", "sent", "code"),
    [
        (SYNC + RECORD + STAY, signal.SIGINT, -signal.SIGINT),
        (EXIT_ON_SIGTERM + SYNC + RECORD + STAY, signal.SIGTERM, 4),
        (ASYNC.replace("WAIT", STAY_ASYNC), signal.SIGINT, -signal.SIGINT),
        (EXIT_ON_SIGTERM + ASYNC.replace("WAIT", STAY_ASYNC), signal.SIGTERM, 4),
    ],
    ids=["sync-SIGINT", "sync-SIGTERM", "async-SIGINT", "async-SIGTERM"],
)
def test_all_is_delivered(service: LocalMindlytics, program: str, sent: signal.Signals, code: int) -> None:
    # Not -X dev: asyncio then reads source files for its own use, and a signal that breaks that off leaves one open.
    with ready(service, program, flags=("-W", "error")) as running:
        running.send_signal(sent)
        _, err = rest_of(running)
    assert running.returncode == code
    assert "lost" not in err
    assert "Warning" not in err
    assert lifecycle.sessions(service) == {"d": lifecycle.whole_session(10)}


@pytest.mark.parametrize(
    "program",
    [
        SYNC + RECORD + "session.flush()",
        SYNC + "with session:" + RECORD.replace("\n", "\n    "),
        ASYNC.replace("WAIT", "await session.flush()"),
        ASYNC.replace("WAIT", "await session.end_session()"),
    ],
    ids=["flush", "leaving", "async flush", "async end_session"],
)
def test_sigint_while_waiting(service: LocalMindlytics, program: str) -> None:
    """The wait ends at once; exit then delivers within its own bounds."""
    service.plan(Fault.hang())
    with ready(service, program) as running:
        service.wait_for(lambda it: it.hanging == 1, timeout=PATIENCE)
        running.send_signal(signal.SIGINT)
        time.sleep(0.2)  # let it begin to exit
        service.release()
        _, err = rest_of(running)
    assert running.returncode == -signal.SIGINT
    assert "lost" not in err
    assert lifecycle.sessions(service) == {"d": lifecycle.whole_session(10)}


def test_sigint_while_exiting_ends_the_wait(service: LocalMindlytics) -> None:
    """Somebody who presses Ctrl-C again wants to be gone; what that costs is said, in one line."""
    service.on_request(lambda _: Fault.hang())
    tells = """
from mlsdk.delivery.host import host

let_work = host._let_work

def tell(seconds):
    print("waiting", flush=True)
    host._let_work = let_work
    let_work(seconds)

host._let_work = tell
"""
    with ready(service, SYNC + tells + RECORD, env={"MLSDK_EXIT_TIMEOUT": "50"}) as running:
        service.wait_for(lambda it: it.hanging >= 1, timeout=PATIENCE)
        assert child.line(running) == "waiting\n"
        running.send_signal(signal.SIGINT)
        _, err = rest_of(running)
    assert err == "mlsdk: 14 events lost: the service did not take them before the process ended\n"


def test_an_exception_in_the_midst_of_recording_loses_nothing(service: LocalMindlytics) -> None:
    """What a signal handler raises strikes anywhere in the SDK's own code; every call that returned counts."""
    program = """
interrupts = done = 0

class Interrupt(Exception):
    pass

def interrupt(*_):
    raise Interrupt

signal.signal(signal.SIGALRM, interrupt)
session.track_event(event="start")
print("ready", flush=True)
while interrupts < 300:
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0005 + interrupts % 97 * 1e-5)
        while True:
            session.track_conversation_turn(user=str(done), assistant="answer")
            done += 1
    except Interrupt:
        interrupts += 1
print(done, flush=True)
"""
    with ready(service, ROOMY + program, flags=()) as running:
        out, _ = rest_of(running)  # on stderr: coroutines that were interrupted before their first step
    assert running.returncode == 0
    # The number of an interrupted call may be there twice: it was recorded, and not counted.
    arrived = sorted(set(map(int, lifecycle.texts(service))))
    assert arrived in ([*range(int(out))], [*range(int(out) + 1)])
    assert lifecycle.names(service.events())[-2:] == ["Conversation Ended", "end_session"]


@pytest.mark.parametrize("way", ["session.flush()", "client.flush()", "client.stats()"])
def test_a_handler_that_records_and_waits(service: LocalMindlytics, way: str) -> None:
    """It may interrupt the SDK itself: nothing that it waits for may be in the hands of what it interrupted."""
    program = f"""
seen = []

def handle(*_):
    began = time.monotonic()
    other = client.create_session(device_id=f"handler {{len(seen)}}")
    other.track_conversation_turn(user="in the handler", assistant="answer")
    {way}
    other.end_session()
    seen.append(time.monotonic() - began)

signal.signal(signal.SIGALRM, handle)
print("ready", flush=True)
while len(seen) < 20:
    if not signal.getitimer(signal.ITIMER_REAL)[0]:
        signal.setitimer(signal.ITIMER_REAL, 0.002)
    for number in range(100):
        session.track_conversation_turn(user="outside", assistant="answer")
print(max(seen), client.stats()["dropped"], flush=True)
"""
    with ready(service, ROOMY + program) as running:
        out, err = rest_of(running)
    assert (running.returncode, err) == (0, "")
    longest, _, dropped = out.partition(" ")
    assert float(longest) < 20
    assert dropped == "{}\n"
    held = lifecycle.sessions(service)
    assert [held[f"handler {number}"] for number in range(20)] == [lifecycle.whole_session(1)] * 20
