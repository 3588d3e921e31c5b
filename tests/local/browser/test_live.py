"""What arrives is seen while somebody looks, without a reload."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from support.wire import end, function, start, track, turn

from mlsdk.local import LocalMindlytics
from mlsdk.sync import Client

OpenPage = Callable[..., Page]
Post = Callable[..., int]
Keep = Callable[..., None]


@pytest.fixture
def client(service: LocalMindlytics) -> Iterator[Client]:
    client = Client("local_key", "shop", service.url)
    yield client
    client.close()


def remember(page: Page) -> None:
    """A reload would forget this."""
    page.evaluate("window.remembered = true")


def assert_not_reloaded(page: Page) -> None:
    assert page.evaluate("window.remembered") is True


def test_a_session_of_the_sdk_appears_and_grows_while_somebody_watches(
    open_page: OpenPage, client: Client, keep: Keep
) -> None:
    page = open_page()
    expect(page.get_by_role("heading", name="Nothing has arrived yet")).to_be_visible()
    keep(page, "empty")
    remember(page)

    session = client.create_session(id="ann", session_id="live", attributes={"plan": "free"})
    session.track_conversation_turn(user="Where is order 4711?", assistant="It left our store this morning.")
    row = page.locator(".row")
    expect(row).to_contain_text("Where is order 4711?")
    expect(row).to_contain_text("ann")
    expect(row.locator(".status")).to_have_text("open")
    assert_not_reloaded(page)
    keep(page, "live-list")

    row.click()
    expect(page).to_have_url(re.compile("/session"))  # the list is live too
    page.locator("#live.on").wait_for()
    remember(page)
    session.track_function_call(name="find_order", args='{"order":4711}', result="sent", runtime=182)
    session.track_conversation_turn(user="Thanks!", assistant="You are welcome.")
    expect(page.locator(".bubble.user")).to_have_text(["Where is order 4711?", "Thanks!"])
    expect(page.locator("summary")).to_contain_text("182 ms")
    expect(page.locator(".title .status")).to_have_text("open")
    keep(page, "live-session")
    session.end_session()
    expect(page.locator(".title .status")).to_have_text("ended")
    assert_not_reloaded(page)


def test_what_the_reader_does_survives_what_arrives(open_page: OpenPage, post: Post) -> None:
    post(start(), turn("first"), function("find", args='{"order":4711}'))
    page = open_page("/session?project=app&id=s")
    summary = page.locator("summary")
    summary.focus()
    page.keyboard.press("Enter")
    expect(page.locator("details pre")).to_be_visible()
    post(turn("second"))

    expect(page.locator(".bubble.user")).to_have_text(["first", "second"])
    expect(page.locator("details pre")).to_be_visible()
    expect(summary).to_be_focused()


def test_what_is_being_typed_survives_what_arrives(open_page: OpenPage, post: Post) -> None:
    post(turn("first", "one"))
    page = open_page()
    page.keyboard.press("/")
    page.keyboard.type("half a wo")
    post(turn("second", "two"))

    expect(page.locator(".row")).to_have_count(2)
    expect(page.locator("#search")).to_be_focused()
    expect(page.locator("#search")).to_have_value("half a wo")


def test_new_sessions_come_first_and_only_if_they_fit(open_page: OpenPage, post: Post) -> None:
    post(turn("apple one", "one"))
    page = open_page("/?text=apple")
    post(turn("pear", "two"))
    post(turn("apple three", "three"))

    expect(page.locator(".row .opening")).to_have_text(["apple three", "apple one"])
    expect(page.locator(".sum").filter(has_text="Sessions").locator("dd")).to_contain_text("3")


def test_the_reader_stays_at_the_end_of_a_conversation_that_goes_on(open_page: OpenPage, post: Post) -> None:
    post(*(turn(f"number {number}.") for number in range(20)))
    page = open_page("/session?project=app&id=s")
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    post(turn("the newest"))

    expect(page.get_by_text("the newest")).to_be_in_viewport()


def test_a_service_that_was_away_is_found_again(service: LocalMindlytics, open_page: OpenPage, post: Post) -> None:
    post(turn("before"))
    page = open_page()
    service.close_port()
    expect(page.locator("#live")).to_have_text("no connection")
    service.reopen()
    post(turn("after", "later"))

    expect(page.locator("#live")).to_have_text("live")
    expect(page.locator(".row .opening")).to_have_text(["after", "before"])


def test_a_refused_request_is_counted_at_once(open_page: OpenPage, post: Post, keep: Keep) -> None:
    page = open_page()
    post({"type": "track", "event": "Conversation Turn", "session_id": "s", "conversation_id": "c"})
    expect(page.locator("#problems-link .badge")).to_have_text("1")
    page.locator("#problems-link").click()

    expect(page.locator(".problems")).to_contain_text("properties: Field required")
    keep(page, "problems")


@pytest.mark.parametrize("address", ["/", "/session?project=app&id=s"])
def test_without_a_script_everything_is_there_but_stands_still(open_page: OpenPage, post: Post, address: str) -> None:
    post(start(), turn("hello there"), track("Order Placed"), end())
    page = open_page(address, java_script_enabled=False)

    expect(page.get_by_text("hello there")).to_be_visible()
    expect(page.locator("time").first).to_contain_text("UTC")


def test_an_error_shows_in_the_list_and_in_the_session(open_page: OpenPage, post: Post) -> None:
    alias: dict[str, Any] = {"type": "alias", "session_id": "s", "id": "new", "previous_id": "gone"}
    page = open_page()
    post(start(), alias)
    expect(page.locator(".row .badge.wrong")).to_have_text("1 error")
    page.locator(".row").click()

    expect(page.get_by_text("No user found for previous_id: gone")).to_be_visible()
