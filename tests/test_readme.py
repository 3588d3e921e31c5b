"""The README is true: its programs run as they stand, its tables are those of the code, its promises hold."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from support import child

from mlsdk.local import LocalMindlytics

ROOT: Final = Path(__file__).resolve().parents[1]
README: Final = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS: Final = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
PROGRAMS: Final = [text for language, text in BLOCKS if language == "python"]
COMMANDS: Final = [text for language, text in BLOCKS if language == "bash"]

TURN: Final = {"user": "Where is order 4711?", "assistant": "It left our store this morning."}
USAGE: Final = {"model": "gpt-4o", "prompt_tokens": 12, "completion_tokens": 9}
NAMES: Final = ["start_session", "Conversation Started", "Conversation Turn", "Conversation Ended", "end_session"]


@pytest.fixture
def service() -> Iterator[LocalMindlytics]:
    with LocalMindlytics() as running:
        yield running


def variables(service: LocalMindlytics) -> dict[str, str]:
    """Those of the README's first command, with the port that the test's own service has."""
    found = dict(word.split("=", 1) for line in COMMANDS[0].splitlines() for word in line.split()[1:])
    assert found.keys() == {"MLSDK_API_KEY", "MLSDK_PROJECT_ID", "MLSDK_SERVER_BASE"}
    assert found["MLSDK_SERVER_BASE"] == "http://localhost:3000"
    return {**found, "MLSDK_SERVER_BASE": f"http://localhost:{service.port}"}


def held(service: LocalMindlytics) -> dict[str, object]:
    """The one session that the service holds: who, the events, what the turn is."""
    (session_id,) = service.session_ids
    events = service.events(session_id)
    assert [event.get("event", event["type"]) for event in events] == NAMES
    (turn,) = [event["properties"] for event in events if event.get("event") == "Conversation Turn"]
    return {"who": events[0].get("id") or events[0].get("device_id"), "turn": turn}


def test_there_is_a_program_for_each_way_of_use() -> None:
    # The last one, with a framework, runs where that is installed: tests/frameworks/test_documents.py.
    assert (len(PROGRAMS), len(COMMANDS)) == (3, 2)


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (0, {"who": "laptop-7", "turn": {**TURN, **USAGE}}),
        (1, {"who": "laptop-7", "turn": TURN}),
        (2, {"who": "ann", "turn": {**TURN, "model": "gpt-4o"}}),
    ],
    ids=["async", "sync", "spans"],
)
def test_a_program(service: LocalMindlytics, tmp_path: Path, number: int, expected: dict[str, object]) -> None:
    program = tmp_path / "app.py"
    program.write_text(PROGRAMS[number], encoding="utf-8")
    result = child.run(program, flags=["-W", "error"], env=variables(service))
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert held(service) == expected


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell")
@pytest.mark.parametrize("number", [0, 1], ids=["async", "sync"])
def test_no_code_is_changed(service: LocalMindlytics, tmp_path: Path, number: int) -> None:
    (tmp_path / "app.py").write_text(PROGRAMS[number], encoding="utf-8")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    result = subprocess.run(
        ["bash", "-euc", COMMANDS[1]],
        cwd=tmp_path,
        env=child.environment({**variables(service), "PATH": path}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert held(service)["who"] == "laptop-7"


def test_a_mindlytics_on_this_machine() -> None:
    assert "`python -m mlsdk.local`" in README
    help_text = subprocess.run(
        [sys.executable, "-m", "mlsdk.local", "--help"], capture_output=True, text=True, check=True, cwd=sys.prefix
    ).stdout
    assert "default: 3000" in help_text  # the port of MLSDK_SERVER_BASE above


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)]+)\)", README)
    assert [link for link in links if not (ROOT / link).is_file()] == []


# -- promises that have no test elsewhere -----------------------------------------------------------------------------

KILLED: Final = """
from mlsdk.sync import Client

session = Client().create_session(device_id="laptop-7")
session.track_conversation_turn(user="hi", assistant="hello")
print("recorded", flush=True)
while True:
    time.sleep(0.05)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM"])
def test_what_was_not_sent_is_lost_with_a_killed_process(service: LocalMindlytics, name: str) -> None:
    number = signal.Signals[name]
    service.fail_next(503, times=10_000)
    with child.started(f"import time\n{KILLED}", env=variables(service)) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "recorded\n"
        running.send_signal(number)
        assert running.wait(30) == -number
    assert service.session_ids == []
