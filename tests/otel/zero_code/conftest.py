"""Programs under `opentelemetry-instrument`, as a user starts them; each test gets a local service of its own."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import pytest
from support import child

from mlsdk.local import LocalMindlytics

LAUNCHER: Final = Path(sys.executable).parent / "opentelemetry-instrument"
PATIENCE: Final = 90.0
"""Seconds after which a program counts as hanging; the machine may be busy."""
STRICT: Final = {"PYTHONDEVMODE": "1", "PYTHONWARNINGS": "error"} if find_spec("opentelemetry._events") is None else {}
"""As `python -X dev -W error`: a normal life prints nothing. Old versions of OpenTelemetry warn of themselves."""


@dataclass
class Ended:
    """A program that came to its end."""

    code: int
    out: str
    err: str
    seconds: float


@dataclass
class ZeroCode:
    """What a user has set up: the environment, and nothing in the program."""

    service: LocalMindlytics
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """The variables of the README; the service by host name, since names resolve differently at exit.

        A program may take longer than usual to exit: on a busy machine the service may be silent for seconds.
        """
        return {
            "OTEL_TRACES_EXPORTER": "mindlytics",
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_LOGS_EXPORTER": "none",
            "MLSDK_API_KEY": "key",
            "MLSDK_PROJECT_ID": "project",
            "MLSDK_EXIT_TIMEOUT": "40",
            "MLSDK_SERVER_BASE": f"http://localhost:{self.service.port}",
        }

    def program(self, source: str, name: str = "app.py") -> Path:
        """Writes a program."""
        path = self.folder / name
        path.write_text(textwrap.dedent(source), encoding="utf-8")
        return path

    def command(self, *arguments: str | Path) -> list[str]:
        """The command line that a user types."""
        return [str(LAUNCHER), sys.executable, *(str(argument) for argument in arguments)]

    def variables(self, more: Mapping[str, str | None] | None = None) -> dict[str, str]:
        """All variables of the program's process; None leaves one out."""
        merged: dict[str, str | None] = {**self.environment, **(more or {})}
        return child.environment({name: value for name, value in merged.items() if value is not None})

    def run(
        self,
        source: str,
        env: Mapping[str, str | None] | None = None,
        *,
        strict: bool = True,
    ) -> Ended:
        """Runs a program to its end."""
        began = time.monotonic()
        done = subprocess.run(
            self.command(self.program(source)),
            env=self.variables({**(STRICT if strict else {}), **(env or {})}),
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr, time.monotonic() - began)


@pytest.fixture
def service() -> Iterator[LocalMindlytics]:
    with LocalMindlytics() as running:
        yield running


@pytest.fixture
def zero_code(service: LocalMindlytics, tmp_path: Path) -> ZeroCode:
    return ZeroCode(service, tmp_path)


@pytest.fixture
def told(service: LocalMindlytics) -> Callable[[], dict[str, list[str]]]:
    """What the service holds: the names of the events of each session in order, by the id of its device."""

    def look() -> dict[str, list[str]]:
        held: dict[str, list[str]] = {}
        for session_id in service.session_ids:
            events = service.events(session_id)
            device = str(events[0]["device_id"])
            assert device not in held, f"two sessions of {device}"
            held[device] = [str(event.get("event", event["type"])) for event in events]
        return held

    return look
