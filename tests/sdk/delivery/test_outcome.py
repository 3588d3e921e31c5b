"""What an answer means."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsdk.delivery.outcome import MAX_RETRY_AFTER, Verdict, of_answer, of_failure

NOW = 1_750_000_000.0


@pytest.mark.parametrize(
    ("verdict", "statuses"),
    [
        (Verdict.DELIVERED, [200, 201, 202, 204, 299]),
        (Verdict.TRY_LATER, [408, 425, 429, 502, 503, 504]),
        (Verdict.SERVER_ERROR, [500, 501, 505, 507, 520, 599]),
        (Verdict.TOO_LARGE, [413]),
        (Verdict.REFUSED, [400, 422]),
        (Verdict.NOT_ALLOWED, [401, 403, 404, 405, 300, 301, 302, 303, 304, 307, 308]),
        # They say nothing against an event either, so none is given up for them.
        (Verdict.NOT_ALLOWED, [402, 406, 407, 409, 410, 411, 415, 421, 426, 431, 451, 499]),
    ],
)
def test_each_status_has_one_verdict(verdict: Verdict, statuses: list[int]) -> None:
    assert {status: of_answer(status, "").verdict for status in statuses} == dict.fromkeys(statuses, verdict)


@given(st.integers(100, 999))
def test_no_status_is_without_a_verdict_and_only_2xx_delivers(status: int) -> None:
    assert (of_answer(status, "").verdict is Verdict.DELIVERED) == (200 <= status < 300)


def test_no_answer_is_tried_later() -> None:
    outcome = of_failure("the connection failed", is_unreachable=True)
    assert (outcome.verdict, outcome.status, outcome.is_unreachable) == (Verdict.TRY_LATER, -1, True)
    assert outcome.after is None


def test_the_message_is_the_services_own_or_names_the_status() -> None:
    assert of_answer(403, "No organization found").message == "No organization found"
    assert of_answer(403, "").message == "HTTP status 403"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("0", 0.0),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("1.5", 1.5),
        ("600", 600.0),
        ("601", 600.0),
        ("9" * 400, 600.0),
        (formatdate(NOW + 30, usegmt=True), 30.0),
        (formatdate(NOW + 30), 30.0),  # "-0000"
        (formatdate(NOW - 30, usegmt=True), 0.0),
        (formatdate(NOW + 86400, usegmt=True), 600.0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("nan", None),
        ("inf", None),
        ("1e9", None),
        ("1_0", None),
        ("1.2.3", None),
        ("Xxx, 99 Foo 2025 99:99:99 GMT", None),
        ("Sun, 06 Nov 99999 08:49:37 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_capped(header: str | None, seconds: float | None) -> None:
    assert of_answer(429, "", retry_after=header, now=NOW).after == seconds


@given(st.one_of(st.text(), st.text(alphabet="SunNov, 0123456789:+-GMT.")), st.floats(0, 4e9))
def test_no_retry_after_is_unreadable_enough_to_raise(header: str, now: float) -> None:
    after = of_answer(503, "", retry_after=header, now=now).after
    assert after is None or 0.0 <= after <= MAX_RETRY_AFTER
