"""A page's version changes when, and only when, the page may look different."""

from __future__ import annotations

from support.wire import AT, store_of, turn

from mlsdk.local.faults import Faults
from mlsdk.local.page.versions import session_version, version_of
from mlsdk.local.state import RequestInfo, Script, State
from mlsdk.local.store import Store


def state_of(store: Store) -> State:
    return State(store=store, script=Script(Faults([], random=lambda: 0.0)))


def request(state: State, number: int = 1) -> RequestInfo:
    return RequestInfo(number, "POST", "/bc/v1/events/queue", {}, {}, b"")


def test_an_event_is_news_for_the_overview_and_for_its_own_session() -> None:
    state = state_of(store_of(turn(session_id="one"), turn(session_id="two")))
    before = (
        version_of(state, now=AT),
        session_version(state, "one", None),
        session_version(state, "two", "app"),
        session_version(state, "three", "app"),
    )
    state.receive([turn(session_id="one")], app_id="app", at=AT, record=state.begin(request(state)))

    assert version_of(state, now=AT) != before[0]
    assert session_version(state, "one", None) != before[1]
    assert session_version(state, "two", "app") == before[2]
    assert session_version(state, "three", "app") == before[3]


def test_refusals_users_minutes_and_a_new_beginning_are_news() -> None:
    state = state_of(Store(instance="first"))
    seen = [version_of(state, now=AT)]
    state.finish(state.begin(request(state)), 400, refusal="no")
    seen.append(version_of(state, now=AT))
    state.user("identify", {"id": "ann"}, app_id="app", at=AT, record=state.begin(request(state)))
    seen.append(version_of(state, now=AT))
    seen.append(version_of(state, now="2025-06-01T12:01:00Z"))
    state.clear(Store(instance="second"))
    seen.append(version_of(state, now=AT))

    assert len(set(seen)) == len(seen)
    assert version_of(state, now="2025-06-01T12:00:59Z") == seen[-1]
