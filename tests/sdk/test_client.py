"""The client: users outside of sessions, waiting for everything, live events of a project, and the object itself."""

from __future__ import annotations

import asyncio
import copy
import logging
import pickle
import sys
import threading
import time
import types
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from support import child
from support.sdk import KEY, PATIENCE, Told, client_of, names, sync_client_of

import mlsdk.client
from mlsdk import Client, ConfigurationError, DeliveryError, InvalidEventError, LiveError, MLEvent
from mlsdk.local import Fault, LocalMindlytics
from mlsdk.waiting import run_blocking

WHOLE = ["start_session", "Conversation Started", "Conversation Turn", "Conversation Ended", "end_session"]


async def converse(client: Client, **arguments: Any) -> None:
    async with client.create_session(device_id="d", **arguments) as session:
        await session.track_conversation_turn(user="Hello", assistant="Hi")


# -- users ------------------------------------------------------------------------------------------------------------


def test_identify_sends_what_it_was_given(service: LocalMindlytics) -> None:
    bodies: list[Any] = []
    service.on_request(lambda request: bodies.append(request.json))

    async def main() -> None:
        client = client_of(service)
        await client.user_identify(id="jj", device_id="d", traits={"plan": "free", "odd": "\ud83d"})
        await client.user_identify(device_id="d", traits={})
        await client.user_alias(id="kk", previous_id="jj")

    asyncio.run(main())

    assert [request.path for request in service.requests] == [
        "/bc/v1/user/identify",
        "/bc/v1/user/identify",
        "/bc/v1/user/alias",
    ]
    assert bodies == [
        {"id": "jj", "device_id": "d", "traits": {"plan": "free", "odd": "\ufffd"}},
        {"device_id": "d"},
        {"id": "kk", "previous_id": "jj"},
    ]


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda client: client.user_identify(), "device_id"),
        (lambda client: client.user_identify(id=""), "id"),
        (lambda client: client.user_identify(device_id="d" * 101), "device_id"),
        (lambda client: client.user_identify(id=5), "id"),
        (lambda client: client.user_identify(id="jj", traits={"k": None}), "k"),
        (lambda client: client.user_identify(id="jj", traits=[1]), "traits"),
        (lambda client: client.user_alias(id="", previous_id="jj"), "id"),
        (lambda client: client.user_alias(id="jj", previous_id=None), "previous_id"),
    ],
)
def test_a_wrong_argument_is_refused_at_the_call(
    service: LocalMindlytics, call: Callable[[Client], Awaitable[None]], named: str
) -> None:
    async def main() -> None:
        with pytest.raises(InvalidEventError) as problem:
            await call(client_of(service))
        assert problem.value.argument == named

    asyncio.run(main())

    assert service.requests == []


def test_a_refusal_is_raised_with_its_status_and_text(service: LocalMindlytics) -> None:
    async def main() -> None:
        with pytest.raises(DeliveryError) as problem:
            await client_of(service, api_key="bad_key").user_identify(id="jj")
        assert problem.value.status == 403
        assert problem.value.message == "Unauthorized: No organization found for given apikey"

    asyncio.run(main())


@pytest.mark.timed
@pytest.mark.parametrize("outage", ["refused", "silent"])
def test_no_answer_is_raised_in_time(service: LocalMindlytics, monkeypatch: pytest.MonkeyPatch, outage: str) -> None:
    monkeypatch.setattr("mlsdk.httpclient.ANSWER_WITHIN", 1.0)
    if outage == "refused":
        service.close_port()
    else:
        service.plan(Fault.hang(), path="/bc/v1/user")

    async def main() -> None:
        began = time.monotonic()
        with pytest.raises(DeliveryError) as problem:
            await client_of(service).user_identify(id="jj")
        assert problem.value.status == -1
        assert time.monotonic() - began < 4

    asyncio.run(main())


def test_what_passes_is_tried_again(service: LocalMindlytics) -> None:
    service.fail_next(503, headers={"Retry-After": "0"}, path="/bc/v1/user")

    asyncio.run(client_of(service).user_identify(id="jj"))

    assert [request.status for request in service.requests] == [503, 200]


def test_users_can_be_told_of_without_a_loop(service: LocalMindlytics) -> None:
    run_blocking(client_of(service).user_identify(id="jj"))

    assert [request.status for request in service.requests] == [200]


# -- waiting ----------------------------------------------------------------------------------------------------------


def test_flush_waits_for_all_sessions(service: LocalMindlytics) -> None:
    async def main() -> None:
        client = client_of(service)
        sessions = [client.create_session(device_id="d") for _ in range(5)]
        for session in sessions:
            await session.track_event(event="Seen")
        await client.flush()
        assert service.received == 10
        await client.close()

    asyncio.run(main())


@pytest.mark.timed
def test_flush_returns_after_its_timeout(service: LocalMindlytics) -> None:
    service.plan(Fault.hang())

    async def main() -> None:
        client = client_of(service)
        await client.create_session(session_id="s").track_event(event="Seen")
        began = time.monotonic()
        await client.flush(0.1)
        assert 0.1 <= time.monotonic() - began < 5
        service.release()
        await client.flush()
        assert service.received == 1

    asyncio.run(main())


def test_flush_without_events_returns_at_once(service: LocalMindlytics) -> None:
    asyncio.run(client_of(service).flush())

    assert service.requests == []


def test_a_context_closes_the_client_also_when_it_fails(service: LocalMindlytics) -> None:
    async def main() -> None:
        async with client_of(service) as client:
            session = client.create_session(device_id="d")
            await session.track_conversation_turn(user="Hello", assistant="Hi")
            raise ValueError("the application's own")

    with pytest.raises(ValueError, match="own"):
        asyncio.run(main())

    assert names(service.events()) == WHOLE


@pytest.mark.timed
@pytest.mark.parametrize("api", ["async", "sync"])
def test_whoever_leaves_a_clients_context_to_be_gone_is_not_held_up(service: LocalMindlytics, api: str) -> None:
    """The ends are recorded all the same."""
    service.plan(Fault.hang())

    async def main() -> None:
        async with client_of(service) as client:
            await client.create_session(device_id="d").track_event(event="Seen")
            await client.start_listening(on_event=lambda event: None)
            raise KeyboardInterrupt

    def without_a_loop() -> None:
        with sync_client_of(service) as client:
            client.create_session(device_id="d").track_event(event="Seen")
            client.start_listening(on_event=lambda event: None)
            raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main()) if api == "async" else without_a_loop()
    assert time.monotonic() - began < 5
    service.wait_for(lambda service: service.hanging)
    service.release()
    service.wait_for(lambda service: names(service.events())[-1:] == ["end_session"])
    service.wait_for(lambda service: service.readers == 0)


def test_a_client_may_be_closed_twice_and_used_after(service: LocalMindlytics) -> None:
    async def main() -> None:
        client = client_of(service)
        await client.close()
        await client.close()
        await converse(client)

    asyncio.run(main())

    assert names(service.events()) == WHOLE


def test_a_client_may_be_closed_while_sessions_are_made() -> None:
    client = Client(api_key=KEY, project_id="p1", enabled=False)
    before = sys.getswitchinterval()
    stop = threading.Event()

    def make() -> None:
        while not stop.is_set():
            made = [client.create_session(device_id="d") for _ in range(50)]
            del made

    threads = [threading.Thread(target=make) for _ in range(2)]
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for _ in range(200):
            run_blocking(client.close())
    finally:
        stop.set()
        sys.setswitchinterval(before)
        for thread in threads:
            thread.join()


def test_the_ledger_adds_up(service: LocalMindlytics) -> None:
    service.on_request(
        lambda request: Fault.answer(400) if any(e.get("event") == "Bad" for e in request.events) else None
    )

    async def main() -> None:
        client = client_of(service)
        async with client.create_session(device_id="d") as session:
            await session.track_event(event="Bad")
            await session.track_event(event="Good")
        assert client.stats() == {
            "accepted": 4,
            "recovered": 0,
            "delivered": 3,
            "queued": 0,
            "spooled": 0,
            "handed_over": 0,
            "dropped": {"refused": 1},
        }

    asyncio.run(main())


# -- shared ground ----------------------------------------------------------------------------------------------------


def test_a_client_a_request_leaks_no_thread(service: LocalMindlytics) -> None:
    async def main() -> None:
        await converse(client_of(service))
        before = set(threading.enumerate())
        for _ in range(50):
            await converse(client_of(service))
        assert set(threading.enumerate()) == before

    asyncio.run(main())

    connections = {request.headers.get("x-app-id") for request in service.requests}
    assert (connections, service.received) == ({"p1"}, 51 * len(WHOLE))


def test_clients_of_one_project_share_a_ledger_and_others_do_not(service: LocalMindlytics) -> None:
    async def main() -> None:
        await converse(client_of(service))
        assert client_of(service).stats()["delivered"] == len(WHOLE)
        for other in ({"project_id": "p2"}, {"api_key": "another"}):
            assert client_of(service, **other).stats()["delivered"] == 0

    asyncio.run(main())


def test_each_client_keeps_its_own_hook(service: LocalMindlytics) -> None:
    async def main() -> None:
        quiet = client_of(service, before_send=lambda event: None)
        await converse(quiet)
        assert service.events() == []
        await converse(client_of(service))

    asyncio.run(main())

    assert names(service.events()) == WHOLE


def test_a_hook_may_be_named_by_the_environment(service: LocalMindlytics, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("some_hooks")
    module.hook = lambda event: None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "some_hooks", module)
    monkeypatch.setenv("MLSDK_BEFORE_SEND", "some_hooks:hook")
    asyncio.run(converse(client_of(service)))
    assert service.events() == []


@pytest.mark.parametrize("path", ["nosuch:hook", "json", "json:nosuch", "json:__name__", "asyncio:sleep"])
def test_without_the_hook_that_the_environment_names_nothing_is_sent(
    monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setenv("MLSDK_BEFORE_SEND", path)
    with pytest.raises(ConfigurationError, match="MLSDK_BEFORE_SEND"):
        Client(api_key=KEY, project_id="p1")


# -- live events of all sessions --------------------------------------------------------------------------------------


def test_listening_to_all_sessions(service: LocalMindlytics) -> None:
    heard: list[MLEvent] = []

    async def main() -> None:
        client = client_of(service)
        done = asyncio.Event()

        async def on_event(event: MLEvent) -> None:
            heard.append(event)
            if sum(each.event == "Session Ended" for each in heard) == 2:
                done.set()

        await client.start_listening(on_event=on_event)
        await converse(client, session_id="one")
        await converse(client, session_id="two")
        await asyncio.wait_for(done.wait(), PATIENCE)
        await client.stop_listening()
        await client.stop_listening()
        await service.wait_for_async(lambda service: service.readers == 0)

    asyncio.run(main())

    assert {event.session_id for event in heard} == {"one", "two"}
    assert next(event.event for event in heard if event.session_id == "one") == "Session Started"


def test_listening_again_replaces_the_listener(service: LocalMindlytics) -> None:
    async def main() -> None:
        async with client_of(service) as client:
            await client.start_listening(on_event=lambda event: None)
            await client.start_listening(on_event=lambda event: None, on_error=Told())
            await service.wait_for_async(lambda service: service.readers == 1)
        await service.wait_for_async(lambda service: service.readers == 0)

    asyncio.run(main())


def test_listening_with_a_refused_key_is_raised(service: LocalMindlytics) -> None:
    async def main() -> None:
        client = client_of(service, api_key="bad_key")
        with pytest.raises(LiveError) as problem:
            await client.start_listening(on_event=lambda event: None)
        assert problem.value.status == 403
        await client.stop_listening()

    asyncio.run(main())


@pytest.mark.timed
def test_listening_to_a_service_that_is_down_hangs_nobody(service: LocalMindlytics) -> None:
    service.close_port()

    async def main() -> None:
        client = client_of(service)
        began = time.monotonic()
        await client.start_listening(on_event=lambda event: None)
        await client.stop_listening()
        assert time.monotonic() - began < 10

    asyncio.run(main())


# -- the object -------------------------------------------------------------------------------------------------------


def test_a_client_shows_its_project_and_address_and_no_key(service: LocalMindlytics) -> None:
    client = client_of(service)

    assert repr(client) == f"<Client of project 'p1' at {service.url}>"
    assert KEY not in f"{client!r} {client}"
    assert (client.project_id, client.server_endpoint, client.wss_endpoint) == ("p1", service.url, service.ws_url)
    assert (client.enabled, client.debug) == (True, False)


@pytest.mark.parametrize("take", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_client_cannot_be_pickled_or_copied(service: LocalMindlytics, take: Callable[[object], object]) -> None:
    with pytest.raises(TypeError, match="make one"):
        take(client_of(service))


def test_arguments_may_be_given_by_place_as_ever(service: LocalMindlytics) -> None:
    client = Client("k", "p2", service.url, service.ws_url, False)

    assert (client.project_id, client.server_endpoint) == ("p2", service.url)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"api_key": None}, "api_key.*MLSDK_API_KEY"),
        ({"project_id": None}, "project_id.*MLSDK_PROJECT_ID"),
        ({"before_send": "mask"}, "before_send"),
        ({"spool_dir": 7}, "spool_dir"),
        ({"spool_mode": "often"}, "spool_mode.*MLSDK_SPOOL_MODE"),
        ({"spool_bytes": -1}, "spool_bytes"),
        ({"spool_window": float("nan")}, "spool_window"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        Client(**{"api_key": KEY, "project_id": "p1", **arguments})


def test_a_hook_must_be_a_plain_function() -> None:
    async def hook(event: dict[str, Any]) -> dict[str, Any]:
        return event

    with pytest.raises(ConfigurationError, match="before_send"):
        Client(api_key=KEY, project_id="p1", before_send=hook)  # type: ignore[arg-type]


def test_the_other_distribution_of_this_name_is_warned_of_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, service: LocalMindlytics
) -> None:
    monkeypatch.setattr(mlsdk.client, "_warned", [])
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1.0.5")

    with caplog.at_level(logging.WARNING, logger="mlsdk"):
        client_of(service)
        client_of(service)

    (record,) = caplog.records
    assert "pip uninstall mlsdk-python" in record.getMessage()


def test_a_program_of_mlsdk_python_runs_unchanged(service: LocalMindlytics) -> None:
    """The calls that its version 1.0.5 has and this description does not."""
    program = """
        import asyncio
        from mlsdk import Client, MLEvent
        from mlsdk.types import TokenBasedCost, Cost, TurnPropertiesModel

        async def main():
            client = Client(api_key="key", project_id="p1", debug=False)
            heard = []

            async def on_event(event: MLEvent):
                heard.append(event.event)

            async def on_error(error: Exception):
                print(error)

            await client.start_listening(on_event=on_event, on_error=on_error)
            session = client.create_session(
                session_id="s", conversation_id="c", id="jj", device_id="d", attributes={"a": 1}, on_error=on_error
            )
            await session.start_session(attributes={"b": 2})
            await session.start_conversation(conversation_id="c")
            await session.track_conversation_turn(
                user="Hello", assistant="Hi", usage=TokenBasedCost(model="m", prompt_tokens=1, completion_tokens=2)
            )
            await session.flush_and_continue()
            await session.track_conversation_usage(cost=Cost(cost=0.5))
            await session.end_conversation(conversation_id="c")
            await session.flush()
            await session.end_session()
            await client.stop_listening()

        asyncio.run(main())
        """
    result = child.run(program, flags=["-W", "error"], env=service.environment)

    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert names(service.events("s")) == [*WHOLE[:3], "Conversation Usage", *WHOLE[3:]]
    assert service.events("s")[0]["attributes"] == {"a": 1, "b": 2}


def test_a_finalizer_or_signal_handler_may_make_a_session_while_one_is_made(service: LocalMindlytics) -> None:
    """At any line: a lock that is not for who holds it already would never be had."""
    client = sync_client_of(service)
    lines: set[int] = set()

    def interrupt(frame: types.FrameType, kind: str, _: object) -> Any:
        if frame.f_code.co_filename != mlsdk.client.__file__:
            return None
        if kind == "line" and frame.f_lineno not in lines:
            lines.add(frame.f_lineno)
            sys.settrace(None)
            client.create_session(device_id="d")
            sys.settrace(interrupt)
        return interrupt

    def make() -> None:
        sys.settrace(interrupt)
        client.create_session(device_id="d")
        client.close(PATIENCE)
        sys.settrace(None)

    thread = threading.Thread(target=make, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert len(lines) > 10
