"""The middleware: whose a request is, around the whole of its answer."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from mlsdk import ConfigurationError
from mlsdk_otel import MindlyticsASGIMiddleware
from mlsdk_otel.context import ids_in

Header = tuple[bytes, bytes]


def seen_by_an_application(scope: dict[str, Any], **places: Any) -> dict[str, str]:
    """The ids that an application sees in a request."""
    seen: dict[str, str] = {}

    async def app(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        await asyncio.sleep(0)
        seen.update(ids_in())

    async def unused(*_: Any) -> Any:
        raise AssertionError

    async def run() -> None:
        await MindlyticsASGIMiddleware(app, **places)(scope, unused, unused)
        assert dict(ids_in()) == {}

    asyncio.run(run())
    return seen


def request(*headers: Header, kind: str = "http") -> dict[str, Any]:
    return {"type": kind, "headers": [*headers]}


@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_ids_come_from_headers_and_cookies(kind: str) -> None:
    scope = request(
        (b"X-Session-Id", b"s"), (b"cookie", b'odd; a@b=c; user="ann"; device=d'), (b"cookie", b"talk=t"), kind=kind
    )
    assert seen_by_an_application(
        scope,
        session_id="header:x-session-ID",
        user_id="cookie:user",
        device_id="cookie: device",
        conversation_id="cookie:talk",
    ) == {"session.id": "s", "user.id": "ann", "mindlytics.device.id": "d", "gen_ai.conversation.id": "t"}


def test_the_first_place_that_has_an_id_counts() -> None:
    places = ["header:x-session", "cookie:session"]
    for headers, found in [
        ([(b"x-session", b"one"), (b"cookie", b"session=two")], "one"),
        ([(b"x-session", b""), (b"cookie", b"session=two")], "two"),
        ([(b"x-session", b"x" * 101), (b"cookie", b"session=two")], "two"),
        ([(b"x-session", b"one"), (b"x-session", b"two")], "one"),
        ([(b"cookie", b"Session=two")], None),
    ]:
        seen = seen_by_an_application(request(*headers), session_id=places)
        assert seen.get("session.id") == found


@pytest.mark.parametrize("scope", [{"type": "http"}, {"type": "http", "headers": None}])
def test_a_request_without_headers_passes(scope: dict[str, Any]) -> None:
    assert seen_by_an_application(scope, session_id="header:x-session-id") == {}


def test_other_scopes_pass() -> None:
    reached: list[str] = []

    async def app(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        reached.append(scope["type"])

    async def unused(*_: Any) -> Any:
        raise AssertionError

    asyncio.run(MindlyticsASGIMiddleware(app, session_id="cookie:s")({"type": "lifespan"}, unused, unused))
    assert reached == ["lifespan"]


def test_an_error_of_the_application_passes() -> None:
    async def app(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        raise ZeroDivisionError

    async def unused(*_: Any) -> Any:
        raise AssertionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(MindlyticsASGIMiddleware(app, session_id="header:s")(request((b"s", b"1")), unused, unused))


@pytest.mark.parametrize(
    ("places", "named"),
    [
        ({"session_id": "x-session"}, "session_id"),
        ({"user_id": ["header:user", "query:user"]}, "user_id"),
        ({"device_id": "cookie:"}, "device_id"),
        ({"conversation_id": [3]}, "conversation_id"),
        ({}, "session_id"),
    ],
)
def test_a_place_that_is_none_is_named(places: dict[str, Any], named: str) -> None:
    async def app(*_: Any) -> None: ...

    with pytest.raises(ConfigurationError, match=f"^{named}"):
        MindlyticsASGIMiddleware(app, **places)
