"""What tests of a running page need."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator

import pytest

from mlsdk.local import LocalMindlytics


class Stream:
    """Server-sent events as they come."""

    def __init__(self, port: int, address: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._connection.request("GET", address)
        self.response = self._connection.getresponse()

    def next(self) -> str | None:
        """The next version; None: the service has closed the stream."""
        for line in self.response:
            if line.startswith(b"data: "):
                return line[6:].strip().decode()
        return None

    def close(self) -> None:
        self.response.close()
        self._connection.close()


@pytest.fixture
def watch(service: LocalMindlytics) -> Iterator[Callable[[str], Stream]]:
    """``watch(address)`` opens a stream of versions."""
    streams: list[Stream] = []

    def watch(address: str) -> Stream:
        streams.append(Stream(service.port, address))
        return streams[-1]

    yield watch
    for stream in streams:
        stream.close()
