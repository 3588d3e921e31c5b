"""Whatever the service answers: events are delivered once it answers properly, and nobody is harmed meanwhile."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
import tracemalloc
from typing import Final

import aiohttp
import pytest
from packaging.version import Version
from support.hostile import Answer, Write, hostile

from mlsdk import HTTPClient
from mlsdk.errors import DeliveryError
from mlsdk.sync import Client

KEY: Final = "secret-api-key"
PIECE: Final = b"x" * 65536
MEMORY: Final = 24 * 2**20
"""Bytes that an answer of hundreds of megabytes may cost, at most."""
BOUNDS_HEADS: Final = Version("3.13.5")
"""The aiohttp from which on it takes no more than so many headers."""


def says(text: bytes) -> Answer:
    return lambda write: write(text)


def huge(status: bytes) -> Answer:
    def answer(write: Write) -> None:
        write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 268435456\r\n\r\n")
        for _ in range(4096):
            write(PIECE)

    return answer


def endless(status: bytes) -> Answer:
    def answer(write: Write) -> None:
        write(b"HTTP/1.1 " + status + b"\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            write(b"10000\r\n" + PIECE + b"\r\n")

    return answer


def dripping(status: bytes) -> Answer:
    def answer(write: Write) -> None:
        write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            write(b"x")
            time.sleep(0.05)

    return answer


def endless_head(write: Write) -> None:
    write(b"HTTP/1.1 503 Busy\r\n")
    while True:
        write(b"X-Header: " + b"y" * 4000 + b"\r\n")


def bomb(status: bytes) -> Answer:
    """200 MB in 200 KB, for whoever unpacks what it did not ask for."""
    packed = gzip.compress(bytes(200 * 2**20), compresslevel=9)
    head = b"HTTP/1.1 " + status + b"\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    return says(head + packed)


def body(status: bytes, text: bytes) -> Answer:
    return says(b"HTTP/1.1 " + status + b"\r\nContent-Length: %d\r\n\r\n" % len(text) + text)


BUSY: Final = b"503 Busy"
FAILURES: Final = {
    "huge": huge(BUSY),
    "endless": endless(BUSY),
    "endless head": endless_head,
    "dripping": dripping(BUSY),
    "compressed bomb": bomb(BUSY),
    "no HTTP": says(b"\x16\x03\x01nonsense\r\n\r\n"),
    "nothing": says(b""),
    "bad length": says(b"HTTP/1.1 503 Busy\r\nContent-Length: -5\r\n\r\n"),
    "bad chunks": says(b"HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
    "two lengths": says(b"HTTP/1.1 503 Busy\r\nContent-Length: 1\r\nContent-Length: 9\r\n\r\nxxxxxxxxx"),
    "wait for ever": says(b"HTTP/1.1 503 Busy\r\nRetry-After: nan\r\nContent-Length: 0\r\n\r\n"),
    "wait for a date that is none": says(b"HTTP/1.1 503 Busy\r\nRetry-After: Mon, 99 Foo 0000\r\n\r\n"),
    "not UTF-8": body(BUSY, b"\xff\xfe\x00"),
    "deep JSON": body(BUSY, b"[" * 100_000),
    "wrong types": body(BUSY, b'{"message": {"errored": [1, 2]}, "status": "no"}'),
}


@pytest.mark.parametrize("name", FAILURES)
def test_events_are_delivered_when_the_service_comes_to_its_senses(name: str) -> None:
    if name == "endless head" and Version(aiohttp.__version__) < BOUNDS_HEADS:
        pytest.skip("this aiohttp reads on as long as headers come")
    with hostile(FAILURES[name], FAILURES[name]) as service:
        client = Client(api_key=KEY, project_id="p", server_endpoint=service.url)
        tracemalloc.start()
        try:
            session = client.create_session(device_id="d")
            session.track_event(event="Hello")
            client.flush(30)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert client.stats()["queued"] == 0
        assert client.stats()["dropped"] == {}
        sent = [event["type"] for each in service.bodies for event in json.loads(each)]
        assert sent == ["start_session", "track"]
        assert peak < MEMORY
        session.end_session()


@pytest.mark.parametrize("answer", [huge(b"200 OK"), endless(b"200 OK"), dripping(b"200 OK"), bomb(b"200 OK")])
def test_what_was_taken_is_not_sent_again_whatever_follows_the_status(answer: Answer) -> None:
    with hostile(answer) as service:
        client = Client(api_key=KEY, project_id="p", server_endpoint=service.url)
        session = client.create_session(device_id="d")
        session.start_session()
        client.flush(30)
        assert client.stats()["delivered"] == 1
        assert service.bodies == []
        session.end_session()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_leads_nobody_anywhere(status: int) -> None:
    with hostile() as other:
        away = says(b"HTTP/1.1 %d Away\r\nLocation: %s/x\r\nContent-Length: 0\r\n\r\n" % (status, other.url.encode()))
        with hostile(*[away] * 3) as service:
            asked = asyncio.run(
                HTTPClient(api_key=KEY, project_id="p", server_endpoint=service.url).send_request(
                    method="GET", url="/bc/v1/x"
                )
            )
            assert (asked["errored"], asked["status"]) == (True, status)
            client = Client(api_key=KEY, project_id="p", server_endpoint=service.url)
            with pytest.raises(DeliveryError):
                client.user_identify(id="ann")
            session = client.create_session(device_id="d")
            session.track_event(event="Hello")
            client.flush(1)
        assert other.heads == []


@pytest.mark.parametrize("answer", [huge(b"200 OK"), endless(b"200 OK"), bomb(b"200 OK"), huge(b"400 Bad")])
def test_what_a_request_of_the_applications_own_gets_is_bounded(answer: Answer) -> None:
    with hostile(answer) as service:
        client = HTTPClient(api_key=KEY, project_id="p", server_endpoint=service.url)
        tracemalloc.start()
        try:
            response = asyncio.run(client.send_request(method="GET", url="/bc/v1/x"))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 8 * MEMORY  # reading as JSON what is none takes a multiple of it
        assert len(str(response)) < 40 * 2**20
