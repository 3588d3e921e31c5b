"""What went wrong, as HTML."""

from __future__ import annotations

from typing import Any

import pytest
from support.markup import HOSTILE, Parsed, problems_of
from support.wire import AT

from mlsdk.local.faults import Fault
from mlsdk.local.page.problems import problems_page
from mlsdk.local.state import RecordedRequest


def refused(number: int = 1, **fields: Any) -> RecordedRequest:
    told = {"path": "/bc/v1/events/queue", "status": 400, "refusal": "Invalid event: properties.user", **fields}
    return RecordedRequest(
        number=number, method="POST", query={}, headers={}, idempotency_key=None, events=2, size=1234, at=AT, **told
    )


def text_of(*requests: RecordedRequest, count: int | None = None, **unknown_fields: int) -> str:
    count = len(requests) if count is None else count
    return Parsed(problems_page(requests, count=count, unknown_fields=unknown_fields)).text


def test_nothing_wrong() -> None:
    assert "No problems" in text_of()


def test_a_refused_request_says_what_was_wrong_with_it() -> None:
    text = text_of(refused())

    for part in ("1 request was not answered", "400", "POST /bc/v1/events/queue", "Invalid event: properties.user"):
        assert part in text
    assert "2 events, 1,234 bytes" in text
    assert "a fault on request" not in text


def test_faults_that_were_asked_for_are_told_apart() -> None:
    assert "a fault on request: this answer" in text_of(refused(fault=Fault.answer(503)))
    assert "a fault on request: reset" in text_of(refused(status=None, refusal=None, fault=Fault.reset()))
    assert "a fault on request" not in text_of(refused(fault=Fault.slow(delay=1)))


def test_more_than_is_shown_is_counted() -> None:
    assert "1,500 requests were not answered as asked, the newest 2 are shown" in text_of(
        refused(2), refused(1), count=1500
    )


def test_fields_that_nobody_reads() -> None:
    text = text_of(usr=3, idd=1)
    for part in ("usr", "3 times", "idd", "1 time"):
        assert part in text


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_texts_stay_texts(hostile: str) -> None:
    page = problems_page([refused(path=hostile, refusal=hostile)], count=1, unknown_fields={hostile: 1})

    assert problems_of(page) == []
    assert Parsed(page).text.count(hostile) == 3
