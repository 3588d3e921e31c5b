"""The spool between processes: killed, forked, many at a time, on a disk that is full."""

from __future__ import annotations

import signal
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest
from support import child, lifecycle
from support.lifecycle import PATIENCE, ready, rest_of, run

from mlsdk.local import Fault, LocalMindlytics

pytestmark = [pytest.mark.lifecycle, pytest.mark.skipif(sys.platform == "win32", reason="signals and forks")]

RECORD = """
import os, sys, time
from mlsdk.sync import Client

client = Client()
session = client.create_session(device_id=os.environ.get("WHO", "d"))
for number in range(10):
    session.track_conversation_turn(user=f"question {number}", assistant="answer")
"""
WRITTEN = """
def is_written():
    for folder, _, names in os.walk(os.environ["MLSDK_SPOOL_DIR"]):
        for name in names:
            if name.endswith(".events"):
                with open(os.path.join(folder, name), "rb") as file:
                    if b"question 9" in file.read():
                        return True
    return False

while not is_written():
    time.sleep(0.01)
"""
STAY = """
print("ready", flush=True)
while True:
    time.sleep(0.05)
"""
NEXT = "from mlsdk.sync import Client\nClient().flush(30)\n"


def spool(folder: Path, **more: str) -> dict[str, str]:
    return {"MLSDK_SPOOL_DIR": str(folder / "spool"), **more}


def busy(service: LocalMindlytics) -> None:
    service.on_request(lambda _: Fault.answer(503))


def relent(service: LocalMindlytics) -> None:
    """From now on it takes events, but not those of a request that it has not looked at, of a process that is gone."""
    service.close_port()
    service.on_request(None)
    service.reopen()


def left(folder: Path) -> list[Path]:
    return [path for path in (folder / "spool").rglob("*") if path.is_file()]


def test_what_exit_could_not_deliver_is_not_lost_and_nothing_is_said(service: LocalMindlytics, tmp_path: Path) -> None:
    busy(service)
    ended = run(service, RECORD, env=spool(tmp_path, MLSDK_EXIT_TIMEOUT="0.3"))
    assert (ended.code, "lost" in ended.err) == (0, False)
    assert service.events() == []
    relent(service)
    ended = run(service, NEXT, env=spool(tmp_path))
    assert (ended.code, ended.err) == (0, "")
    assert lifecycle.sessions(service) == {"d": lifecycle.whole_session(10)}
    assert left(tmp_path) == []


@pytest.mark.parametrize(
    ("mode", "number"), [("write-ahead", "SIGKILL"), ("write-ahead", "SIGTERM"), ("spill", "SIGKILL")]
)
def test_a_killed_process_is_survived_by_its_events_and_the_next_ends_its_session(
    service: LocalMindlytics, tmp_path: Path, mode: str, number: str
) -> None:
    busy(service)
    with ready(service, RECORD + WRITTEN + STAY, env=spool(tmp_path, MLSDK_SPOOL_MODE=mode)) as running:
        running.send_signal(signal.Signals[number])
        running.wait(PATIENCE)
    relent(service)
    run(service, NEXT, env=spool(tmp_path))
    assert lifecycle.sessions(service) == {"d": lifecycle.whole_session(10)}
    ends = [event for event in service.events() if lifecycle.names([event])[0] in ("Conversation Ended", "end_session")]
    last = [event for event in service.events() if lifecycle.names([event])[0] == "Conversation Turn"][-1]
    assert {event["timestamp"] for event in ends} == {last["timestamp"]}


def test_many_processes_share_a_folder_and_each_event_comes_once(service: LocalMindlytics, tmp_path: Path) -> None:
    busy(service)
    with ExitStack() as stack:
        running = [
            stack.enter_context(
                ready(
                    service,
                    RECORD + WRITTEN + STAY,
                    env=spool(tmp_path, MLSDK_SPOOL_MODE="write-ahead", WHO=f"process {number}"),
                )
            )
            for number in range(4)
        ]
        for each in running:
            each.kill()
            each.wait(PATIENCE)
    relent(service)
    with ExitStack() as stack:
        # One line is what they wait for, so that they begin at the same time.
        begin = "import sys\nprint('ready', flush=True)\nsys.stdin.readline()\n" + NEXT
        heirs = [stack.enter_context(ready(service, begin, env=spool(tmp_path))) for _ in range(3)]
        for heir in heirs:
            assert heir.stdin is not None
            heir.stdin.write("\n")
            heir.stdin.flush()
        for heir in heirs:
            assert rest_of(heir)[1] == ""
            assert heir.returncode == 0
    assert lifecycle.sessions(service) == {f"process {number}": lifecycle.whole_session(10) for number in range(4)}
    assert set(Counter(map(str, service.events())).values()) == {1}


def test_a_forked_child_leaves_its_parents_folder_alone(service: LocalMindlytics, tmp_path: Path) -> None:
    """The child records and ends while its parent has a full spool; then the parent is killed."""
    busy(service)
    program = (
        RECORD
        + WRITTEN
        + """
if os.fork() == 0:
    own = client.create_session(device_id="child")
    own.track_conversation_turn(user="from the child", assistant="answer")
    own.end_session()
    sys.exit(0)
assert os.wait()[1] == 0
"""
        + STAY
    )
    env = spool(tmp_path, MLSDK_SPOOL_MODE="write-ahead", MLSDK_EXIT_TIMEOUT="0.5")
    program = program.replace("Client()", "Client(flush_timeout=1)")
    with ready(service, program, flags=("-W", "error", "-W", "ignore:This process"), env=env) as running:
        assert service.events() == []
        running.kill()
        running.wait(PATIENCE)
    relent(service)
    run(service, NEXT, env=spool(tmp_path))
    assert lifecycle.sessions(service) == {"d": lifecycle.whole_session(10), "child": lifecycle.whole_session(1)}
    assert left(tmp_path) == []


def test_a_child_that_lives_on_does_not_keep_the_dead_parents_events(service: LocalMindlytics, tmp_path: Path) -> None:
    busy(service)
    program = (
        RECORD
        + WRITTEN
        + """
if os.fork() == 0:
    import signal
    signal.alarm(50)
    print("ready", flush=True)
    print(os.getpid(), flush=True)
    signal.pause()
time.sleep(60)
"""
    )
    env = spool(tmp_path, MLSDK_SPOOL_MODE="write-ahead")
    with ready(service, program, flags=("-W", "ignore:This process"), env=env) as running:
        pid = int(child.line(running))
        try:
            running.kill()
            running.wait(PATIENCE)
            relent(service)
            run(service, NEXT, env=spool(tmp_path))
            assert lifecycle.sessions(service) == {"d": lifecycle.whole_session(10)}
        finally:
            import os

            os.kill(pid, signal.SIGKILL)


def test_a_full_disk_costs_one_line_and_no_event(service: LocalMindlytics, tmp_path: Path) -> None:
    program = (
        """
import logging, resource
logging.basicConfig(level=logging.WARNING)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
"""
        + RECORD
        + "for _ in range(5):\n    session.track_event(event='more')\n    time.sleep(0.2)\n"
        + "session.end_session()\n"
    )
    ended = run(service, program, env=spool(tmp_path, MLSDK_SPOOL_MODE="write-ahead"))
    assert ended.code == 0
    assert ended.err.count("\n") == 1
    assert "the spool cannot be written (File too large); events are kept in memory alone" in ended.err
    held = lifecycle.sessions(service)["d"]
    assert (held[0], held[-1], len(held)) == ("start_session", "end_session", 19)


def test_spans_that_could_not_be_delivered_are_by_the_next_process(service: LocalMindlytics, tmp_path: Path) -> None:
    program = """
import mlsdk_otel
from mlsdk.sync import Client
handle = mlsdk_otel.configure(spool_dir=DIRECTORY)
session = Client().create_session(device_id="d")
for number in range(3):
    session.track_conversation_turn(user=f"question {number}", assistant="answer")
session.end_session()
""".replace("DIRECTORY", repr(str(tmp_path / "spool")))
    busy(service)
    ended = run(
        service,
        program.replace("Client()", "Client(flush_timeout=1)"),
        flags=(),
        env={"MLSDK_EXIT_TIMEOUT": "0.5"},
    )
    assert (ended.code, "lost" in ended.err) == (0, False)
    relent(service)
    run(service, NEXT, env=spool(tmp_path))
    assert lifecycle.sessions(service) == {"d": lifecycle.whole_session(3)}
