"""The pages as they look, with a bit of everything on them; the pictures are for people."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone

import pytest
from playwright.sync_api import Page, expect
from support.wire import end, function, post, start, track, turn, usage

from mlsdk.local import LocalMindlytics

OpenPage = Callable[..., Page]
Keep = Callable[..., None]

NOON = datetime(2025, 6, 1, 12, tzinfo=timezone.utc)
PEOPLE = {
    "ann@example.com": "Where is order 4711?",
    "mei": "Où est ma commande ?",
    "laptop-7": "Can you summarise the contract that I uploaded?",
    "olga": "I need to change my address",
    "ravi": "أين طلبي؟",
    "çelik": "Siparişim nerede?",
}


def at(seconds: float) -> str:
    return (NOON + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


@pytest.fixture(scope="module")
def shop() -> Iterator[LocalMindlytics]:
    """An hour of a shop's assistant."""
    clock = [0.0]
    with LocalMindlytics(now=lambda: at(clock[0])) as service:
        for minute in range(0, 48, 2):
            clock[0] = 60.0 * minute
            for number in range((7 * minute * minute) % 11):
                said = turn(
                    "Is it still in stock?", f"earlier-{minute}", model="gpt-4o-mini", prompt_tokens=90 + number
                )
                post(service.port, {**said, "timestamp": at(clock[0])}, project="shop")
        for number, (name, text) in enumerate(PEOPLE.items()):
            clock[0] = 60.0 * (50 + 1.6 * number)
            post(service.port, *talk(f"7b31c0de-4c55-a1de-{number:04}", name, text, clock[0]), project="shop")
        yield service


def talk(session: str, name: str, text: str, begin: float) -> list[dict[str, object]]:
    answer = (
        "It left our store this morning and should reach you tomorrow.\n\n"
        "You can follow it:\n  1. open your account\n  2. choose the order"
    )
    alias = {"type": "alias", "session_id": session, "id": "new", "previous_id": "gone"}
    steps = [
        (0, start(session, id=name, attributes={"plan": "free"})),
        (1, track("Conversation Started", session, "talk-1", topic="orders")),
        (
            4,
            turn(
                text,
                session,
                "talk-1",
                assistant=answer,
                assistant_id="support-bot",
                model="gpt-4o",
                prompt_tokens=812,
                completion_tokens=194,
            ),
        ),
        (5, function("find_order", session, "talk-1", args='{"order":4711}', result='{"state":"sent"}', runtime=182)),
        (5, usage(session, "talk-1", model="text-embedding-3-small", prompt_tokens=640, completion_tokens=0)),
        (
            30,
            turn(
                "Thanks! May I still change the address?",
                session,
                "talk-1",
                assistant="Yes, until it is sent.",
                cost=0.0021,
            ),
        ),
        (40, track("Order Viewed", session, "talk-1", order=4711, express=True)),
        (50, alias if name == "laptop-7" else None),
        (59, end(session) if name in ("mei", "olga") else None),
    ]
    return [{**event, "timestamp": at(begin + seconds)} for seconds, event in steps if event is not None]


@pytest.mark.parametrize(
    ("window", "options"),
    [
        ("light", {}),
        ("dark", {"color_scheme": "dark"}),
        ("narrow", {"viewport": {"width": 380, "height": 800}}),
    ],
)
def test_nothing_sticks_out_of_any_window(
    shop: LocalMindlytics, open_page: OpenPage, keep: Keep, window: str, options: dict[str, object]
) -> None:
    page = open_page(url=shop.url, **options)
    assert_fits(page)
    keep(page, f"list-{window}")

    page.locator(".row").filter(has_text="laptop-7").click()
    expect(page).to_have_url(re.compile("/session"))  # the list is live too
    page.locator("#live.on").wait_for()
    page.locator("summary").click(position={"x": 30, "y": 12})
    expect(page.locator("details pre").last).to_be_visible()
    assert_fits(page)
    keep(page, f"session-{window}", full=True)


def assert_fits(page: Page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0
