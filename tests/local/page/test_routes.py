"""The pages at their addresses."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from support.markup import HOSTILE, Parsed, problems_of
from support.wire import start, turn

from mlsdk.local import LocalMindlytics

Ask = Callable[..., Any]
Post = Callable[..., int]


@pytest.mark.parametrize("address", ["/", "/session?id=s", "/session?id=none", "/problems"])
def test_every_page_forbids_what_it_does_not_need(ask: Ask, post: Post, address: str) -> None:
    post(turn())
    answer = ask(address)
    policy = dict(rule.split(" ", 1) for rule in answer.headers["Content-Security-Policy"].split("; "))

    assert answer.status == (404 if "none" in address else 200)
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert policy.pop("default-src") == policy.pop("base-uri") == policy.pop("frame-ancestors") == "'none'"
    assert set(policy.values()) == {"'self'"}
    assert problems_of(answer.text, scripts=1) == []


def test_what_a_page_refers_to_is_served_and_may_be_kept(ask: Ask) -> None:
    page = Parsed(ask("/").text)
    addresses = [address for address in page.values("href") + page.values("src") if address.startswith("/page/")]

    assert len(addresses) == 3
    for address in addresses:
        answer = ask(address)
        assert (answer.status, answer.headers["X-Content-Type-Options"]) == (200, "nosniff")
        assert "immutable" in answer.headers["Cache-Control"]
    assert ask("/page/__init__.py").status == ask("/page/../server.py").status == 404


def test_the_filter_is_in_the_address(ask: Ask, post: Post) -> None:
    post(start("one", id="ann"), turn("apple", "one"), start("two", id="bob"), turn("pear", "two"))

    def rows(query: str) -> list[str]:
        return [name for name in re.findall(r'id=(\w+)"', ask(f"/{query}").text) if name in ("one", "two")]

    assert rows("") == ["two", "one"]
    assert rows("?text=apple") == rows("?user=ann") == rows("?session=on") == ["one"]
    assert rows("?text=apple&user=bob") == []
    assert rows("?page=99&project=app&nonsense=1") == ["two", "one"]


@pytest.mark.parametrize("session_id", ["..", "a/b?c#d e", "%2F", "ä&id=x", *HOSTILE])
def test_any_session_has_a_page_and_a_link_to_it(ask: Ask, post: Post, session_id: str) -> None:
    post(turn("found it", session_id))
    (link,) = (address for address in Parsed(ask("/").text).values("href") if address.startswith("/session?"))
    page = ask(link)

    assert page.status == 200
    assert "found it" in Parsed(page.text).text
    assert problems_of(page.text, scripts=1) == []


def test_an_event_is_found_by_its_number(ask: Ask, post: Post) -> None:
    post(*(turn(f"number {number}.") for number in range(150)))

    assert "number 149." not in ask("/session?project=app&id=s").text
    assert "number 149." in ask("/session?project=app&id=s&event=150").text


def test_a_refused_request_is_told_with_its_text(ask: Ask, post: Post) -> None:
    assert post({"type": "track", "session_id": "s", "event": "<b>", "conversation_id": 7}) == 400
    assert "conversation_id: Input should be a valid string" in Parsed(ask("/problems").text).text
    assert ">Problems</span><span" in ask("/").text


def test_faults_that_were_planned_are_told_too(service: LocalMindlytics, ask: Ask, post: Post) -> None:
    service.fail_next(503)
    assert post(turn()) == 503
    text = Parsed(ask("/problems").text).text
    assert "503" in text
    assert "a fault on request" in text


def test_pages_of_our_own_are_no_problems(ask: Ask) -> None:
    ask("/session?id=none")
    ask("/nowhere")
    assert "No problems" in ask("/problems").text


@pytest.mark.parametrize("query", ["text=%ED%A0%80", "text=%00", "text=%FF", "page=-1", "page=" + "9" * 400])
def test_odd_addresses_do_no_harm(ask: Ask, post: Post, query: str) -> None:
    post(turn())
    assert ask(f"/?{query}").status == 200
    assert ask(f"/session?id=s&{query}").status == 200
    assert ask(f"/session?id={quote('<script>')}&{query}").status == 404


def test_after_a_new_beginning_there_is_nothing(service: LocalMindlytics, ask: Ask, post: Post) -> None:
    post(turn(), {**turn(), "odd": 1})
    post({"type": "nonsense"})
    service.clear()

    assert "Nothing has arrived yet" in ask("/").text
    assert "No problems" in ask("/problems").text


@pytest.mark.parametrize("address", ["/", "/session?id=s", "/page/changes", "/local/events"])
def test_a_foreign_name_that_leads_here_reads_nothing(ask: Ask, post: Post, address: str) -> None:
    post(turn("a secret"))
    answer = ask(address, Host="evil.example")

    assert answer.status == 403
    assert "secret" not in answer.text
    assert answer.headers["Content-Type"].startswith("text/plain")
