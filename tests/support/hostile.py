"""A service that means harm: it reads a request and writes whatever it likes, for as long as it likes."""

from __future__ import annotations

import contextlib
import socketserver
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

Write = Callable[[bytes], None]
Answer = Callable[[Write], None]
"""Writes an answer, or what is none. A write fails once the client has gone."""

OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class HostileService:
    """Answers the first requests as told, and those after them properly.

    Attributes:
        answers: One for each request, in the order in which they come.
        heads: The request lines and headers that came.
        bodies: The bodies of those that were answered properly.
    """

    answers: list[Answer] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    port: int = 0
    written: int = 0

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def serve(self, handler: socketserver.StreamRequestHandler) -> None:
        lock = self._lock
        while head := _head(handler.rfile):
            length = next((int(line.split(":")[1]) for line in head.split("\r\n") if _is_length(line)), 0)
            body = handler.rfile.read(length)
            with lock:
                self.heads.append(head)
                answer = self.answers.pop(0) if self.answers else None
                if answer is None:
                    self.bodies.append(body)

            def write(data: bytes) -> None:
                handler.wfile.write(data)
                self.written += len(data)

            if answer is None:
                write(OK)
                continue
            answer(write)
            return  # and the connection is closed

    def __post_init__(self) -> None:
        self._lock = threading.Lock()


def _head(source: Any) -> str:
    lines = []
    while (line := source.readline().decode("latin-1")) not in ("", "\r\n"):
        lines.append(line.rstrip())
    return "\r\n".join(lines)


def _is_length(line: str) -> bool:
    return line.lower().startswith("content-length:")


@contextlib.contextmanager
def hostile(*answers: Answer) -> Iterator[HostileService]:
    service = HostileService(list(answers))

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                service.serve(self)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, request: Any, client_address: Any) -> None: ...

    with Server(("127.0.0.1", 0), Handler) as server:
        service.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield service
        finally:
            server.shutdown()
            thread.join()
