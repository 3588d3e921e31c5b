"""The server of the benchmarks: reads requests, counts them, and answers "ok" after as many milliseconds as it is told.

    python benchmarks/sink.py [--latency 50]

A process of its own; the first line that it prints is its port. `GET` tells what it has counted.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from typing import TypedDict


class Counts(TypedDict):
    """What a sink has seen."""

    requests: int
    connections: int


seen: Counts = {"requests": 0, "connections": 0}


class Sink(asyncio.Protocol):
    """One connection."""

    latency = 0.0
    """Seconds between a request and its answer."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begins to read."""
        self._transport = transport
        self._buffer = bytearray()
        self._needed = 0  # bytes of the request that is being read, once its head is there
        self._is_question = False

    def data_received(self, data: bytes) -> None:
        """Answers each request that is complete."""
        self._buffer += data
        while self._buffer:
            if not self._needed and not self._read_head():
                return
            if len(self._buffer) < self._needed:
                return
            del self._buffer[: self._needed]
            self._needed = 0
            if self._is_question:
                self._answer(json.dumps(seen).encode())
                continue
            seen["requests"] += 1
            if self.latency:
                asyncio.get_running_loop().call_later(self.latency, self._answer, b'{"status":"ok"}')
            else:
                self._answer(b'{"status":"ok"}')

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = bytes(self._buffer[:end]).lower()
        self._is_question = head.startswith(b"get")
        at = head.find(b"content-length:")
        self._needed = end + 4 + (int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0)
        if not self._is_question and not hasattr(self, "_is_counted"):
            self._is_counted = True
            seen["connections"] += 1
        return True

    def _answer(self, body: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        self._transport.write(head + body)  # type: ignore[attr-defined]


async def serve() -> None:
    """Until the process is ended."""
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextlib.contextmanager
def serving(*, latency: float = 0.0) -> Iterator[str]:
    """A sink in a process of its own; gives its address.

    Args:
        latency: Milliseconds.
    """
    command = [sys.executable, __file__, "--latency", str(latency)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            port = server.stdout.readline() if server.stdout is not None else ""
            yield f"http://127.0.0.1:{int(port)}"
        finally:
            server.terminate()


def counts(base: str) -> Counts:
    """What the sink at an address has seen so far."""
    with urllib.request.urlopen(base) as answer:  # noqa: S310 - our own address
        found: Counts = json.load(answer)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A server that counts requests.")
    parser.add_argument("--latency", type=float, default=0.0, help="milliseconds")
    Sink.latency = parser.parse_args().latency / 1000
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve())
