"""Programs that record and end, and what must have reached the service when they are gone."""

from __future__ import annotations

import subprocess
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mlsdk.local import LocalMindlytics
from support import child

STRICT: Final = ("-X", "dev", "-W", "error")
"""Interpreter flags with which a normal life prints nothing at all."""
PATIENCE: Final = 50.0
"""Seconds after which a program counts as hanging; the machine may be busy."""

USUAL: Final = {"MLSDK_EXIT_TIMEOUT": "10"}
"""For programs that have the default budget at their end: two seconds without an answer, ten in all."""


def dedent(source: str) -> str:
    """Indented source text that is to follow other text which is not."""
    return "\n" + textwrap.dedent(source).strip("\n") + "\n"


def address(service: LocalMindlytics) -> dict[str, str]:
    """The variables that lead a program to the service, by host name: names resolve differently at exit.

    At their end programs may take longer than usual, because a busy machine may: see `USUAL`.
    """
    name = f"localhost:{service.port}"
    found = {"MLSDK_SERVER_BASE": f"http://{name}", "MLSDK_WSS_BASE": f"ws://{name}"}
    return {**service.environment, **found, "MLSDK_EXIT_TIMEOUT": "40"}


@dataclass
class Ended:
    """A program that came to its end."""

    code: int
    out: str
    err: str
    seconds: float


def run(
    service: LocalMindlytics,
    program: str | Path,
    *arguments: str,
    flags: Sequence[str] = STRICT,
    env: Mapping[str, str] | None = None,
) -> Ended:
    """Runs a program that finds the service in its environment; `seconds` is how long all of it took."""
    began = time.monotonic()
    done = child.run(program, *arguments, flags=flags, env={**address(service), **(env or {})}, timeout=PATIENCE)
    return Ended(done.returncode, done.stdout, done.stderr, time.monotonic() - began)


@contextmanager
def ready(
    service: LocalMindlytics, program: str, *, flags: Sequence[str] = STRICT, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A program that has printed that it is ready for what is to be done to it."""
    with child.started(program, flags=flags, env={**address(service), **(env or {})}) as running:
        line = child.line(running)
        if line != "ready\n":
            raise AssertionError(line + rest_of(running)[1])
        yield running


def rest_of(running: subprocess.Popen[str]) -> tuple[str, str]:
    """What a program still writes, on its two streams, until its end."""
    return running.communicate(timeout=PATIENCE)


def names(events: Sequence[Mapping[str, Any]]) -> list[str]:
    """What kind of event each is: its own name, else its type."""
    return [event.get("event", event["type"]) for event in events]


def whole_session(turns: int) -> list[str]:
    """The events of one session with one conversation of so many turns, in order."""
    inner = ["Conversation Turn"] * turns
    return ["start_session", "Conversation Started", *inner, "Conversation Ended", "end_session"]


def sessions(service: LocalMindlytics) -> dict[str, list[str]]:
    """What the service holds: the names of the events of each session, by the id of its device."""
    held = {}
    for session_id in service.session_ids:
        events = service.events(session_id)
        held[events[0]["device_id"]] = names(events)
    return held


def texts(service: LocalMindlytics) -> list[str]:
    """What the users said, in order of arrival."""
    return [event["properties"]["user"] for event in service.events() if event.get("event") == "Conversation Turn"]
