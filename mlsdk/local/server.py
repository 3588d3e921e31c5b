"""The HTTP side: routes, credentials, bodies and answers as the service gives them, and the faults in front of it all.

It decides nothing about events: `validation` judges, `store` keeps. Sources: the published API description (version
1.0.0) for paths, bodies and answers; errors are plain texts.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final
from urllib.parse import unquote

import orjson
from aiohttp import web

from mlsdk.local.faults import ACTION_ANSWER, ACTION_HANG, ACTION_RESET, API, Fault
from mlsdk.local.live import Hub, bearer
from mlsdk.local.naming import is_own_name
from mlsdk.local.page.routes import Page
from mlsdk.local.page.watchers import Watchers
from mlsdk.local.records import Generated
from mlsdk.local.state import RecordedRequest, RequestInfo, State
from mlsdk.local.store import instant_of
from mlsdk.local.users import UnknownUserError
from mlsdk.local.validation import (
    KINDS,
    InvalidBodyError,
    check_alias,
    check_batch,
    check_event,
    check_identify,
    check_kind,
)
from mlsdk.local.views import received_record, session_summary, session_view

MAX_BODY: Final = 16 * 1024 * 1024
"""Default bound of a request body in bytes. The real service publishes none."""

REFUSED_KEY: Final = "bad_key"
_DRAIN_LIMIT: Final = 256 * 1024 * 1024
_LIVE_EVENTS_LIMIT: Final = 150
_PAGE_LIMIT: Final = 10_000
_REFUSAL_LIMIT: Final = 1000

Answer = Callable[[web.Request, RequestInfo, RecordedRequest], Awaitable[web.StreamResponse]]

# Handed from the middleware to the endpoints. Not in the request's own mapping: newer aiohttp wants keys of a class
# for that which older ones do not have.
_CURRENT: ContextVar[tuple[RequestInfo, RecordedRequest]] = ContextVar("current request")


@dataclass(slots=True)
class Service:
    """What the handlers work with. ``now`` gives ISO 8601 UTC; ``api_key`` pins the one key that is accepted.

    ``host``: where it listens.
    """

    state: State
    hub: Hub
    now: Callable[[], str]
    api_key: str | None = None
    max_body: int = MAX_BODY
    stopping: bool = False
    watchers: Watchers = field(default_factory=Watchers)
    host: str = "127.0.0.1"
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def release(self) -> None:
        """Let every hanging request go on; later ones hang anew."""
        self.gate.set()
        self.gate = asyncio.Event()


class _RefusedError(Exception):
    """The request is answered by this status and text, and nothing is done."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


def build_application(service: Service) -> web.Application:
    """The whole service as an aiohttp application."""
    page = Page(service.state, service.watchers, now=service.now)
    handlers = _Handlers(service, page)
    # Faults, bounds and records live in one middleware, so that no endpoint can forget them.
    application = web.Application(middlewares=[_front(service)], client_max_size=_DRAIN_LIMIT)
    post, get = application.router.add_post, application.router.add_get
    for path, answer in (
        ("/bc/v1/events/queue", handlers.queue),
        ("/bc/v1/events/event", handlers.event),
        (f"/bc/v1/events/event/{{kind:{'|'.join(KINDS)}}}", handlers.event),
        ("/bc/v1/user/identify", handlers.identify),
        ("/bc/v1/user/alias", handlers.alias),
    ):
        post(path, _adapt(answer))
    for path, answer in (
        ("/", handlers.root),
        ("/bc/v1/live-events/realtime", handlers.realtime),
        ("/bc/v1/live-events/events", handlers.live_events),
        ("/local/stats", handlers.stats),
        ("/local/events", handlers.events),
        ("/local/sessions", handlers.sessions),
        ("/local/sessions/{session_id:.+}", handlers.session),
    ):
        get(path, _adapt(answer))
    page.add_to(application.router)
    return application


def _adapt(answer: Answer) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        return await answer(request, *_CURRENT.get())

    return handle


def _json(value: Any, *, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(value), status=status, content_type="application/json")


def _text(status: int, text: str, **headers: str) -> web.Response:
    return web.Response(status=status, text=text, headers=headers)


# --- in front of every endpoint ------------------------------------------------------------------------------------


def _front(service: Service) -> Callable[..., Awaitable[web.StreamResponse]]:
    @web.middleware
    async def front(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        state = service.state
        body = await request.read()
        info = RequestInfo(
            number=state.next_number(),
            method=request.method,
            path=request.path,
            query=dict(request.query),
            headers={name.lower(): value for name, value in request.headers.items()},
            body=body,
        )
        record = state.begin(info, at=service.now())
        _CURRENT.set((info, record))
        work = _Work(service, request, handler, info)
        response = await _answer(service, work, record)
        if not response.prepared:
            status = response.status if not work.is_cut else None
            state.finish(record, status, refusal=_refusal(response))
        if info.path.startswith(API):
            service.watchers.wake()
        return response

    return front


def _refusal(response: web.StreamResponse) -> str | None:
    if response.status < 400 or not isinstance(response, web.Response) or response.text is None:
        return None
    return response.text[:_REFUSAL_LIMIT]


class _Work:
    """The proper answer to one request, made at most once; errors are answers too."""

    def __init__(
        self,
        service: Service,
        request: web.Request,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
        info: RequestInfo,
    ) -> None:
        self.request = request
        self._info = info
        self.is_cut = False
        self._service = service
        self._handler = handler
        self._response: web.StreamResponse | None = None

    async def do(self) -> web.StreamResponse:
        if self._response is None:
            self._response = await self._do()
        return self._response

    async def _do(self) -> web.StreamResponse:
        if len(self._info.body) > self._service.max_body:
            return _text(413, "Request Entity Too Large")
        try:
            self._refuse_foreign_names()
            return await self._handler(self.request)
        except _RefusedError as refused:
            return _text(refused.status, refused.text)
        except InvalidBodyError as invalid:
            return _text(400, str(invalid))
        except web.HTTPException as error:
            allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
            return _text(error.status, error.reason, **allow)
        except Exception as error:  # our own mistake: kept, so that a test that caused it fails
            self._service.state.failures.append(error)
            return _text(500, "Internal Server Error")

    def _refuse_foreign_names(self) -> None:
        """What is shown asks for no key, so no foreign web page may reach it; endpoints and websocket ask for one."""
        headers, asked = self._info.headers, self._info.headers.get("host")
        is_shown = not self._info.path.startswith(API) and "upgrade" not in headers
        if is_shown and not is_own_name(asked, listening=self._service.host):
            raise _RefusedError(403, f"This service is for this machine alone: ask for localhost, not for {asked}")

    def cut(self) -> web.StreamResponse:
        """End the connection so that the client sees a reset, not a proper close."""
        self.is_cut = True
        transport = self.request.transport
        if transport is not None:
            connection = transport.get_extra_info("socket")
            with contextlib.suppress(OSError, AttributeError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        return web.Response(status=499)

    def is_client_gone(self) -> bool:
        return self.request.transport is None or self.request.transport.is_closing()


async def _answer(service: Service, work: _Work, record: RecordedRequest) -> web.StreamResponse:
    fault = record.fault or Fault()
    if fault.process:
        await work.do()
    if fault.action == ACTION_RESET:
        return work.cut()
    if fault.action == ACTION_HANG:
        await _hang(service, fault)
        if service.stopping or work.is_client_gone():
            return work.cut()
    if fault.delay:
        await asyncio.sleep(fault.delay)
    if fault.action == ACTION_ANSWER:
        response: web.StreamResponse = web.Response(status=fault.status, text=fault.body, headers=fault.headers)
    else:
        response = await work.do()
    if fault.drip and isinstance(response, web.Response):
        service.state.finish(record, response.status)
        return await _drip(work.request, response, fault.drip)
    return response


async def _hang(service: Service, fault: Fault) -> None:
    if service.stopping:
        return
    service.state.count("hanging", 1)
    try:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(service.gate.wait(), fault.seconds)
    finally:
        service.state.count("hanging", -1)


async def _drip(request: web.Request, response: web.Response, seconds: float) -> web.StreamResponse:
    body = response.body if isinstance(response.body, bytes) else b""
    stream = web.StreamResponse(status=response.status, headers=response.headers)
    stream.content_length = len(body)
    await stream.prepare(request)
    with contextlib.suppress(ConnectionError):
        for position in range(len(body)):
            await asyncio.sleep(seconds)
            await stream.write(body[position : position + 1])
        await stream.write_eof()
    return stream


# --- the endpoints -------------------------------------------------------------------------------------------------


class _Handlers:
    """One method an endpoint."""

    def __init__(self, service: Service, page: Page) -> None:
        self._service = service
        self._state = service.state
        self._page = page

    async def queue(self, request: web.Request, info: RequestInfo, record: RecordedRequest) -> web.StreamResponse:
        app_id = self._app_id(info)
        self._receive(check_batch(_body(info)), app_id, record)
        return _json({"status": "ok"})

    async def event(self, request: web.Request, info: RequestInfo, record: RecordedRequest) -> web.StreamResponse:
        app_id = self._app_id(info)
        kind = request.match_info.get("kind")
        body = _body(info)
        event = check_kind(body, kind) if kind is not None else check_event(body)
        made = self._receive([event], app_id, record)
        return _json([self._state.store.live_event(each) for each in made])

    async def identify(self, request: web.Request, info: RequestInfo, record: RecordedRequest) -> web.StreamResponse:
        app_id = self._app_id(info)
        body = check_identify(_body(info))
        return _json(self._state.user("identify", body, app_id=app_id, at=self._service.now(), record=record))

    async def alias(self, request: web.Request, info: RequestInfo, record: RecordedRequest) -> web.StreamResponse:
        app_id = self._app_id(info)
        body = check_alias(_body(info))
        try:
            return _json(self._state.user("alias", body, app_id=app_id, at=self._service.now(), record=record))
        except UnknownUserError as error:
            raise _RefusedError(400, str(error)) from None

    async def realtime(self, request: web.Request, info: RequestInfo, record: RecordedRequest) -> web.StreamResponse:
        app_id = self._app_id(info)
        return _json({"authorization_key": self._service.hub.authorize(app_id, info.query.get("session_id"))})

    async def live_events(self, request: web.Request, info: RequestInfo, record: RecordedRequest) -> web.StreamResponse:
        app_id = self._app_id(info)
        start, end = _instant(info, "start"), _instant(info, "end")
        limit = _whole(info, "limit", _LIVE_EVENTS_LIMIT)
        store = self._state.store
        found = store.generated_between(start, end, limit=limit, app_id=app_id)
        return _json([store.live_event(each) for each in found])

    async def root(self, request: web.Request, info: RequestInfo, record: RecordedRequest) -> web.StreamResponse:
        if info.headers.get("upgrade", "").lower() == "websocket":
            return await self._service.hub.serve(request)
        return await self._page.front(request)

    async def stats(self, request: web.Request, info: RequestInfo, record: RecordedRequest) -> web.StreamResponse:
        state, store = self._state, self._state.store
        totals = store.index.totals
        return _json(
            {
                "requests": state.request_count,
                "events": len(store.received),
                "live_events": len(store.generated),
                "listeners": state.readers,
                "users": len(store.users),
                "sessions": totals.sessions,
                "open_sessions": totals.open_sessions,
                "conversations": totals.conversations,
                "turns": totals.turns,
                "functions": totals.functions,
                "unknown_fields": state.unknown_fields,
            }
        )

    async def events(self, request: web.Request, info: RequestInfo, record: RecordedRequest) -> web.StreamResponse:
        after, limit = _whole(info, "after", 0), min(_whole(info, "limit", 1000), _PAGE_LIMIT)
        received = self._state.store.received
        page = received[after : after + limit]
        return _json({"total": len(received), "events": [received_record(each) for each in page]})

    async def sessions(self, request: web.Request, info: RequestInfo, record: RecordedRequest) -> web.StreamResponse:
        after, limit = _whole(info, "after", 0), min(_whole(info, "limit", 1000), _PAGE_LIMIT)
        sessions = list(self._state.store.sessions.values())
        page = sessions[after : after + limit]
        return _json({"total": len(sessions), "sessions": [session_summary(each) for each in page]})

    async def session(self, request: web.Request, info: RequestInfo, record: RecordedRequest) -> web.StreamResponse:
        session_id = unquote(request.match_info["session_id"])
        try:
            return _json(session_view(self._state.store.session(session_id, info.query.get("app_id"))))
        except LookupError as error:
            raise _RefusedError(404, str(error)) from None

    def _receive(self, events: list[dict[str, Any]], app_id: str, record: RecordedRequest) -> list[Generated]:
        made = self._state.receive(events, app_id=app_id, at=self._service.now(), record=record)
        self._service.hub.publish(partial(self._state.store.live_event, each) for each in made)
        self._service.watchers.wake()  # now, not when the request is over: a fault may hold its answer back
        return made

    def _app_id(self, info: RequestInfo) -> str:
        """The project that the request is for, if its key may have it."""
        key = bearer(info.headers.get("authorization", ""))
        if not key:
            raise _RefusedError(401, "Unauthorized: No apikey given")
        if key == REFUSED_KEY or self._service.api_key not in (None, key):
            raise _RefusedError(403, "Unauthorized: No organization found for given apikey")
        app_id = info.headers.get("x-app-id", "").strip()
        if not app_id:
            raise _RefusedError(401, "Unauthorized: No X-App-ID given")
        return app_id


def _body(info: RequestInfo) -> Any:
    try:
        return orjson.loads(info.body)
    except orjson.JSONDecodeError as error:
        raise _RefusedError(400, f"Invalid JSON: {error}") from None


def _instant(info: RequestInfo, name: str) -> int:
    try:
        return instant_of(info.query[name])
    except KeyError:
        raise _RefusedError(400, f"Invalid request: {name}: Field required") from None
    except ValueError as error:
        raise _RefusedError(400, f"Invalid request: {name}: {error}") from None


def _whole(info: RequestInfo, name: str, default: int) -> int:
    text = info.query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise _RefusedError(400, f"Invalid request: {name}: must be a whole number")
    return int(text)
