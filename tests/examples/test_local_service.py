"""A local Mindlytics in a process of its own, for as long as it is needed."""

from __future__ import annotations

import http.client
import os
import sys
from urllib.parse import urlsplit

import pytest
from local_service import local_mindlytics


def ask(address: str) -> int:
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=10)
    try:
        connection.request("GET", "/local/stats")
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "example.org")


def test_it_serves_until_the_block_is_left() -> None:
    with local_mindlytics() as address:
        assert ask(address) == 200
        assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == "example.org,127.0.0.1"
    with pytest.raises(ConnectionRefusedError):
        ask(address)


def test_it_is_gone_after_an_error_too() -> None:
    addresses = []

    def fail() -> None:
        with local_mindlytics() as address:
            addresses.append(address)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with pytest.raises(ConnectionRefusedError):
        ask(addresses[0])


def test_a_service_that_does_not_start_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "false" if os.name == "posix" else "where.exe")
    with pytest.raises(RuntimeError, match="did not start"), local_mindlytics():
        pass
