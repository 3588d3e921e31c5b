"""One request over a real socket, against servers that behave and servers that do not."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme

from mlsdk.config import Connection
from mlsdk.delivery.outcome import Outcome, Verdict
from mlsdk.delivery.transport import MAX_ANSWER, HTTPTransport, failure

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter, bytes], Awaitable[None]]
PATIENCE = 60.0
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class RawServer:
    """Reads requests and answers as a script says, byte by byte if need be."""

    script: Script
    base: str = ""
    connections: int = 0
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            while not writer.is_closing():
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {
                    name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)
                }
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                self.requests.append((head[0], headers, body))
                await self.script(reader, writer, body)
        writer.close()


def says(answer: bytes) -> Script:
    async def script(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _body: bytes) -> None:
        writer.write(answer)
        await writer.drain()

    return script


@contextlib.asynccontextmanager
async def serving(script: Script, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[RawServer]:
    handler = RawServer(script)
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with contextlib.suppress(asyncio.CancelledError):
            await handler(reader, writer)
        writer.transport.abort()
        tasks.discard(task)

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    handler.base = f"{'https' if tls else 'http'}://localhost:{port}"
    try:
        yield handler
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def connection(base: str, **options: Any) -> Connection:
    websocket = base.replace("http", "ws", 1)
    return Connection(
        api_key="the-key", project_id="the-project", server_endpoint=base, wss_endpoint=websocket, **options
    )


@contextlib.asynccontextmanager
async def transport(to: Connection, **options: Any) -> AsyncIterator[HTTPTransport]:
    made = HTTPTransport(to, connections=8, **options)
    try:
        yield made
    finally:
        await made.close()


def send(script: Script, *, times: int = 1, tls: ssl.SSLContext | None = None, **options: Any) -> tuple[Any, Any]:
    """Send a body so often, one after another; return the last outcome and the server."""
    trust = {"ca_file": options.pop("ca_file", None)}

    async def main() -> tuple[Outcome, RawServer]:
        async with serving(script, tls=tls) as server, transport(connection(server.base, **trust), **options) as way:
            for _ in range(times):
                outcome = await way.send(b'[{"a":1}]', key="k1")
            return outcome, server

    return asyncio.run(main())


# -- what is sent -----------------------------------------------------------------------------------------------------


def test_a_request_is_an_array_for_the_queue_with_credentials_and_an_idempotency_key() -> None:
    outcome, server = send(says(OK))
    assert (outcome.verdict, outcome.status, outcome.message) == (Verdict.DELIVERED, 200, "ok")
    ((line, headers, body),) = server.requests
    assert line == "POST /bc/v1/events/queue HTTP/1.1"
    assert body == b'[{"a":1}]'
    del headers["host"], headers["user-agent"], headers["accept"]
    assert headers == {
        "authorization": "Bearer the-key",
        "x-app-id": "the-project",
        "idempotency-key": "k1",
        "content-type": "application/json",
        "content-length": "9",
        "accept-encoding": "identity",
    }


def test_connections_are_kept_alive() -> None:
    _, server = send(says(OK), times=20)
    assert (len(server.requests), server.connections) == (20, 1)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy",
        b"HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbad\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (MAX_ANSWER - 1, b"x" * (MAX_ANSWER - 1)),
    ],
)
def test_any_answer_of_usual_length_leaves_the_connection_for_the_next_request(answer: bytes) -> None:
    _, server = send(says(answer), times=5)
    assert (len(server.requests), server.connections) == (5, 1)


def test_an_answer_in_pieces_is_read_to_its_end() -> None:
    async def script(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _body: bytes) -> None:
        writer.write(b"HTTP/1.1 400 Bad\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in (b"In", b"va", b"lid"):
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await writer.drain()
            await asyncio.sleep(0.01)
        writer.write(b"0\r\n\r\n")

    outcome, server = send(script, times=3, answer_timeout=PATIENCE)
    assert outcome.message == "Invalid"
    assert server.connections == 1


def test_a_large_body_arrives_whole_and_may_be_sent_again() -> None:
    body = bytes(range(256)) * 20_000

    async def main() -> RawServer:
        async with serving(says(OK)) as server, transport(connection(server.base)) as way:
            for _ in range(2):
                assert (await way.send(body, key="k")).verdict is Verdict.DELIVERED
            return server

    server = asyncio.run(main())
    assert [received == body for _, _, received in server.requests] == [True, True]
    assert server.connections == 1


# -- answers ----------------------------------------------------------------------------------------------------------


def test_no_redirect_is_followed() -> None:
    answer = b"HTTP/1.1 %d Elsewhere\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
    for code in (301, 302, 303, 307, 308):
        outcome, server = send(says(answer % code))
        assert (outcome.verdict, outcome.status) == (Verdict.NOT_ALLOWED, code)
        assert len(server.requests) == 1


def test_retry_after_is_read() -> None:
    outcome, _ = send(says(b"HTTP/1.1 429 Slow\r\nRetry-After: 17\r\nContent-Length: 0\r\n\r\n"))
    assert (outcome.verdict, outcome.after, outcome.message) == (Verdict.TRY_LATER, 17.0, "HTTP status 429")
    date = b"HTTP/1.1 503 Slow\r\nRetry-After: Fri, 31 Dec 2999 23:59:59 GMT\r\nContent-Length: 0\r\n\r\n"
    assert send(says(date))[0].after == 600.0


def test_of_a_huge_text_only_the_start_is_read() -> None:
    answer = b"HTTP/1.1 400 Bad\r\nContent-Length: 5000000\r\n\r\n" + b"x" * 5_000_000
    outcome, _ = send(says(answer))
    assert outcome.message == "x" * MAX_ANSWER


def test_of_an_endless_text_only_the_start_is_read() -> None:
    async def script(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _body: bytes) -> None:
        writer.write(b"HTTP/1.1 500 Bad\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"400\r\n" + b"y" * 1024 + b"\r\n")
            await writer.drain()

    outcome, _ = send(script)
    assert (outcome.status, outcome.message) == (500, "y" * MAX_ANSWER)


@pytest.mark.timed
def test_a_text_that_never_ends_to_come_delays_little_and_changes_nothing() -> None:
    """The status is what counts: what was delivered must not be sent again for want of its text."""

    async def script(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _body: bytes) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nz")
        while True:
            writer.write(b"z")
            await writer.drain()
            await asyncio.sleep(0.02)

    began = time.monotonic()
    outcome, _ = send(script, answer_timeout=0.1)
    assert outcome.verdict is Verdict.DELIVERED
    assert set(outcome.message) == {"z"}
    assert time.monotonic() - began < 15, "all of it takes 20 s"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf of it",
        b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nContent-Encoding: gzip\r\n\r\nnotzip",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\xff\xfe",
        b"HTTP/1.1 200 OK\r\n\r\n",
    ],
)
def test_a_text_that_breaks_off_or_is_none_changes_nothing(answer: bytes) -> None:
    async def script(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _body: bytes) -> None:
        writer.write(answer)
        await writer.drain()
        writer.close()

    assert send(script)[0].verdict is Verdict.DELIVERED


# -- no answer --------------------------------------------------------------------------------------------------------


async def hang(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter, _body: bytes) -> None:
    await asyncio.Event().wait()


async def cut(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _body: bytes) -> None:
    writer.transport.abort()


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (hang, "no answer in time"),
        (cut, "the connection failed: "),
        (says(b"SMTP ready\r\n\r\n"), "the connection failed: "),
        (says(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"), "the connection failed: "),
    ],
)
def test_without_an_answer_the_request_is_tried_later(script: Script, message: str) -> None:
    outcome, _ = send(script, whole_timeout=0.2 if script is hang else PATIENCE)
    assert (outcome.verdict, outcome.status, outcome.is_unreachable) == (Verdict.TRY_LATER, -1, script is hang)
    assert outcome.message.startswith(message)


def test_a_connection_that_was_cut_is_made_anew() -> None:
    calls = iter([cut, says(OK), cut, says(OK)])

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes) -> None:
        await next(calls)(reader, writer, body)

    outcome, server = send(script, times=4)
    assert outcome.verdict is Verdict.DELIVERED
    assert (len(server.requests), server.connections) == (4, 3)


def send_to(base: str, **options: Any) -> Outcome:
    async def main() -> Outcome:
        async with transport(connection(base), **options) as way:
            return await way.send(b"[]", key="k")

    return asyncio.run(main())


def test_where_nobody_listens_the_service_is_unreachable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        outcome = send_to(f"http://127.0.0.1:{taken.getsockname()[1]}")
    assert (outcome.verdict, outcome.status, outcome.is_unreachable) == (Verdict.TRY_LATER, -1, True)
    assert outcome.message.startswith("cannot connect: ")


def test_a_host_that_does_not_exist_is_unreachable() -> None:
    outcome = send_to("http://no-such-host.invalid")
    assert (outcome.verdict, outcome.is_unreachable) == (Verdict.TRY_LATER, True)


def test_a_host_name_that_cannot_be_one_is_tried_later() -> None:
    assert send_to(f"http://{'a' * 70}.invalid").verdict is Verdict.TRY_LATER


def test_a_connection_that_takes_too_long_is_unreachable() -> None:
    """The TLS handshake counts: here the other side accepts and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        base = f"https://127.0.0.1:{silent.getsockname()[1]}"
        outcome = send_to(base, connect_timeout=0.1)
    assert (outcome.verdict, outcome.status, outcome.is_unreachable) == (Verdict.TRY_LATER, -1, True)
    assert outcome.message == "cannot connect in time"


# -- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return str(tmp_path / "ca.pem")


def test_a_certificate_of_an_authority_in_ca_file_is_trusted(tls: ssl.SSLContext, ca_file: str) -> None:
    outcome, server = send(says(OK), tls=tls, ca_file=ca_file, times=3)
    assert outcome.verdict is Verdict.DELIVERED
    assert server.connections == 1


def test_a_certificate_of_an_unknown_authority_is_not(tls: ssl.SSLContext) -> None:
    outcome, server = send(says(OK), tls=tls)
    assert (outcome.verdict, outcome.is_unreachable) == (Verdict.TRY_LATER, True)
    assert "certificate" in outcome.message.lower()
    assert server.requests == []  # the key was not sent


def test_a_certificate_for_another_host_is_not(authority: trustme.CA, ca_file: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("elsewhere.test").configure_cert(context)
    outcome, server = send(says(OK), tls=context, ca_file=ca_file)
    assert (outcome.verdict, outcome.is_unreachable, server.requests) == (Verdict.TRY_LATER, True, [])
    assert "localhost" in outcome.message


def test_a_server_that_speaks_no_tls_is_unreachable() -> None:
    async def main() -> Outcome:
        async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"220 ready\r\n")
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(greet, "127.0.0.1", 0)
        base = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with server, transport(connection(base)) as way:
            return await way.send(b"[]", key="k")

    outcome = asyncio.run(main())
    assert (outcome.verdict, outcome.is_unreachable) == (Verdict.TRY_LATER, True)


# -- messages ---------------------------------------------------------------------------------------------------------


def test_a_message_holds_no_header_whatever_aiohttp_says() -> None:
    class Odd(aiohttp.ClientError):
        pass

    assert failure(Odd("Authorization: Bearer the-key")).message == "the connection failed: Odd"
    assert failure(ValueError("the-key")).message == "the connection failed: ValueError"
    assert failure(asyncio.TimeoutError("the-key")).message == "no answer in time"
