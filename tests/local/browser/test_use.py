"""Finding, reading and passing on: by mouse, by keyboard, by address."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect
from support.markup import HOSTILE
from support.wire import end, function, start, track, turn

OpenPage = Callable[..., Page]
Post = Callable[..., int]
Keep = Callable[..., None]


@pytest.fixture
def shop(post: Post) -> None:
    """Three sessions: of ann, of a device, of bob."""
    post(start("s-ann", id="ann"), turn("Where is order 4711?", "s-ann"), end("s-ann"))
    post(start("s-laptop", device_id="laptop-7"), turn("Please cancel order 815.", "s-laptop"))
    post(start("s-bob", id="bob"), turn("Hello!", "s-bob", model="m", prompt_tokens=3, completion_tokens=4))


def expect_sessions(page: Page, *names: str) -> None:
    """These are shown, or will be: an address changes before what is shown does."""
    expect(page.locator(".row .ids code")).to_have_text([*names])


@pytest.mark.usefixtures("shop")
def test_filters_by_text_user_and_session(open_page: OpenPage, keep: Keep) -> None:
    page = open_page()
    expect_sessions(page, "s-bob", "s-laptop", "s-ann")

    page.get_by_label("Text").fill("order")
    page.get_by_role("button", name="Filter").click()
    expect(page).to_have_url(re.compile(r"\?text=order"))
    expect_sessions(page, "s-laptop", "s-ann")

    page.get_by_label("User").fill("ann")
    page.get_by_label("User").press("Enter")
    expect(page).to_have_url(re.compile("user=ann"))
    expect_sessions(page, "s-ann")
    expect(page.locator(".found")).to_have_text("1 session of 3")
    keep(page, "filtered")

    page.get_by_role("link", name="Clear").click()
    expect_sessions(page, "s-bob", "s-laptop", "s-ann")
    page.get_by_label("Session").fill("bob")
    page.get_by_label("Session").press("Enter")
    expect_sessions(page, "s-bob")


@pytest.mark.usefixtures("shop")
def test_everything_can_be_done_by_keyboard(open_page: OpenPage, keep: Keep) -> None:
    page = open_page()
    press = page.keyboard.press
    press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()

    press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    keep(page, "keys")
    press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()

    press("/")
    expect(page.get_by_label("Text")).to_be_focused()
    page.keyboard.type("order")
    press("Enter")
    expect(page.locator(".row")).to_have_count(2)
    page.locator("#live.on").wait_for()
    press("j")
    press("j")
    expect(page.locator(".row").nth(1)).to_be_focused()
    press("k")
    expect(page.locator(".row").nth(0)).to_be_focused()
    press("j")
    press("Enter")
    expect(page.locator("h1")).to_have_text("ann")
    page.locator("#live.on").wait_for()
    press("Escape")
    expect(page.locator(".row")).to_have_count(3)


def test_pages_of_the_list_by_keyboard(open_page: OpenPage, post: Post) -> None:
    post(*(start(f"s{number}") for number in range(60)))
    page = open_page()
    page.keyboard.press("n")
    expect(page.locator(".where")).to_have_text("Page 2 of 2")
    expect(page.locator(".row")).to_have_count(10)
    page.locator("#live.on").wait_for()
    page.keyboard.press("p")
    expect(page.locator(".where")).to_have_text("Page 1 of 2")


@pytest.mark.usefixtures("shop")
def test_dark_and_light_as_the_system_has_it_unless_somebody_chose(open_page: OpenPage) -> None:
    def ground(page: Page) -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    light, dark = open_page(), open_page(color_scheme="dark")
    bright, dim = ground(light), ground(dark)
    assert bright != dim
    assert ground(open_page(color_scheme="dark", java_script_enabled=False)) == dim

    button = dark.locator("#theme")
    expect(button).to_have_text("Auto")
    dark.keyboard.press("t")
    expect(button).to_have_text("Light")
    assert ground(dark) == bright
    dark.reload()
    expect(button).to_have_text("Light")
    assert ground(dark) == bright
    button.click()
    expect(button).to_have_text("Dark")
    assert ground(dark) == dim


def test_an_event_has_an_address_to_pass_on(open_page: OpenPage, post: Post) -> None:
    post(*(turn(f"number {number}.") for number in range(150)))
    page = open_page("/session?project=app&id=s&page=2")
    page.locator("#event-120 .permalink").click()
    expect(page).to_have_url(re.compile("#event-120$"))
    address = page.url.split("/", 3)[3]
    post(*(turn(f"more {number}.") for number in range(20)))

    passed_on = open_page(f"/{address}")
    expect(passed_on.locator("#event-120:target")).to_be_in_viewport()
    expect(passed_on.locator("#event-120")).to_contain_text("number 119.")


def test_a_conversation_has_an_address_too(open_page: OpenPage, post: Post) -> None:
    post(*(turn(f"number {number}.") for number in range(30)), turn("the other one", conversation_id="d"))
    page = open_page("/session?project=app&id=s")
    page.get_by_role("link", name="Conversation 2").click()

    expect(page).to_have_url(re.compile("#conversation-2$"))
    expect(page.get_by_text("the other one")).to_be_in_viewport()


def test_times_are_the_readers(open_page: OpenPage, post: Post) -> None:
    post({**turn(), "timestamp": "2025-06-01T12:00:00Z"})
    page = open_page(timezone_id="Asia/Tokyo")

    expect(page.locator(".row time")).to_have_text("1 Jun 2025, 21:00:00")


def test_hostile_texts_do_nothing(open_page: OpenPage, post: Post) -> None:
    for number, hostile in enumerate(HOSTILE):
        name = f"{hostile} {number}"
        post(
            start(name, id=hostile, attributes={hostile: hostile}),
            turn(hostile, name, hostile, assistant=hostile, model=hostile, prompt_tokens=1, completion_tokens=1),
            function(hostile, name, hostile, args=hostile, result=hostile),
            track(hostile[:100], name, hostile, **{hostile: hostile}),
            project=hostile if hostile.isascii() else "plain",  # it travels in a header
        )
    page = open_page()
    expect(page.locator(".row")).to_have_count(len(HOSTILE))
    assert page.locator(".row .opening").all_text_contents() == [" ".join(text.split()) for text in HOSTILE][::-1]
    for number, hostile in enumerate(HOSTILE):
        page.goto(page.url.split("?")[0].rstrip("/") + f"/?session={quote(f'{hostile} {number}')}")
        page.locator(".row").click()
        expect(page.locator(".bubble.user")).to_have_text(hostile, use_inner_text=False)
        page.locator("#live.on").wait_for()
        page.go_back()
    # That no dialog opened and nothing was asked for elsewhere is what `open_page` makes sure of.
