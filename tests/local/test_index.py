"""The index says what a long look at the store would say."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from support.wire import AT, end, function, send, start, store_of, track, turn, usage

from mlsdk.local.index import MINUTES_KEPT, Index, names_of
from mlsdk.local.store import Store


def ids(entries: list[Any]) -> list[str]:
    return [entry.session.session_id for entry in entries]


EVENTS = st.builds(
    lambda make, session, conversation: make(f"s{session}", f"c{conversation}"),
    st.sampled_from(
        [
            lambda session, _: start(session),
            lambda session, _: end(session),
            lambda session, conversation: turn("x", session, conversation, model="m", prompt_tokens=2),
            lambda session, conversation: usage(session, conversation, cost=0.5),
            lambda session, conversation: function("f", session, conversation),
            lambda session, conversation: track("Conversation Started", session, conversation),
            lambda session, conversation: track("Conversation Ended", session, conversation),
            lambda session, conversation: track("Session Ended", session, conversation),
            lambda session, _: {"type": "alias", "session_id": session, "id": "new", "previous_id": "unknown"},
        ]
    ),
    st.integers(0, 3),
    st.integers(0, 2),
)


@given(st.lists(EVENTS, max_size=40))
def test_sums_are_what_counting_gives(events: list[dict[str, Any]]) -> None:
    store = store_of(*events)
    totals, sessions = store.index.totals, list(store.sessions.values())
    conversations = [each for session in sessions for each in session.conversations.values()]

    assert [entry.session for entry in store.index.entries] == sessions
    assert totals.sessions == len(sessions)
    assert totals.open_sessions == sum(session.ended_at is None for session in sessions)
    assert totals.conversations == len(conversations)
    assert totals.turns == sum(each.turns for each in conversations)
    assert totals.functions == sum(each.functions for each in conversations)
    assert totals.errors == sum(made.name == "MLError" for made in store.generated)
    assert totals.errors == sum(entry.errors for entry in store.index.entries) == len(store.index.errors)
    assert sum(used.tokens for used in store.index.models.values()) == sum(
        each.prompt_tokens + each.completion_tokens for each in conversations
    )
    assert sum(used.cost for used in store.index.models.values()) == sum(each.cost for each in conversations)
    assert sum(store.index.turns_by_minute.values()) == totals.turns


def test_sessions_are_found_by_id_project_and_whoever_was_seen_in_them() -> None:
    store = store_of(
        start("one", id="ann", device_id="laptop"),
        start("two", device_id="laptop"),
        {"type": "identify", "session_id": "two", "id": "bob"},
        {**turn("x", "three"), "user_id": "ann"},
    )
    send(store, start("one", id="eve"), project="other")
    index = store.index

    assert [entry.session.app_id for entry in index.with_id("one")] == ["app", "other"]
    assert ids(index.in_project("app")) == ["one", "two", "three"]
    assert ids(index.used_by(["ann"])) == ["one", "three"]
    assert ids(index.used_by(["bob", "laptop"])) == ["one", "two"]
    assert index.used_by(["nobody"]) == index.with_id("none") == index.in_project("none") == []
    assert index.find("app", "three") is index.entries[2]
    assert index.find("none", "three") is None
    assert sorted(index.names_with("A")) == ["ann", "laptop"]
    assert index.projects == {"app": 3, "other": 1}


def test_an_identifier_field_that_an_app_added_is_nobodys_name() -> None:
    store = store_of({**track("Order Placed", "s"), "id": 7})

    assert store.index.names_with("7") == []


def test_usage_without_a_model_is_kept_apart_and_no_usage_is_no_model() -> None:
    models = store_of(turn(), turn(cost=0.25), usage(model="m", prompt_tokens=1, completion_tokens=2)).index.models

    assert {name: (used.reports, used.tokens, used.cost) for name, used in models.items()} == {
        "": (1, 0, 0.25),
        "m": (1, 3, 0.0),
    }


def test_an_error_is_found_by_the_event_that_caused_it() -> None:
    store = store_of(start(), {"type": "alias", "session_id": "s", "id": "new", "previous_id": "gone"})

    assert store.index.errors == {2: "No user found for previous_id: gone"}


def test_minutes_are_bounded() -> None:
    index = Index()
    minutes = [f"minute {number}" for number in range(3 * MINUTES_KEPT)]
    for minute in minutes:
        index._note_minute(minute)

    assert MINUTES_KEPT <= len(index.turns_by_minute) <= 2 * MINUTES_KEPT
    assert list(index.turns_by_minute) == minutes[-len(index.turns_by_minute) :]


def test_a_user_is_known_by_all_names() -> None:
    store = Store(instance="test")
    store.identify({"id": "ann", "device_id": "laptop"}, app_id="app", at=AT)
    store.alias({"id": "ann@example.com", "previous_id": "ann"}, app_id="app")
    user = store.users.find("app", id="ann")

    assert user is not None
    assert names_of(user) == ["ann@example.com", "ann", "laptop"]
