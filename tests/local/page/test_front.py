"""The overview as HTML."""

from __future__ import annotations

import pytest
from support.markup import HOSTILE, Parsed, problems_of
from support.wire import AT, end, function, send, start, store_of, turn

from mlsdk.local.page.front import front_page, listing_title
from mlsdk.local.page.overview import PAGE_SIZE, overview
from mlsdk.local.page.query import Listing
from mlsdk.local.store import Store


def page_of(store: Store, listing: Listing | None = None) -> str:
    return front_page(overview(store, listing or Listing(), now=AT), address="http://localhost:3000")


def test_an_empty_service_says_what_to_do() -> None:
    page = Parsed(page_of(Store(instance="test")))

    assert "Nothing has arrived yet" in page.text
    assert "MLSDK_SERVER_BASE=http://localhost:3000" in page.text


def test_a_session_is_a_link_that_says_what_there_is() -> None:
    page = page_of(
        store_of(
            start(id="ann"), turn("Where is it?", model="m", prompt_tokens=3, completion_tokens=4), function(), end()
        )
    )
    text = Parsed(page).text

    assert 'href="/session?project=app&amp;id=s"' in page
    for part in ("ann", "Where is it?", "ended", "1 turn · 1 function call · 7 tokens"):
        assert part in text


def test_what_was_asked_for_stands_in_the_fields_and_can_be_taken_back() -> None:
    page = page_of(store_of(turn()), Listing(text="no such", user="u", session="s", project="gone"))
    parsed = Parsed(page)

    assert {"no such", "u", "s", "gone"} <= set(parsed.values("value"))
    assert "0 sessions of 1" in parsed.text
    assert "No session fits." in parsed.text
    assert "/" in parsed.values("href")
    assert 'value="gone" selected' in page


def test_projects_can_be_chosen_where_there_are_several() -> None:
    store = store_of(turn())
    assert "select" not in Parsed(page_of(store)).names
    send(store, turn(), project="other")
    assert {"", "app", "other"} <= set(Parsed(page_of(store)).values("value"))


def test_pages_keep_what_was_asked_for() -> None:
    store = store_of(*(start(f"s{number}") for number in range(2 * PAGE_SIZE)))
    assert "/?session=s&page=2" in Parsed(page_of(store, Listing(session="s"))).values("href")


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_texts_stay_texts(hostile: str) -> None:
    store = store_of(
        start(hostile, id=hostile, attributes={hostile: hostile}),
        turn(hostile, hostile, hostile, assistant=hostile, model=hostile, prompt_tokens=1, completion_tokens=1),
        project=hostile,
    )
    send(store, turn())
    for listing in (Listing(), Listing(hostile, hostile, hostile, hostile)):
        page = page_of(store, listing)
        assert problems_of(page) == []
        assert hostile in Parsed(page).text


def test_the_window_says_what_was_asked_for() -> None:
    assert listing_title(Listing()) == "Sessions"
    assert listing_title(Listing(text="a", user="b")) == "a, b · Sessions"
