"""The order in which a session is read, and what each event says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.wire import end, function, send, start, store_of, track, turn, usage

from mlsdk.local.page.query import Reading
from mlsdk.local.page.timeline import (
    CUSTOM,
    FUNCTION,
    MARK,
    PAGE_SIZE,
    TEXT_SHOWN,
    TURN,
    USAGE,
    Item,
    SessionPage,
    Spent,
    Text,
    session_page,
)
from mlsdk.local.store import Store


def page_of(*events: dict[str, Any], **asked: Any) -> SessionPage:
    return session_page(store_of(*events), Reading("s", **asked))


def only_item(event: dict[str, Any]) -> Item:
    return page_of(event).sections[0].items[0]


def sections(page: SessionPage) -> list[tuple[str | None, list[int]]]:
    return [(section.conversation_id, [item.number for item in section.items]) for section in page.sections]


def test_a_conversation_is_one_section_whatever_goes_on_meanwhile() -> None:
    page = page_of(
        start(),
        turn("1", conversation_id="a"),
        turn("2", conversation_id="b"),
        turn("3", conversation_id="a"),
        track("Conversation Ended", conversation_id="a"),
        track("Conversation Ended", conversation_id="b"),
        end(),
    )
    assert sections(page) == [(None, [1]), ("a", [2, 4, 5]), ("b", [3, 6]), (None, [7])]
    assert [section.number for section in page.sections] == [0, 1, 2, 0]


def test_what_belongs_to_no_conversation_stands_where_it_happened() -> None:
    identify = {"type": "identify", "session_id": "s", "id": "ann"}
    page = page_of(
        start(),
        identify,
        turn("1"),
        identify,
        track("Shown", conversation_id=None),
        track("Shown", conversation_id="unknown"),
        track("Conversation Ended"),
        identify,
        turn("2", conversation_id="d"),
        end(),
        identify,
    )
    assert sections(page) == [(None, [1, 2]), ("c", [3, 4, 5, 6, 7]), (None, [8]), ("d", [9]), (None, [10, 11])]


EVENTS = st.builds(
    lambda make, conversation: make(f"c{conversation}"),
    st.sampled_from(
        [
            lambda _: start(),
            lambda _: end(),
            lambda conversation: turn(conversation_id=conversation),
            lambda conversation: usage(conversation_id=conversation, cost=1),
            lambda conversation: function(conversation_id=conversation),
            lambda conversation: track("Conversation Ended", conversation_id=conversation),
            lambda conversation: track("Shown", conversation_id=conversation),
            lambda _: track("Shown", conversation_id=None),
            lambda _: {"type": "identify", "session_id": "s", "id": "ann"},
            lambda _: {"type": "alias", "session_id": "s", "id": "ann", "previous_id": "gone"},
        ]
    ),
    st.integers(0, 3),
)


@given(st.lists(EVENTS, min_size=1, max_size=260))
def test_every_event_is_shown_once_and_is_found_by_its_number(events: list[dict[str, Any]]) -> None:
    store = store_of(*events)
    pages = [session_page(store, Reading("s", page=1))]
    pages += [session_page(store, Reading("s", page=number)) for number in range(2, pages[0].pages + 1)]
    numbers = [[item.number for section in page.sections for item in section.items] for page in pages]

    assert sorted(number for page in numbers for number in page) == list(range(1, len(events) + 1))
    assert all(len(page) == PAGE_SIZE for page in numbers[:-1])
    for number in (1, len(events) // 2 + 1, len(events)):
        shown = session_page(store, Reading("s", event=number))
        assert number in numbers[shown.page - 1]
    for page in pages:
        for section in page.sections:
            assert section.conversation_id is None or all(
                item.kind in (TURN, FUNCTION, USAGE, MARK, CUSTOM) for item in section.items
            )
            shown_numbers = [item.number for item in section.items]
            assert shown_numbers == sorted(shown_numbers)


def test_a_conversation_that_goes_on_over_pages_says_so() -> None:
    store = store_of(*(turn(str(number)) for number in range(PAGE_SIZE + 1)))
    first, second = (session_page(store, Reading("s", page=page)).sections[0] for page in (1, 2))

    assert (first.is_continued, second.is_continued) == (False, True)
    assert (first.turns, second.turns, first.number, second.number) == (PAGE_SIZE + 1, PAGE_SIZE + 1, 1, 1)
    assert session_page(store, Reading("s", page=99)).page == 2
    assert session_page(store, Reading("s", event=99999)).page == 1


def test_a_turn() -> None:
    asked = turn("u", assistant="a", assistant_id="bot", model="m", prompt_tokens=1, intent="buy")

    assert only_item({**asked, "timestamp": "2025-01-01T00:00:00Z"}) == Item(
        number=1,
        kind=TURN,
        at="2025-01-01T00:00:00Z",
        said=Text("u"),
        answer=Text("a"),
        assistant_id="bot",
        spent=Spent("m", 1, None, None),
        values={"intent": "buy"},
    )


def test_a_function_call_with_its_arguments_laid_out() -> None:
    item = only_item(function("find", args='{"order":4711,"in":["a"]}', result="none", runtime=12, tries=2))

    assert (item.kind, item.title, item.runtime, item.values) == (FUNCTION, "find", 12, {"tries": 2})
    assert item.said == Text('{\n  "order": 4711,\n  "in": [\n    "a"\n  ]\n}')
    assert item.answer == Text("none")
    assert only_item(function()).said is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "7",
        "{'single': 'quotes'}",
        '{"large": 123456789012345678901234567890}',
        '{"twice": 1, "twice": 2}',
        '{"precise": 1.10}',
        "[" * 500 + "]" * 500,
        '{"odd": NaN}',
    ],
)
def test_what_would_not_come_through_unchanged_is_shown_as_it_came(text: str) -> None:
    assert only_item(function(args=text)).said == Text(text)


@given(st.recursive(st.none() | st.integers() | st.text() | st.floats(allow_nan=False), st.lists, max_leaves=20))
def test_laying_out_changes_nothing_but_white_space(value: Any) -> None:
    text = json.dumps(value)
    said = only_item(function(args=text)).said

    assert said is not None
    assert "".join(said.shown.split()) == "".join(text.split())


def test_a_long_text_is_cut_and_says_so() -> None:
    item = only_item(turn("x" * (TEXT_SHOWN + 5)))

    assert item.said == Text("x" * TEXT_SHOWN, more=5)


def test_usage_events_and_marks() -> None:
    used = only_item(usage(cost=0.5))
    assert (used.kind, used.spent) == (USAGE, Spent(cost=0.5))
    custom = only_item(track("Order Placed", total=7))
    assert (custom.kind, custom.title, custom.values) == (CUSTOM, "Order Placed", {"total": 7})
    mark = only_item(track("Conversation Started", topic="orders"))
    assert (mark.kind, mark.title, mark.values) == (MARK, "Conversation started", {"topic": "orders"})
    begun = only_item(start(attributes={"plan": "free"}))
    assert (begun.kind, begun.title, begun.values) == (MARK, "Session started", {"plan": "free"})
    named = only_item({"type": "identify", "session_id": "s", "device_id": "laptop", "traits": {"age": 7}})
    assert (named.title, named.values) == ("User identified as laptop", {"age": 7})


def test_an_alias_that_worked_and_one_that_did_not() -> None:
    page = page_of(
        start(id="ann"),
        {"type": "alias", "session_id": "s", "id": "new", "previous_id": "ann"},
        {"type": "alias", "session_id": "s", "id": "new", "previous_id": "gone"},
    )
    _, worked, failed = page.sections[0].items

    assert (worked.title, worked.error) == ("User ann is called new now", None)
    assert (failed.title, failed.error) == ("User not renamed", "No user found for previous_id: gone")
    assert page.errors == 1


def test_the_sums_of_a_session() -> None:
    page = page_of(
        start(timestamp="2025-01-01T00:00:00Z", attributes={"plan": "free"}),
        turn(model="m", prompt_tokens=3, completion_tokens=4),
        usage(model="n", prompt_tokens=10, completion_tokens=0),
        turn(cost=0.5, conversation_id="d"),
        function(),
        end(timestamp="2025-01-01T00:01:30Z", attributes={"rating": 5}),
    )
    assert (page.conversations, page.turns, page.functions, page.events) == (2, 2, 1, 6)
    assert (page.prompt_tokens, page.completion_tokens, page.cost) == (13, 4, 0.5)
    assert [(name, used.tokens) for name, used in page.models] == [("n", 10), ("m", 7)]
    assert (page.seconds, page.is_open, page.attributes) == (90.0, False, {"plan": "free", "rating": 5})
    assert page.user is not None
    assert page.user.id == "ann"


def test_a_session_that_is_open_takes_until_its_last_event() -> None:
    begun, said = start(timestamp="2025-01-01T00:00:00Z"), turn()

    assert page_of(begun, {**said, "timestamp": "2025-01-01T00:00:05Z"}).seconds == 5
    assert page_of(begun, {**said, "timestamp": "2024-01-01T00:00:00Z"}).seconds == 0


def test_the_project_tells_sessions_of_one_id_apart() -> None:
    store = send(store_of(turn("mine")), turn("yours"), project="other")

    assert session_page(store, Reading("s", "other")).project == "other"
    assert session_page(store, Reading("s")).project == "app"
    with pytest.raises(LookupError):
        session_page(store, Reading("s", "none"))
    with pytest.raises(LookupError):
        session_page(Store(instance="test"), Reading("s"))
