"""Ports of services: given out once, and kept while a service is down."""

from __future__ import annotations

import asyncio
import gc
import socket
import warnings

import pytest

from mlsdk.local import LocalMindlytics, ports


def test_no_service_of_a_process_gets_a_port_that_another_had() -> None:
    """What sends to an address remembers it: it must not take a new service for the old one."""
    had = []
    for _ in range(500):
        with ports.listening("127.0.0.1", 0) as found:
            had.append(found.getsockname()[1])
    assert len(set(had)) == 500


def test_a_port_that_is_asked_for_may_be_had_again() -> None:
    with ports.listening("127.0.0.1", 0) as found:
        port = found.getsockname()[1]
    with ports.listening("127.0.0.1", port) as again:
        assert again.getsockname()[1] == port
        with pytest.raises(OSError):
            ports.listening("127.0.0.1", port)


def test_one_that_was_had_is_better_than_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "given", set(range(65536)))
    with ports.listening("127.0.0.1", 0) as found:
        assert found.getsockname()[1]


def test_a_service_that_is_down_keeps_its_ports() -> None:
    """Else another program could take them meanwhile, and it could not come back."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        ws_port = free.getsockname()[1]
    with LocalMindlytics(ws_port=ws_port) as service:
        for _ in range(2):
            service.close_port()
            for port in (service.port, ws_port):
                with pytest.raises(ConnectionRefusedError):
                    socket.create_connection(("127.0.0.1", port), timeout=10)
                with socket.socket() as other, pytest.raises(OSError):
                    other.bind(("127.0.0.1", port))
            service.reopen()
            for port in (service.port, ws_port):
                socket.create_connection(("127.0.0.1", port), timeout=10).close()
        service.close_port()
    for port in (service.port, ws_port):
        with socket.create_server(("127.0.0.1", port)):
            pass


@pytest.mark.parametrize("rounds", range(6))
def test_whoever_was_just_accepted_when_a_server_ends_is_closed_too(rounds: int) -> None:
    """The loop is so many rounds further than when the connection came in."""
    made: list[asyncio.BaseTransport] = []

    class Keeps(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            made.append(transport)

    async def main(client: socket.socket, listening: socket.socket) -> None:
        server = await asyncio.get_running_loop().create_server(Keeps, sock=listening)
        client.connect(listening.getsockname())
        for _ in range(rounds):
            await asyncio.sleep(0)
        await ports.end([server])
        for transport in made:
            transport.close()
        for _ in range(5):
            await asyncio.sleep(0)

    with warnings.catch_warnings(record=True) as left_open, socket.socket() as client:
        warnings.simplefilter("always")
        loop = asyncio.SelectorEventLoop()
        try:
            loop.run_until_complete(main(client, ports.listening("127.0.0.1", 0)))
        finally:
            loop.close()
        gc.collect()
    assert [str(each.message) for each in left_open] == []
