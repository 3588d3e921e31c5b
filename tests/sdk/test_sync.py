"""The same API without `await`: every method, in threads, without a loop, and inside of one."""

from __future__ import annotations

import asyncio
import inspect
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest
from support.sdk import KEY, client_of, names, normal, sync_client_of

import mlsdk.sync
from mlsdk import Client, DeliveryError, InvalidEventError, MLEvent, Session, SessionClosedError
from mlsdk.local import LocalMindlytics

WHOLE = ["start_session", "Conversation Started", "Conversation Turn", "Conversation Ended", "end_session"]


def public(owner: type) -> set[str]:
    return {name for name in dir(owner) if not name.startswith("_")}


def signature(owner: type, name: str) -> list[tuple[str, Any, Any]]:
    parameters = inspect.signature(getattr(owner, name)).parameters.values()
    return [(parameter.name, parameter.kind, parameter.default) for parameter in parameters]


# -- the same API -----------------------------------------------------------------------------------------------------


def test_nothing_is_missing() -> None:
    # `abandon` is for the package itself.
    assert public(mlsdk.sync.Session) | {"abandon"} == public(Session) | {"project_id"}
    assert public(mlsdk.sync.Client) == public(Client)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(mlsdk.sync.Session, Session), (mlsdk.sync.Client, Client)],
)
def test_every_method_takes_the_same_arguments_and_none_is_a_coroutine(ours: type, theirs: type) -> None:
    for name in public(ours):
        method = getattr(theirs, name, None)
        if not callable(method):
            continue
        assert signature(ours, name) == signature(theirs, name), name
        assert not inspect.iscoroutinefunction(inspect.unwrap(getattr(ours, name), stop=lambda f: True)), name


def test_what_can_be_set_can_be_set_here_too() -> None:
    def settable(owner: type) -> set[str]:
        return {name for name in public(owner) if getattr(getattr(owner, name, None), "fset", None) is not None}

    assert settable(mlsdk.sync.Session) == settable(Session) == {"id", "device_id"}
    assert settable(mlsdk.sync.Client) == settable(Client)


def test_later_events_carry_ids_that_are_set(service: LocalMindlytics) -> None:
    with sync_client_of(service) as client, client.create_session(device_id="d") as session:
        session.id, session.device_id = "jj", "e"
        session.track_event(event="Seen")
        with pytest.raises(InvalidEventError, match="id"):
            session.id = ""
        assert (session.id, session.device_id) == ("jj", "e")
    assert [(event.get("user_id"), event["device_id"]) for event in service.events()] == [
        (None, "d"),
        ("jj", "e"),
        ("jj", "e"),
    ]


def test_all_is_what_is_public() -> None:
    assert mlsdk.sync.__all__ == ["Client", "Session"]


def test_a_whole_session_under_full_control(service: LocalMindlytics) -> None:
    with sync_client_of(service) as client:
        session = client.create_session(device_id="d", attributes={"a": 1})
        assert (session.session_id, session.conversation_id, session.id) == (None, None, None)
        session_id = session.start_session(timestamp="2025-04-03T07:35:10Z")
        session.user_identify(id="jj", traits={"plan": "free"})
        session.user_alias(id="kk", previous_id="jj")
        conversation_id = session.start_conversation()
        session.track_event(event="Seen", properties={"n": 1})
        session.track_conversation_turn(user="u", assistant="a")
        session.track_conversation_usage(cost={"cost": 1.5})
        session.track_function_call(name="f", runtime=3)
        session.flush()
        session.flush_and_continue()
        assert service.received == 8
        assert (session.session_id, session.conversation_id) == (session_id, conversation_id)
        assert (session.id, session.device_id, session.project_id) == ("kk", "d", "p1")
        session.end_conversation()
        session.end_session(attributes={"resolved": True})
        assert (session.errors, session.has_errors(), session.get_errors()) == (0, False, [])
        with pytest.raises(SessionClosedError):
            session.track_event(event="Seen")
        assert client.stats()["delivered"] == 10

    assert names(normal(service.events())) == [
        *("start_session", "identify", "alias", "Conversation Started", "Seen", "Conversation Turn"),
        *("Conversation Usage", "Conversation Function", "Conversation Ended", "end_session"),
    ]


def test_contexts(service: LocalMindlytics) -> None:
    with sync_client_of(service).create_session(device_id="d") as session:
        session.track_conversation_turn(user="u", assistant="a")

    assert names(service.events()) == WHOLE
    with sync_client_of(service).create_session(session_id="joined", conversation_id="c", join=True) as session:
        session.track_conversation_turn(user="u", assistant="a")
    assert names(service.events("joined")) == ["Conversation Turn"]


def test_leaving_the_clients_context_ends_what_is_open(service: LocalMindlytics) -> None:
    with sync_client_of(service) as client:
        session = client.create_session(device_id="d")
        session.track_conversation_turn(user="u", assistant="a")

    assert names(service.events()) == WHOLE


def test_the_applications_exception_gets_out(service: LocalMindlytics) -> None:
    def chat() -> None:
        with sync_client_of(service).create_session(device_id="d") as session:
            session.track_conversation_turn(user="u", assistant="a")
            raise KeyError("the application's own")

    with pytest.raises(KeyError):
        chat()
    assert names(service.events()) == WHOLE


def test_a_wrong_argument_is_refused_at_the_call(service: LocalMindlytics) -> None:
    session = sync_client_of(service).create_session(device_id="d")

    with pytest.raises(InvalidEventError, match="nested"):
        session.track_event(event="Seen", properties={"nested": {}})  # type: ignore[dict-item]
    with pytest.raises(TypeError, match="event"):
        session.track_event()  # type: ignore[call-arg]
    session.end_session()
    assert service.requests == []


def test_users_outside_of_sessions(service: LocalMindlytics) -> None:
    client = sync_client_of(service)
    client.user_identify(id="jj", traits={"plan": "free"})
    client.user_alias(id="kk", previous_id="jj")

    with pytest.raises(DeliveryError) as problem:
        client.user_alias(id="mm", previous_id="nobody")
    assert problem.value.status == 400


def test_live_events(service: LocalMindlytics) -> None:
    heard: list[str] = []
    client = sync_client_of(service)

    def on_event(event: MLEvent) -> None:
        heard.append(event.event)

    with client.create_session(device_id="d", on_event=on_event) as session:
        session.track_conversation_turn(user="u", assistant="a")
    assert (heard[0], heard[-1]) == ("Session Started", "Session Ended")

    client.start_listening(on_event=on_event)
    service.wait_for(lambda service: service.readers == 1)
    client.stop_listening()
    service.wait_for(lambda service: service.readers == 0)


# -- where it is used -------------------------------------------------------------------------------------------------


def test_it_works_inside_a_running_loop(service: LocalMindlytics) -> None:
    async def main() -> None:
        with sync_client_of(service).create_session(device_id="d") as session:
            session.track_conversation_turn(user="u", assistant="a")
        assert names(service.events()) == WHOLE

    asyncio.run(main())


def test_one_client_in_many_threads(service: LocalMindlytics) -> None:
    client = sync_client_of(service)

    def chat(number: int) -> None:
        with client.create_session(session_id=f"s{number}", device_id="d") as session:
            session.track_conversation_turn(user=f"{number}", assistant="a")

    threads = [threading.Thread(target=chat, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for number in range(8):
        assert names(service.events(f"s{number}")) == WHOLE


def test_both_apis_share_one_ledger(service: LocalMindlytics) -> None:
    with sync_client_of(service).create_session(device_id="d"):
        pass

    assert client_of(service).stats()["delivered"] == 2


# -- the objects ------------------------------------------------------------------------------------------------------


def test_they_show_what_the_others_show(service: LocalMindlytics) -> None:
    client = sync_client_of(service)

    assert repr(client) == repr(client_of(service))
    assert repr(client.create_session(session_id="s")) == "<Session s, not started>"
    assert KEY not in repr(client)
    assert (client.project_id, client.server_endpoint, client.wss_endpoint) == ("p1", service.url, service.ws_url)
    assert (client.enabled, client.debug) == (True, False)


@pytest.mark.parametrize("make", [lambda client: client, lambda client: client.create_session(device_id="d")])
def test_they_cannot_be_pickled(service: LocalMindlytics, make: Callable[[mlsdk.sync.Client], object]) -> None:
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(make(sync_client_of(service)))
