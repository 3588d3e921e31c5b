"""The program that imports history, run as a user runs it; the dataset is not needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support import child

from mlsdk.local import LocalMindlytics


@pytest.fixture
def file(tmp_path: Path, data: dict[str, Any]) -> Path:
    path = tmp_path / "history.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def test_into_a_local_service_of_its_own(examples: Path, file: Path) -> None:
    # A proxy would know nothing of this machine's services.
    proxy = {"HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    result = child.run(examples / "import_history.py", "--local", "--file", str(file), env=proxy)
    assert result.returncode == 0, result.stderr
    assert "3 conversations with 5 turns, from 2018-05-02 to 2018-05-02" in result.stdout
    assert "accepted 17, recovered 0, delivered 17, queued 0" in result.stdout
    assert "5 of 5 turns are there" in result.stdout


def test_into_the_service_that_the_environment_names(examples: Path, file: Path, service: LocalMindlytics) -> None:
    command = [examples / "import_history.py", "--file", str(file), "--conversations", "2"]
    first = child.run(*command, env=service.environment)
    assert first.returncode == 0, first.stderr
    assert service.session_ids == ["chitchat-whole", "chitchat-unanswered"]
    # Once more: everything is there twice, and that is not what was sent.
    second = child.run(*command, env=service.environment)
    assert second.returncode == 1
    assert "4 turns were sent, the service has 8" in second.stderr
    assert "chitchat-whole.conversations[0].turns: has 4 items, not 2" in second.stderr


def test_what_the_service_refuses_fails_the_import(examples: Path, file: Path, service: LocalMindlytics) -> None:
    service.fail_next(400, body="no", times=1000)
    result = child.run(examples / "import_history.py", "--no-verify", "--file", str(file), env=service.environment)
    assert result.returncode == 1
    assert "not everything was delivered" in result.stderr
    assert "dropped 17 refused" in result.stderr
    assert "17 times 400: no" in result.stderr


def test_an_outage_that_passes_does_no_harm(examples: Path, file: Path, service: LocalMindlytics) -> None:
    service.fail_next(503, headers={"Retry-After": "0"}, times=3)
    result = child.run(examples / "import_history.py", "--file", str(file), env=service.environment)
    assert result.returncode == 0, result.stderr
    assert "5 of 5 turns are there" in result.stdout


def test_without_an_account_it_says_what_is_missing(examples: Path, file: Path) -> None:
    result = child.run(examples / "import_history.py", "--file", str(file))
    assert (result.returncode, result.stdout) == (1, "")
    assert "MLSDK_API_KEY" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_service_without_a_view_is_told_before_the_import(
    examples: Path, file: Path, service: LocalMindlytics
) -> None:
    service.fail_next(404, path="/local/")
    result = child.run(examples / "import_history.py", "--file", str(file), env=service.environment)
    assert result.returncode == 1
    assert "does not show what it holds" in result.stderr
    assert service.received == 0
