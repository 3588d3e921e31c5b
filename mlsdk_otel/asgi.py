"""Whose a request is: its ids, from headers and cookies, for all that is done to answer it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from typing import Any, Final

from mlsdk.errors import ConfigurationError
from mlsdk_otel.baggage import is_id
from mlsdk_otel.context import using_session

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_REQUESTS: Final = frozenset({"http", "websocket"})
_PLACES: Final = ("header", "cookie")


class MindlyticsASGIMiddleware:
    """Spans that start while a request is answered belong to the session, user, device and conversation it names.

        app.add_middleware(MindlyticsASGIMiddleware, session_id="header:x-session-id", user_id="cookie:user")

    It works around the whole answer: a response that is streamed, its background tasks, threads that handlers run in.
    Websockets are taken for one long request; other scopes pass untouched. As with `using_session`, it takes effect
    where a `MindlyticsSpanProcessor` sees spans start. Whoever calls chooses what is in a header: name here only those
    that your own front end sets, or that you check.
    """

    def __init__(
        self,
        app: App,
        *,
        session_id: str | Sequence[str] = (),
        user_id: str | Sequence[str] = (),
        device_id: str | Sequence[str] = (),
        conversation_id: str | Sequence[str] = (),
    ) -> None:
        """Wraps an application.

        Args:
            app: The ASGI application.
            session_id: Where the session's id is: `header:NAME` or `cookie:NAME`, or several of them, of which the
                first counts that is there. What is not 1 to 100 characters of text is not there.
            user_id: Where the user's id is.
            device_id: Where the device's id is.
            conversation_id: Where the conversation's id is.

        Raises:
            ConfigurationError: A place is neither a header nor a cookie, or none is given.
        """
        self.app = app
        given = {
            "session_id": session_id,
            "user_id": user_id,
            "device_id": device_id,
            "conversation_id": conversation_id,
        }
        self._places = {argument: _places(argument, places) for argument, places in given.items() if places}
        if not self._places:
            raise ConfigurationError("session_id: is missing, and so are all others: name a header or a cookie")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request."""
        ids = self._ids(scope) if scope["type"] in _REQUESTS else {}
        if not ids:
            await self.app(scope, receive, send)
            return
        with using_session(**ids):
            await self.app(scope, receive, send)

    def _ids(self, scope: Scope) -> dict[str, Any]:
        given = scope.get("headers") or ()  # a test client may leave them out; it is the application's to mind
        headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in given]
        values = {"header": dict(reversed(headers)), "cookie": _cookies(headers)}
        return {
            argument: found
            for argument, places in self._places.items()
            if (found := _first(argument, places, values)) is not None
        }


def _places(argument: str, given: str | Sequence[str]) -> list[tuple[str, str]]:
    places = []
    for place in [given] if isinstance(given, str) else given:
        kind, separator, name = place.partition(":") if isinstance(place, str) else ("", "", "")
        if kind not in _PLACES or not separator or not name.strip():
            raise ConfigurationError(f"{argument}: must be 'header:NAME' or 'cookie:NAME', not {place!r}")
        places.append((kind, name.strip().lower() if kind == "header" else name.strip()))
    return places


def _first(argument: str, places: Iterable[tuple[str, str]], values: Mapping[str, Mapping[str, str]]) -> str | None:
    found = (values[kind].get(name) for kind, name in places)
    return next((value for value in found if is_id(value, argument)), None)


def _cookies(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """The cookies of a request. Not the standard library's reader: one odd cookie makes it drop all of them."""
    cookies: dict[str, str] = {}
    for header, value in headers:
        if header != "cookie":
            continue
        for pair in value.split(";"):
            name, separator, content = pair.strip().partition("=")
            if separator:
                cookies.setdefault(name.strip(), content.strip().strip('"'))
    return cookies
