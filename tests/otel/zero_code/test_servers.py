"""Zero code under real servers with two workers: what requests record arrives, the last before a graceful stop too."""

from __future__ import annotations

import http.client
import inspect
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import metadata
from typing import IO, Any, Final

import pytest
from packaging.version import Version

pytestmark = [
    pytest.mark.timeout(180),
    pytest.mark.skipif(sys.platform == "win32", reason="no fork, no gunicorn, no signals"),
]

Told = Callable[[], dict[str, list[str]]]

TURN: Final = ["start_session", "Conversation Started", "Conversation Turn"]
WHOLE: Final = [*TURN, "Conversation Ended", "end_session"]

SPANS: Final = """
import os
from opentelemetry import trace

def by_hand(name):
    tracer = trace.get_tracer("app")
    ids = {"session.id": f"hand-{name}", "mindlytics.device.id": f"hand-{name}"}
    with tracer.start_as_current_span("mindlytics.session", attributes=ids):
        with tracer.start_as_current_span(
            "mindlytics.conversation", attributes={**ids, "gen_ai.conversation.id": f"talk-{name}"}
        ) as span:
            span.add_event("mindlytics.turn", {"mindlytics.turn.user": "hi", "mindlytics.turn.assistant": "hello"})
"""
WSGI: Final = f"""{SPANS}
import time
from mlsdk.sync import Client

client = Client()  # before the fork, where the server loads the application first
still_open = []

def app(environ, start_response):
    name = environ["PATH_INFO"][1:]
    if name != "hello":
        by_hand(name)
        session = client.create_session(device_id=f"open-{{name}}")
        session.track_conversation_turn(user="hi", assistant="hello")
        still_open.append(session)
        with client.create_session(device_id=f"left-{{name}}") as session:
            session.track_conversation_turn(user="hi", assistant="hello")
    else:
        time.sleep(0.01)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]
"""
ASGI: Final = f"""{SPANS}
import asyncio
from mlsdk import Client

client = Client()
still_open = []

async def app(scope, receive, send):
    assert scope["type"] == "http"
    name = scope["path"][1:]
    if name != "hello":
        by_hand(name)
        session = client.create_session(device_id=f"open-{{name}}")
        await session.track_conversation_turn(user="hi", assistant="hello")
        still_open.append(session)
        async with client.create_session(device_id=f"left-{{name}}") as session:
            await session.track_conversation_turn(user="hi", assistant="hello")
    else:
        await asyncio.sleep(0.01)
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    await send({{"type": "http.response.body", "body": str(os.getpid()).encode()}})
"""
SERVERS: Final = {
    "gunicorn": (
        WSGI,
        ["-m", "gunicorn", "--preload", "--workers=2", "--bind=fd://{fd}", "--log-level=warning", "--timeout=120"],
    ),
    "uvicorn": (
        ASGI,
        ["-m", "uvicorn", "--workers=2", "--fd={fd}", "--log-level=warning", "--lifespan=off", "--no-access-log"],
    ),
}
ROADS: Final[dict[str, dict[str, str]]] = {
    "direct": {},
    "exporter": {"MLSDK_OTEL_DELIVERY": "otel"},
    "processor": {"MLSDK_OTEL_DELIVERY": "otel", "MLSDK_OTEL_PROCESSOR": "true"},
}


def get(port: int, name: str) -> str:
    """Asks the server, which may still be starting: the socket is there, and waits."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", f"/{name}")
        answer = connection.getresponse()
        text = answer.read().decode()
        assert answer.status == 200, text
        return text
    finally:
        connection.close()


def patience_with_workers() -> list[str]:
    """Uvicorn kills a worker that is silent for 5 s, which one may be that only starts on a busy machine."""
    from uvicorn import Config

    has_option = "timeout_worker_healthcheck" in inspect.signature(Config).parameters
    return ["--timeout-worker-healthcheck=120"] if has_option else []


@contextmanager
def serving(
    zero_code: Any, server: str, env: dict[str, str], log: IO[str]
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server on a socket that is made here, so that nobody can take its port in between."""
    source, arguments = SERVERS[server]
    if server == "uvicorn":
        arguments = [*arguments, *patience_with_workers()]
    zero_code.program(source, "served.py")
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        fd = listening.fileno()
        with subprocess.Popen(
            zero_code.command(*(argument.format(fd=fd) for argument in arguments), "served:app"),
            env=zero_code.variables(env),
            cwd=zero_code.folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            text=True,
            pass_fds=[fd],
            start_new_session=True,
        ) as process:
            try:
                yield process, listening.getsockname()[1]
            finally:
                process.kill()


def both_workers(pool: ThreadPoolExecutor, port: int) -> set[str]:
    """Asks until two workers have answered."""
    workers: set[str] = set()
    end = time.monotonic() + 60
    while len(workers) < 2:
        assert time.monotonic() < end, "only one worker ever answers"
        workers |= set(pool.map(lambda _: get(port, "hello"), range(8)))
    return workers


@pytest.mark.parametrize(
    "road", [pytest.param(road, marks=() if road == "processor" else pytest.mark.lifecycle) for road in ROADS]
)
@pytest.mark.parametrize("server", SERVERS)
def test_two_workers_lose_nothing(zero_code: Any, told: Told, server: str, road: str) -> None:
    pytest.importorskip(server)
    if server == "uvicorn" and Version(metadata.version("opentelemetry-instrumentation")) < Version("0.63b0"):
        pytest.skip("before 0.63b0, `opentelemetry-instrument` leaves alone the processes that a program starts")
    names = [f"early-{number}" for number in range(12)]
    last = [f"last-{number}" for number in range(6)]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as log, ThreadPoolExecutor(4) as pool:
        with serving(zero_code, server, ROADS[road], log) as (process, port):
            workers = both_workers(pool, port)
            assert str(process.pid) not in workers
            answered = set(pool.map(lambda name: get(port, name), names))
            assert answered <= workers
            # Nothing lies between these and the stop.
            list(pool.map(lambda name: get(port, name), last))
            process.send_signal(signal.SIGTERM)
            code = process.wait(60)
        log.seek(0)
        said = log.read()
    held = told()
    devices = [f"{kind}-{name}" for kind in ("hand", "left", "open") for name in (*names, *last)]
    assert (held, said) == (dict.fromkeys(devices, WHOLE), "")
    assert code in (0, -signal.SIGTERM)  # uvicorn's master ends by the signal that it got
