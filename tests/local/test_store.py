"""What a received event changes, and which live events it causes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsdk.local.records import Generated
from mlsdk.local.store import Store, instant_of
from mlsdk.local.users import UnknownUserError
from mlsdk.local.views import session_view

AT = "2025-06-01T12:00:00Z"


def send(store: Store, *events: dict[str, Any], app_id: str = "app") -> list[Generated]:
    made = []
    for event in events:
        made += store.receive(dict(event), app_id=app_id, at=AT)
    return made


def names(made: list[Generated]) -> list[str]:
    return [each.name for each in made]


def start(**fields: Any) -> dict[str, Any]:
    return {"type": "start_session", "session_id": "s", "id": "jj", **fields}


def end(**fields: Any) -> dict[str, Any]:
    return {"type": "end_session", "session_id": "s", **fields}


def track(event: str, conversation_id: str | None = "c", **fields: Any) -> dict[str, Any]:
    named = {} if conversation_id is None else {"conversation_id": conversation_id}
    return {"type": "track", "event": event, "session_id": "s", **named, **fields}


def turn(text: str = "hello", conversation_id: str = "c", **properties: Any) -> dict[str, Any]:
    return track("Conversation Turn", conversation_id, properties={"user": text, "assistant": "hi", **properties})


@pytest.fixture
def store() -> Store:
    return Store(instance="test")


def test_a_whole_session(store: Store) -> None:
    made = send(
        store,
        start(attributes={"plan": "free"}),
        track("Conversation Started", properties={"topic": "orders"}),
        turn(model="m", prompt_tokens=3, completion_tokens=4),
        track("Conversation Usage", properties={"cost": 0.5}),
        track("Conversation Function", properties={"name": "find", "runtime": 9}),
        track("Order Placed", None, properties={"total": 7}),
        track("Conversation Ended", properties={"solved": True}),
        end(attributes={"rating": 5}),
    )

    assert names(made) == [
        "Session Started",
        "Conversation Started",
        "Conversation Turn",
        "Conversation Usage",
        "Conversation Function",
        "Order Placed",
        "Conversation Summary",
        "Conversation Ended",
        "Session Ended",
    ]
    messages = [store.live_event(each) for each in made]
    assert messages[0] == {
        "organization_id": "local",
        "app_id": "app",
        "session_id": "s",
        "user_id": "jj",
        "event_id": "live_test_1",
        "origin_event_id": "event_test_1",
        "timestamp": AT,
        "event": "Session Started",
        "properties": {"plan": "free"},
    }
    assert messages[6]["properties"] == {
        "summary": "1 turn, 1 function call",
        "turns": 1,
        "functions": 1,
        "prompt_tokens": 3,
        "completion_tokens": 4,
        "cost": 0.5,
    }
    assert [message["properties"] for message in messages[7:]] == [
        {"topic": "orders", "solved": True},
        {"plan": "free", "rating": 5},
    ]
    assert messages[6]["origin_event_id"] == messages[7]["origin_event_id"] == "event_test_7"
    view = session_view(store.session("s"))
    assert not view.is_open
    assert view.attributes == {"plan": "free", "rating": 5}
    assert view.conversation("c").properties == {"topic": "orders", "solved": True}


def test_an_event_of_an_unknown_session_makes_it_and_its_conversation(store: Store) -> None:
    made = send(store, {**turn(), "device_id": "phone"})

    assert names(made) == ["Session Started", "Conversation Started", "Conversation Turn"]
    assert {each.user_id for each in made} == {"phone"}


def test_the_end_of_a_session_ends_its_open_conversations_only(store: Store) -> None:
    send(store, start(), turn(conversation_id="a"), turn(conversation_id="b"))
    send(store, track("Conversation Ended", "a"))

    made = send(store, end(timestamp="2025-06-01T13:00:00Z"))

    assert [(each.name, each.conversation_id) for each in made] == [
        ("Conversation Summary", "b"),
        ("Conversation Ended", "b"),
        ("Session Ended", None),
    ]
    assert {each.timestamp for each in made} == {"2025-06-01T13:00:00Z"}


def test_an_event_after_the_end_opens_session_and_conversation_again(store: Store) -> None:
    send(store, start(), turn("one"), end())

    made = send(store, turn("two"))

    assert [(each.name, (each.properties or {}).get("reopened")) for each in made] == [
        ("Session Started", True),
        ("Conversation Started", True),
        ("Conversation Turn", None),
    ]
    view = session_view(store.session("s"))
    assert view.is_open
    assert [each.user for each in view.turns] == ["one", "two"]
    assert names(send(store, end())) == ["Conversation Summary", "Conversation Ended", "Session Ended"]


def test_ends_that_come_twice_change_nothing(store: Store) -> None:
    send(store, start(), turn(), track("Conversation Ended"), end())

    assert send(store, track("Conversation Ended"), end()) == []
    assert not session_view(store.session("s")).is_open


def test_the_end_of_an_unknown_conversation_makes_one_without_turns(store: Store) -> None:
    made = send(store, start(), track("Conversation Ended"))

    assert names(made)[1:] == ["Conversation Started", "Conversation Summary", "Conversation Ended"]


def test_an_apps_own_event_makes_no_conversation_and_opens_none(store: Store) -> None:
    send(store, start(), turn(), track("Conversation Ended"))

    made = send(store, track("Rated", "c"), track("Rated", "unknown"))

    assert [(each.name, each.conversation_id) for each in made] == [("Rated", "c"), ("Rated", "unknown")]
    view = session_view(store.session("s"))
    assert [each.conversation_id for each in view.conversations] == ["c"]
    assert not view.conversation("c").is_open
    assert [each.event for each in view.conversation("c").events] == ["Rated"]
    assert [each.conversation_id for each in view.events] == ["c", "unknown"]


def test_a_second_start_merges_attributes(store: Store) -> None:
    made = send(store, start(attributes={"a": 1, "b": 1}), start(attributes={"b": 2}))

    assert names(made) == ["Session Started"]
    assert store.session("s").attributes == {"a": 1, "b": 2}


def test_users_are_named_and_renamed_within_a_session(store: Store) -> None:
    made = send(
        store,
        start(id=None, device_id="phone"),
        track("First", None),
        {"type": "identify", "session_id": "s", "id": "jj", "traits": {"name": "JJ"}},
        track("Second", None),
        {"type": "alias", "session_id": "s", "id": "jjacob", "previous_id": "jj"},
        track("Third", None),
    )

    assert [(each.name, each.user_id, each.user_traits) for each in made] == [
        ("Session Started", "phone", None),
        ("First", "phone", None),
        ("Second", "jj", {"name": "JJ"}),
        ("Third", "jjacob", {"name": "JJ"}),
    ]
    user = session_view(store.session("s")).user
    assert user is not None
    assert (user.id, user.aliases, user.device_ids) == ("jjacob", ("jj",), ("phone",))


def test_an_alias_of_nobody_is_an_error_event(store: Store) -> None:
    made = send(store, start(), {"type": "alias", "session_id": "s", "id": "new", "previous_id": "nobody"})

    assert names(made) == ["Session Started", "MLError"]
    assert made[1].properties == {"error_message": "No user found for previous_id: nobody"}


def test_projects_do_not_share_sessions(store: Store) -> None:
    send(store, start(), turn("mine"))
    send(store, start(id="kim"), turn("theirs"), app_id="other")

    assert [each.user for each in session_view(store.session("s", "app")).turns] == ["mine"]
    assert [each.user for each in session_view(store.session("s", "other")).turns] == ["theirs"]
    assert store.session("s") is store.session("s", "app")


def test_an_unknown_session_is_an_error(store: Store) -> None:
    with pytest.raises(LookupError, match="no session 's'"):
        store.session("s")


def test_users_outside_of_sessions(store: Store) -> None:
    assert store.identify({"id": "kim", "traits": {"vip": True}}, app_id="app", at=AT)["traits"] == {"vip": True}
    assert store.alias({"id": "kimberly", "previous_id": "kim"}, app_id="app")["aliases"] == ["kim"]
    with pytest.raises(UnknownUserError):
        store.alias({"id": "x", "previous_id": "nobody"}, app_id="app")


def test_live_events_of_a_time_newest_first(store: Store) -> None:
    for hour in (3, 1, 4, 2):
        send(store, track(f"At {hour}", None, timestamp=f"2025-01-01T0{hour}:00:00Z"))
    send(store, track("Theirs", None, timestamp="2025-01-01T03:00:00Z"), app_id="other")

    def found(start: int, end: int, limit: int) -> list[str]:
        made = store.generated_between(
            instant_of(f"2025-01-01T0{start}:00:00Z"),
            instant_of(f"2025-01-01T0{end}:00:00Z"),
            limit=limit,
            app_id="app",
        )
        return [name for name in names(made) if name != "Session Started"]

    assert found(0, 9, 150) == ["At 4", "At 3", "At 2", "At 1"]
    assert found(2, 3, 150) == ["At 3", "At 2"]
    assert found(0, 9, 2) == ["At 4", "At 3"]


def test_an_instant_is_in_microseconds() -> None:
    assert instant_of("1970-01-01T00:00:01.000002Z") == 1_000_002
    assert instant_of("1969-12-31T23:59:59Z") == -1_000_000


EVENTS = st.one_of(
    st.builds(start),
    st.builds(end),
    st.builds(turn, st.text(max_size=3), st.sampled_from("ab")),
    st.builds(track, st.sampled_from(["Conversation Started", "Conversation Ended", "Own"]), st.sampled_from("ab")),
    st.builds(track, st.just("Own"), st.none()),
)


@given(st.lists(EVENTS, max_size=40))
def test_nothing_is_lost_in_any_order_of_events(events: list[dict[str, Any]]) -> None:
    store = Store(instance="test")
    made = send(store, *events)

    assert [each.event for each in store.received] == events
    assert store.generated == made
    assert [each.number for each in made] == list(range(1, len(made) + 1))
    assert [each.number for each in store.received] == list(range(1, len(events) + 1))
    if not events:
        return
    view = session_view(store.session("s"))
    assert list(view.received) == events
    for name in "ab":
        texts = [e["properties"]["user"] for e in events if e.get("event") == "Conversation Turn"]
        mine = [
            e["properties"]["user"]
            for e in events
            if e.get("event") == "Conversation Turn" and e["conversation_id"] == name
        ]
        assert [each.user for each in view.turns if each.conversation_id == name] == mine
        assert len(view.turns) == len(texts)
    # An end is told exactly once for each opening, and nothing is open in a session that has ended.
    for conversation_id in [None, "a", "b"]:
        kind = "Session" if conversation_id is None else "Conversation"
        states = [
            each.name
            for each in made
            if each.conversation_id == conversation_id and each.name in (f"{kind} Started", f"{kind} Ended")
        ]
        assert states == [f"{kind} {'Ended' if index % 2 else 'Started'}" for index in range(len(states))]
    if not view.is_open:
        assert not any(conversation.is_open for conversation in view.conversations)
