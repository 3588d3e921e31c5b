"""What the first page shows, as values."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from support.wire import AT, end, function, send, start, store_of, turn, usage

from mlsdk.local.page.overview import (
    MINUTES,
    MODELS,
    NO_MODEL,
    OTHER_MODELS,
    PAGE_SIZE,
    Row,
    bars,
    opening_of,
    overview,
    turns_by_minute,
)
from mlsdk.local.page.query import Listing
from mlsdk.local.store import Store


def test_a_session_in_the_list() -> None:
    store = store_of(
        start(id="ann", timestamp="2025-01-01T00:00:00Z"),
        turn("Where\n is  it?", model="m", prompt_tokens=3, completion_tokens=4),
        turn("And now?", conversation_id="d", cost=0.5),
        function(),
        {"type": "alias", "session_id": "s", "id": "new", "previous_id": "gone"},
        end(),
    )
    shown = overview(store, Listing(), now=AT, refused=2)

    assert shown.rows == (
        Row(
            session_id="s",
            project="app",
            user="ann",
            opening="Where is it?",
            started_at="2025-01-01T00:00:00Z",
            is_open=False,
            conversations=2,
            turns=2,
            functions=1,
            tokens=7,
            cost=0.5,
            errors=1,
        ),
    )
    assert (shown.found, shown.pages, shown.projects, shown.refused) == (1, 1, ("app",), 2)
    assert shown.cost == 0.5


def test_the_newest_come_first_and_pages_go_back_in_time() -> None:
    count = 2 * PAGE_SIZE + 3
    store = store_of(*(start(f"s{number}") for number in range(count)))
    pages = [overview(store, Listing(page=page), now=AT) for page in (1, 2, 3)]

    assert [row.session_id for page in pages for row in page.rows] == [f"s{number}" for number in range(count)][::-1]
    assert [len(page.rows) for page in pages] == [PAGE_SIZE, PAGE_SIZE, 3]
    assert {(page.found, page.pages) for page in pages} == {(count, 3)}


@given(st.integers(0, 3 * PAGE_SIZE), st.integers(1, 10))
def test_a_page_beyond_the_last_is_the_last(count: int, page: int) -> None:
    shown = overview(store_of(*(start(f"s{number}") for number in range(count))), Listing(page=page), now=AT)

    assert shown.listing.page == min(page, shown.pages)
    assert bool(shown.rows) == bool(count)


def test_a_filter_changes_the_list_and_not_the_sums() -> None:
    store = store_of(start("one"), turn("apple", "one"), start("two"), turn("pear", "two"))
    shown = overview(store, Listing(text="pear"), now=AT)

    assert [row.session_id for row in shown.rows] == ["two"]
    assert (shown.found, shown.totals.sessions, shown.totals.turns) == (1, 2, 2)


def test_turns_by_minute_of_arrival_up_to_now() -> None:
    store = Store(instance="test")
    for at in ("2025-06-01T10:59:59Z", "2025-06-01T11:01:00Z", "2025-06-01T12:00:00.5Z", "2025-06-01T12:00:59Z"):
        send(store, turn(timestamp="2019-01-01T00:00:00Z"), at=at)
    minutes = turns_by_minute(store.index, "2025-06-01T12:00:30Z")

    assert len(minutes) == MINUTES
    assert (minutes[0], minutes[-1], sum(minutes)) == (1, 2, 3)


def test_models_with_most_tokens_come_first_and_the_rest_share_a_bar() -> None:
    store = store_of(
        *(usage(model=f"m{number}", prompt_tokens=number, completion_tokens=1) for number in range(MODELS + 3)),
        usage(cost=3),
    )
    shown = bars(store.index)

    assert [bar.model for bar in shown] == ["m8", "m7", "m6", "m5", "m4", "m3", OTHER_MODELS]
    assert (shown[-1].prompt_tokens, shown[-1].completion_tokens) == (0 + 1 + 2, 3)


def test_one_model_too_many_has_its_own_bar_and_tokens_of_no_model_too() -> None:
    names = [f"m{number}" for number in range(MODELS)]
    store = store_of(*(usage(model=name, prompt_tokens=5) for name in names), turn(prompt_tokens=1, cost=1))

    assert [bar.model for bar in bars(store.index)] == [*names, NO_MODEL]


def test_the_opening_is_short_and_may_be_missing() -> None:
    store = store_of(turn("x" * 1000), start("silent"))
    said, silent = store.sessions.values()

    assert opening_of(said) == "x" * 160 + "…"
    assert opening_of(silent) == ""
