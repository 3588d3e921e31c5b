"""Which sessions fit what is asked for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.wire import function, send, start, store_of, track, turn

from mlsdk.local.search import find_sessions
from mlsdk.local.store import Store


def found(store: Store, **asked: str) -> list[str]:
    return [entry.session.session_id for entry in find_sessions(store, **asked)]


@pytest.fixture
def store() -> Store:
    store = store_of(
        start("order-1", id="ann", attributes={"plan": "Gold"}),
        turn("Where is order 4711?", "order-1", assistant="It LEFT our store."),
        start("order-2", device_id="laptop"),
        turn("Straße und 订单在哪里", "order-2"),
        function("find_order", "order-2", args='{"number": 4711}', result="sent"),
        start("chat", id="bob"),
        track("Order Placed", "chat", None, note="by phone", total=7),
    )
    return send(store, start("order-1", id="ann"), turn("hello", "order-1"), project="other")


@pytest.mark.parametrize(
    ("asked", "sessions"),
    [
        ({}, ["order-1", "order-2", "chat", "order-1"]),
        ({"text": "471"}, ["order-1", "order-2"]),
        ({"text": "left STORE"}, ["order-1"]),
        ({"text": "left phone"}, []),
        ({"text": "STRASSE"}, ["order-2"]),
        ({"text": "单在"}, ["order-2"]),
        ({"text": "sent"}, ["order-2"]),
        ({"text": "order placed"}, ["chat"]),
        ({"text": "gold"}, ["order-1"]),
        ({"text": "conversation turn"}, []),
        ({"user": "ann"}, ["order-1", "order-1"]),
        ({"user": "an"}, ["order-1", "order-1"]),
        ({"user": "LAPT"}, ["order-2"]),
        ({"user": "ann", "project": "other"}, ["order-1"]),
        ({"session": "order-1"}, ["order-1", "order-1"]),
        ({"session": "order-1", "project": "app"}, ["order-1"]),
        ({"session": "RDER"}, ["order-1", "order-2", "order-1"]),
        ({"project": "other"}, ["order-1"]),
        ({"project": "oth"}, []),
        ({"text": "4711", "user": "laptop"}, ["order-2"]),
        ({"text": "<script>"}, []),
    ],
)
def test_what_fits(store: Store, asked: dict[str, str], sessions: list[str]) -> None:
    assert found(store, **asked) == sessions


def test_whoever_is_known_by_several_names_is_found_by_each_with_all_sessions() -> None:
    store = store_of(
        start("as device", device_id="laptop"),
        start("as ann", id="ann", device_id="laptop"),
        {"type": "alias", "session_id": "as ann", "id": "ann@example.com", "previous_id": "ann"},
        start("later", id="ann@example.com"),
        start("somebody else", id="ann-marie"),
    )

    for name in ("laptop", "ann", "ann@example.com"):
        assert found(store, user=name) == ["as device", "as ann", "later"]


def test_what_is_said_after_a_search_is_found_too(store: Store) -> None:
    assert found(store, text="unicorn") == []
    send(store, turn("a unicorn", "chat"))
    assert found(store, text="unicorn") == ["chat"]


@given(st.lists(st.tuples(st.integers(0, 2), st.text(max_size=8)), max_size=12), st.text(min_size=1, max_size=3))
def test_a_word_is_found_exactly_where_it_was_said(said: list[tuple[int, str]], word: str) -> None:
    words = word.casefold().split()
    store = Store(instance="test")
    expected: dict[str, str] = {}
    for number, text in said:
        send(store, turn(text, f"s{number}", assistant=""))
        expected[f"s{number}"] = f"{expected.get(f's{number}', '')}\n{text.casefold()}"
        find_sessions(store, text="anything")  # the text is continued, not written once

    fitting = [name for name, text in expected.items() if all(each in text for each in words)]
    assert found(store, text=word) == fitting


def test_numbers_and_markup_are_only_text(store: Store) -> None:
    hostile: dict[str, Any] = turn("<b>%_[a-z]*\\", "chat")
    send(store, hostile)

    assert found(store, text="%_[a-z]*\\") == ["chat"]
    assert found(store, text="<b>") == ["chat"]
