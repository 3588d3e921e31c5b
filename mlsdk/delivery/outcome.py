"""What an answer of the service means for the events that were sent. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timezone
from enum import Enum
from typing import Final

MAX_RETRY_AFTER: Final = 600.0
"""Seconds: a longer `Retry-After` is cut to this."""
_TRY_LATER: Final = frozenset({408, 425, 429, 502, 503, 504})
_BAD_EVENT: Final = frozenset({400, 422})


class Verdict(Enum):
    """What has become of a request."""

    DELIVERED = "delivered"
    REFUSED = "refused"
    """The service does not want at least one of the events (400, 422)."""
    TOO_LARGE = "too large"
    TRY_LATER = "try later"
    """Nothing is wrong with the events: no answer, or an answer that says so (408, 425, 429, 502, 503, 504)."""
    SERVER_ERROR = "server error"
    """500 and the other 5xx: the service's fault, or an event that it cannot stand."""
    NOT_ALLOWED = "not allowed"
    """The key, the project, the address or something else about every request is wrong (any redirect, and any 4xx that
    is none of the above: 401, 403, 404, 405, and so 402, 407 or 410 too, which say nothing against an event)."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The meaning of one answer.

    Attributes:
        verdict: What has become of the request.
        status: The HTTP status, or -1 when there was no answer.
        message: The service's own text, or what went wrong on the way.
        after: Seconds that the service asks to leave it alone, if it said so.
        is_unreachable: No connection could be made (refused, too slow, no such host, bad certificate), or no answer
            came in time.
    """

    verdict: Verdict
    status: int
    message: str
    after: float | None = None
    is_unreachable: bool = False


def of_answer(status: int, message: str, *, retry_after: str | None = None, now: float = 0.0) -> Outcome:
    """The meaning of an HTTP answer.

    Args:
        status: Its status code.
        message: The start of its body.
        retry_after: Its `Retry-After` header (RFC 9110, section 10.2.3): seconds, or a date.
        now: Seconds since the Unix epoch, to which a date is compared.
    """
    return Outcome(_verdict(status), status, message or f"HTTP status {status}", _seconds(retry_after, now))


def of_failure(message: str, *, is_unreachable: bool = False) -> Outcome:
    """The meaning of a request that got no answer."""
    return Outcome(Verdict.TRY_LATER, -1, message, is_unreachable=is_unreachable)


def _verdict(status: int) -> Verdict:
    if 200 <= status < 300:
        return Verdict.DELIVERED
    if status == 413:
        return Verdict.TOO_LARGE
    if status in _TRY_LATER:
        return Verdict.TRY_LATER
    if status in _BAD_EVENT:
        return Verdict.REFUSED
    return Verdict.NOT_ALLOWED if 300 <= status < 500 else Verdict.SERVER_ERROR


def _seconds(retry_after: str | None, now: float) -> float | None:
    if retry_after is None:
        return None
    text = retry_after.strip()
    try:
        # float() alone would also take "nan", "inf" and "1e9".
        seconds = float(text) if text.replace(".", "", 1).isdecimal() else _until(text, now)
    except (ValueError, TypeError, OverflowError):
        return None  # a header that nobody can read asks for nothing
    return min(max(seconds, 0.0), MAX_RETRY_AFTER)


def _until(date: str, now: float) -> float:
    from email.utils import parsedate_to_datetime  # loads a great deal, which aiohttp has done before any answer

    moment = parsedate_to_datetime(date)
    if moment.tzinfo is None:  # "-0000": RFC 5322 says UTC of unknown place
        moment = moment.replace(tzinfo=timezone.utc)
    return moment.timestamp() - now
