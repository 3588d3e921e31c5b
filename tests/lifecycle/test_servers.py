"""Under gunicorn, whose workers are forked, and with gevent patched: what every request records arrives."""

from __future__ import annotations

import http.client
import importlib.util
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support import child, lifecycle

from mlsdk.local import LocalMindlytics

pytestmark = [
    pytest.mark.lifecycle,
    pytest.mark.timeout(120),
    pytest.mark.skipif(importlib.util.find_spec("gunicorn") is None, reason="gunicorn is not installed"),
]

APPLICATION = """
from mlsdk.sync import Client

client = Client()  # in the master where the application is loaded first
kept = []

def application(environ, start_response):
    name = environ["PATH_INFO"][1:]
    with client.create_session(device_id=f"ended {name}") as session:
        session.track_conversation_turn(user="hello", assistant="hi")
    session = client.create_session(device_id=f"open {name}")
    session.track_conversation_turn(user="hello", assistant="hi")
    kept.append(session)  # ended when the worker is
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok"]
"""
REQUESTS = 20


def ask(port: int, name: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", f"/{name}")
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize("how", ["--preload", "--worker-class=gevent", "--preload --worker-class=gevent"])
def test_what_requests_record_arrives(service: LocalMindlytics, tmp_path: Path, how: str) -> None:
    if "gevent" in how and importlib.util.find_spec("gevent") is None:
        pytest.skip("gevent is not installed")
    (tmp_path / "served.py").write_text(APPLICATION)
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        door.listen(64)
        door.set_inheritable(True)
        options = [
            *how.split(),
            "--workers=2",
            f"--bind=fd://{door.fileno()}",
            "--log-level=error",
            "--graceful-timeout=30",
        ]
        with subprocess.Popen(
            [sys.executable, "-m", "gunicorn", *options, "served:application"],
            cwd=tmp_path,
            env=child.environment(lifecycle.address(service)),
            pass_fds=[door.fileno()],
            stderr=subprocess.PIPE,
            text=True,
        ) as server:
            try:
                with ThreadPoolExecutor(4) as pool:
                    port = door.getsockname()[1]
                    assert set(pool.map(lambda number: ask(port, str(number)), range(REQUESTS))) == {200}
                server.send_signal(signal.SIGTERM)
                _, errors = server.communicate(timeout=60)
            finally:
                server.kill()
    assert server.returncode == 0, errors
    assert "lost" not in errors
    expected = [f"{kind} {number}" for kind in ("ended", "open") for number in range(REQUESTS)]
    assert lifecycle.sessions(service) == dict.fromkeys(expected, lifecycle.whole_session(1))
