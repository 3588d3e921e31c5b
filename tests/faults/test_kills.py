"""Processes that are killed at any moment while they record, on a service in trouble; the last finds what they left."""

from __future__ import annotations

import random
import sys
import threading
import time
from pathlib import Path

import pytest
from support import child, lifecycle
from support.lifecycle import PATIENCE

from mlsdk.local import Fault, LocalMindlytics, RequestInfo

pytestmark = [
    pytest.mark.faults,
    pytest.mark.timeout(300),
    pytest.mark.skipif(sys.platform == "win32", reason="signals"),
]

LIVES = 4
SESSIONS = 3
PROGRAM = """
import sys, time
from mlsdk.sync import Client

client = Client(queue_events=200)
sessions = [client.create_session(session_id=f"{sys.argv[1]}-{number}", device_id="d") for number in range(SESSIONS)]
for session in sessions:
    session.start_session()
turn = 0
while True:
    for session in sessions:
        session.track_conversation_turn(user=str(turn), assistant="answer")
    print(turn, flush=True)
    turn += 1
    time.sleep(0.002)
"""


@pytest.mark.parametrize(("mode", "age"), [("write-ahead", 4.0), ("spill", 6.0)])
def test_each_session_is_whole_up_to_what_was_too_young_and_ends_once(tmp_path: Path, mode: str, age: float) -> None:
    """`age` is generous: a busy machine writes late."""
    dice = random.Random(5)

    def trouble(_request: RequestInfo) -> Fault | None:
        return dice.choice([Fault.answer(503), Fault.answer(500), Fault.reset()]) if dice.random() < 0.3 else None

    with LocalMindlytics() as service:
        service.on_request(trouble)
        env = {**lifecycle.address(service), "MLSDK_SPOOL_DIR": str(tmp_path), "MLSDK_SPOOL_MODE": mode}
        expected = {}
        for life in range(LIVES):
            last = _live(str(life), env, seconds=dice.uniform(0.2, age + 1), age=age)
            expected |= {f"{life}-{number}": last for number in range(SESSIONS)}
        service.close_port()  # what the dead have asked and it has not looked at is not to be answered
        service.on_request(None)
        service.reopen()
        done = child.run("from mlsdk.sync import Client\nClient().flush(60)", env=env, timeout=2 * PATIENCE)
        assert done.returncode == 0
        for session_id, last in expected.items():
            events = service.events(session_id)
            names = lifecycle.names(events)
            texts = [event["properties"]["user"] for event in events if event.get("event") == "Conversation Turn"]
            told = list(dict.fromkeys(texts))  # again only where an answer was lost, with the process or before
            assert told == [str(turn) for turn in range(len(told))]
            assert len(told) > last
            assert (names[0], names[-1], names.count("end_session")) == ("start_session", "end_session", 1)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def _live(name: str, env: dict[str, str], *, seconds: float, age: float) -> int:
    """A life of so many seconds; returns the last turn that must survive it."""
    seen: list[tuple[float, int]] = []
    with child.started(PROGRAM.replace("SESSIONS", str(SESSIONS)), name, env=env) as running:

        def listen() -> None:
            assert running.stdout is not None
            for line in running.stdout:
                seen.append((time.monotonic(), int(line)))  # noqa: PERF401  (it is looked at meanwhile)

        listener = threading.Thread(target=listen)
        listener.start()
        end = time.monotonic() + PATIENCE
        while not seen and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(seconds)
        killed = time.monotonic()
        running.kill()
        running.wait(PATIENCE)
        listener.join(PATIENCE)
    return max((turn for when, turn in seen if when < killed - age), default=-1)
