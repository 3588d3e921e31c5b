"""The fixtures, in test runs of their own as users have them; the programs of docs/testing.md are among these."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Final

import pytest
from support import child

from mlsdk.local import LocalMindlytics
from mlsdk.memory import FakeClock, SyncMemoryClient
from mlsdk.sync import Client
from mlsdk.testing import the_session, transcript

DOCUMENT: Final = Path(__file__).resolve().parents[2] / "docs" / "testing.md"
BLOCKS: Final = re.findall(
    r"^```python title=\"(\w+\.py)\"\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.M | re.S
)

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs pytest on these files, with warnings as errors."""

    def run(**files: str) -> subprocess.CompletedProcess[str]:
        for name, text in files.items():
            (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        flags = ["-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"]
        return subprocess.run(
            [sys.executable, *flags, "."],
            cwd=tmp_path,
            env=child.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    return run


def test_the_document_is_true(run: Run) -> None:
    assert {name for name, _ in BLOCKS} >= {"conftest.py", "shop.py", "test_shop.py", "test_memory.py"}
    assert DOCUMENT.read_text(encoding="utf-8").count("```python") == len(BLOCKS)
    tests = sum(text.count("\ndef test_") for _, text in BLOCKS)
    result = run(**{name.removesuffix(".py"): text for name, text in BLOCKS})
    assert (result.returncode, result.stderr) == (0, ""), result.stdout
    assert f"{tests} passed" in result.stdout


def test_nothing_is_loaded_where_nobody_asks_for_it(run: Run) -> None:
    assert [entry for entry in metadata.entry_points(group="pytest11") if entry.value.startswith("mlsdk")] == []
    source = """
import sys

def test_plain():
    assert not [name for name in sys.modules if name.partition(".")[0] in ("mlsdk", "mlsdk_otel", "aiohttp")]
"""
    result = run(test_plain=source)
    assert result.returncode == 0, result.stdout


def test_a_session_that_a_test_leaves_open_costs_the_end_of_the_process_nothing(run: Run) -> None:
    source = """
from mlsdk.sync import Client

kept = []

def test_forgetful(mindlytics):
    session = Client().create_session(session_id="s", device_id="d")
    session.track_event(event="One")
    kept.append(session)

def test_in_trouble(mindlytics):
    mindlytics.fail_next(503, times=1000)
    session = Client().create_session(session_id="s", device_id="d")
    session.track_event(event="Two")
    kept.append(session)
"""
    result = run(conftest='pytest_plugins = ["mlsdk.testing"]', test_open=source)
    assert (result.returncode, result.stderr) == (0, ""), result.stdout  # nothing was lost, and nothing said


# -- the fixtures in this very run, where tests/conftest.py asks for them ---------------------------------------------


def test_a_client_without_arguments_sends_to_the_service(mindlytics: LocalMindlytics) -> None:
    with Client().create_session(device_id="d") as session:
        session.track_conversation_turn(user="hi", assistant="hello")
    found = the_session(mindlytics)
    assert (found.session_id, found.is_open) == (session.session_id, False)
    assert transcript(found) == transcript(found.conversations[0]) == [("hi", "hello")]


@pytest.fixture
def a_machine_with_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Whatever a developer's shell or a pipeline has for the real service."""
    nowhere = "http://127.0.0.1:9"
    for name in ("HTTP_PROXY", "http_proxy", "MLSDK_PROXY"):
        monkeypatch.setenv(name, nowhere)
    monkeypatch.setenv("NO_PROXY", "example.org")
    monkeypatch.setenv("MLSDK_DISABLED", "true")
    monkeypatch.setenv("MLSDK_SPOOL_DIR", str(tmp_path / "spool"))
    return tmp_path / "spool"


def test_what_the_machine_is_set_to_is_not_in_the_way(
    a_machine_with_settings: Path, mindlytics: LocalMindlytics
) -> None:
    seen = []
    with Client(flush_timeout=10).create_session(device_id="web", on_event=seen.append) as session:
        session.track_event(event="Opened")
    assert [event.event for event in the_session(mindlytics).events] == ["Opened"]
    assert seen[-1].event == "Session Ended"
    assert not a_machine_with_settings.exists()


def test_each_test_has_a_service_of_its_own(mindlytics: LocalMindlytics) -> None:
    with pytest.raises(AssertionError, match="there are 0"):
        the_session(mindlytics)


def test_the_clock_is_that_of_new_clients(mindlytics: LocalMindlytics, mindlytics_clock: FakeClock) -> None:
    with Client().create_session(session_id="s", device_id="d"):
        mindlytics_clock.advance(1.5)
    times = [event["timestamp"] for event in mindlytics.events()]
    assert times == ["2025-01-01T00:00:00.000000Z", "2025-01-01T00:00:01.500000Z"]


def test_more_than_one_session_is_not_one() -> None:
    client = SyncMemoryClient()
    for session_id in ("a", "b"):
        with client.create_session(session_id=session_id, device_id="d"):
            pass
    with pytest.raises(AssertionError, match=r"there are 2: \['a', 'b'\]"):
        the_session(client.delivery)
