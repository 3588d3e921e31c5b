"""A session as HTML."""

from __future__ import annotations

import pytest
from support.markup import HOSTILE, Parsed, problems_of
from support.wire import end, function, start, store_of, track, turn, usage

from mlsdk.local.page.query import Reading
from mlsdk.local.page.timeline import PAGE_SIZE, TEXT_SHOWN, session_page
from mlsdk.local.page.transcript import missing_page, transcript_page, who
from mlsdk.local.store import Store


def page_of(store: Store, session_id: str = "s", **asked: int) -> str:
    return transcript_page(session_page(store, Reading(session_id, **asked)))


def test_a_session_from_beginning_to_end() -> None:
    page = page_of(
        store_of(
            start(id="ann", device_id="laptop", attributes={"plan": "free"}),
            {"type": "identify", "session_id": "s", "id": "ann", "traits": {"tier": "gold"}},
            turn(
                "Where is it?", assistant="On its way.", model="m", prompt_tokens=12, completion_tokens=9, mood="calm"
            ),
            function("find_order", args='{"order":4711}', result="sent", runtime=182),
            usage(cost=0.25),
            track("Order Viewed", total=7),
            {"type": "alias", "session_id": "s", "id": "new", "previous_id": "gone"},
            end(attributes={"rating": 5}),
        )
    )
    text = Parsed(page).text

    for part in (
        *("ann", "laptop", "plan", "free", "tier", "gold", "rating", "5", "ended"),
        *("Where is it?", "On its way.", "m · 12 in, 9 out", "mood", "calm"),
        *("find_order", '"order": 4711', "sent", "182 ms"),
        *("cost 0.25", "Order Viewed", "total", "7"),
        *("No user found for previous_id: gone", "1 error"),
    ):
        assert part in text


def test_each_event_and_each_conversation_has_an_address() -> None:
    page = Parsed(page_of(store_of(start(), turn(), turn(conversation_id="d"))))

    assert {"event-1", "event-2", "event-3", "conversation-1", "conversation-2"} <= set(page.values("id"))
    assert {"#conversation-1", "/session?project=app&id=s&event=2#event-2"} <= set(page.values("href"))
    assert len(page.values("id")) == len(set(page.values("id")))


def test_a_long_session_has_pages() -> None:
    store = store_of(*(turn(f"number {number}.") for number in range(PAGE_SIZE + 1)))
    first, second = Parsed(page_of(store)), Parsed(page_of(store, page=2))

    assert "/session?project=app&id=s&page=2" in first.values("href")
    assert "/session?project=app&id=s" in second.values("href")
    assert "number 0." in first.text
    assert f"number {PAGE_SIZE}." not in first.text
    assert f"number {PAGE_SIZE}." in second.text
    assert "(continued)" in second.text


def test_what_is_left_out_of_a_long_text_is_counted() -> None:
    assert "… 1,000 more characters" in Parsed(page_of(store_of(turn("x" * (TEXT_SHOWN + 1000))))).text


def test_usage_that_is_half_known_says_which_half() -> None:
    assert "? in, 9 out" in Parsed(page_of(store_of(turn(completion_tokens=9)))).text


def test_nobody_may_be_known() -> None:
    store = store_of(turn())
    assert who(session_page(store, Reading("s"))) == "nobody known"
    assert who(session_page(store_of(start(device_id="laptop")), Reading("s"))) == "laptop"


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_texts_stay_texts(hostile: str) -> None:
    values = {hostile: hostile}
    page = page_of(
        store_of(
            start(hostile, id=hostile, device_id=hostile, attributes=values),
            {"type": "identify", "session_id": hostile, "id": hostile, "traits": values},
            {"type": "alias", "session_id": hostile, "id": "new", "previous_id": f"{hostile} unknown"},
            track("Conversation Started", hostile, hostile, **values),
            turn(hostile, hostile, hostile, assistant=hostile, assistant_id=hostile, model=hostile, **values),
            function(hostile, hostile, hostile, args=hostile, result=hostile, **values),
            function("f", hostile, hostile, args=f'["{hostile}"]'),
            track(hostile[:100], hostile, hostile, **values),
            project=hostile,
        ),
        hostile,
    )
    assert problems_of(page) == []
    assert Parsed(page).text.count(hostile) > 15
    assert problems_of(missing_page(hostile)) == []
    assert hostile in Parsed(missing_page(hostile)).text
