"""A server of a test in a process of its own."""

from __future__ import annotations

import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from mlsdk.local import ports

PATIENCE: Final = 60.0


@dataclass(slots=True)
class Server:
    """Where it listens, and what it printed once it has ended."""

    url: str
    output: str = ""


@contextmanager
def serving(command: Sequence[str], variables: Mapping[str, str]) -> Iterator[Server]:
    """Runs a server until the block is left, then stops it by SIGTERM; `PORT` in the command is its port."""
    # Kept meanwhile: a server may share a port with a socket that does not listen, and nobody else gets it.
    with ports.kept("127.0.0.1", 0) as kept, tempfile.TemporaryFile("w+") as output:
        port = int(kept.getsockname()[1])
        process = subprocess.Popen(
            [part.replace("PORT", str(port)) for part in command],
            env=dict(variables),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        server = Server(f"http://127.0.0.1:{port}")
        try:
            _wait(process, port)
            yield server
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(PATIENCE)
            finally:
                process.kill()
                process.wait()
                output.seek(0)
                server.output = output.read()
                print(server.output)


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        assert process.poll() is None, "the server ended before it listened"
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < end, "the server does not listen"
            time.sleep(0.05)
        else:
            return
