"""Files into the local Mindlytics, by the command."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support import child

from mlsdk.importing.__main__ import main
from mlsdk.local import LocalMindlytics
from mlsdk.testing import transcript


def row(number: int, conversation: str = "c", **changes: Any) -> dict[str, Any]:
    when = f"2025-01-01T00:{number // 60:02d}:{number % 60:02d}Z"
    ids = {"session_id": "s", "conversation_id": conversation, "user_id": "ann"}
    return {**ids, "timestamp": when, "user": f"u{number}", "assistant": f"a{number}", **changes}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "history.jsonl"
    rows = [row(number, "c" if number % 2 else "d") for number in range(250)]
    path.write_text("\n".join(map(json.dumps, reversed(rows))), encoding="utf-8")
    return path


def test_conversations_arrive_with_their_times(
    mindlytics: LocalMindlytics, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(file)]) == 0
    session = mindlytics.session("s")
    assert (session.started_at, session.ended_at) == ("2025-01-01T00:00:00.000000Z", "2025-01-01T00:04:09.000000Z")
    assert transcript(session.conversation("c")) == [(f"u{n}", f"a{n}") for n in range(1, 250, 2)]
    assert session.conversation("d").ended_at == "2025-01-01T00:04:08.000000Z"
    told = capsys.readouterr()
    assert told.out == "turns: 250, sessions: 1\n256 of 256 events were delivered\n"
    assert told.err.splitlines()[-1] == "250 of 250 turns"


def test_a_dry_run_sends_nothing(mindlytics: LocalMindlytics, file: Path) -> None:
    assert main([str(file), "--dry-run"]) == 0
    assert mindlytics.received == 0


def test_one_wrong_line_and_nothing_is_imported(
    mindlytics: LocalMindlytics, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text("\n".join([json.dumps(row(1)), json.dumps(row(2, user=None))]), encoding="utf-8")
    assert main([str(file)]) == 1
    assert "line 2: user: is missing" in capsys.readouterr().err
    assert mindlytics.received == 0


def test_csv(mindlytics: LocalMindlytics, tmp_path: Path) -> None:
    file = tmp_path / "history.csv"
    file.write_text(
        "conversation_id,device_id,timestamp,user,assistant,shop\nc,web,2025-01-01T00:00:00Z,hi,hello,one\n",
        encoding="utf-8",
    )
    assert main([str(file)]) == 0
    ((session_id,), first) = mindlytics.session_ids, mindlytics.events()
    assert mindlytics.session(session_id).turns[0].properties == {"shop": "one"}
    mindlytics.clear()
    assert main([str(file)]) == 0
    assert mindlytics.events() == first


def test_what_is_refused_fails_the_import(mindlytics: LocalMindlytics, file: Path) -> None:
    file.write_text(json.dumps(row(1)), encoding="utf-8")
    mindlytics.fail_next(400, body="no", times=100)
    assert main([str(file)]) == 1


def test_where_the_sdk_is_disabled_nothing_is_imported_and_that_is_said(
    mindlytics: LocalMindlytics, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLSDK_DISABLED", "true")
    assert main([str(file)]) == 1
    assert "MLSDK_DISABLED" in capsys.readouterr().err


PROGRAM = """
    import sys

    from mlsdk.importing.__main__ import main

    sys.exit(main(sys.argv[1:]))
    """


def interrupted(process: subprocess.Popen[str]) -> tuple[str, str]:
    """What a process says that is interrupted; again where the signal came just before it began to wait."""
    process.send_signal(signal.SIGINT)
    try:
        return process.communicate(timeout=15)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGINT)
        return process.communicate(timeout=15)


def test_an_interrupted_import_says_how_far_it_came(file: Path) -> None:
    with socket.socket() as nobody:  # bound and not listening: every connection is refused
        nobody.bind(("127.0.0.1", 0))
        env = {
            "MLSDK_API_KEY": "any",
            "MLSDK_PROJECT_ID": "shop",
            "MLSDK_SERVER_BASE": f"http://127.0.0.1:{nobody.getsockname()[1]}",
            "MLSDK_EXIT_TIMEOUT": "0.1",
        }
        with child.started(PROGRAM, str(file), env=env) as importing:
            assert importing.stderr is not None
            assert "cannot be reached" in importing.stderr.readline()
            told, complaints = interrupted(importing)
    assert importing.returncode == 130
    assert "interrupted: 0 of " in told
    assert "lost" in complaints
    assert "Traceback" not in complaints
