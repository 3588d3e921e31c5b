"""What to do next with a shipment, given what became of its last try. Pure.

| verdict | several events | one event |
| --- | --- | --- |
| delivered | settle | settle |
| too large | halve | refuse |
| refused | halve | send it bare (no array); refused again: refuse |
| not allowed, key known good | as refused | as refused, but refuse only after a probe just passed |
| not allowed, key not known good | hold, and probe | hold, and probe |
| server error | wait; after 5 of them halve | wait; after 10 alone, if others got through since: refuse |
| try later | wait | wait |

Of an event alone only its own server errors count, and others have to have got through before the last of them: else a
connection that is tied to one broken machine of the service would have every event of a batch refused at once.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from mlsdk.delivery.outcome import Outcome, Verdict

FIRST_WAIT: Final = 0.5
"""Seconds: the upper end of the first wait; it doubles with each failure in a row."""
LONGEST_WAIT: Final = 10.0
"""Seconds: the upper end of any wait that the service did not ask for."""
ERRORS_BEFORE_HALVING: Final = 5
ERRORS_BEFORE_REFUSING: Final = 10


class Action(Enum):
    """What to do with a shipment."""

    SETTLE = "settle"
    WAIT = "wait"
    HALVE = "halve"
    SEND_BARE = "send bare"
    REFUSE = "refuse"
    PROBE = "probe"
    """Ask the service, with an array of no events, whether it takes anything at all; then decide again."""


def next_action(
    outcome: Outcome,
    *,
    size: int,
    is_bare: bool,
    server_errors: int,
    others_got_through: bool,
    key_is_good: bool,
    probe_passed: bool,
) -> Action:
    """The rules of the table above.

    Args:
        outcome: What became of the last try.
        size: Events in the shipment.
        is_bare: The last try was of one event outside an array.
        server_errors: Tries that were answered by one; of several events those before they were halved off included.
        others_got_through: Another shipment was delivered between the first try and the last.
        key_is_good: The last answer before this one was a 2xx, or a probe passed since.
        probe_passed: A probe passed after this very try.
    """
    verdict = outcome.verdict
    if verdict is Verdict.DELIVERED:
        return Action.SETTLE
    if verdict is Verdict.TRY_LATER:
        return Action.WAIT
    if verdict is Verdict.TOO_LARGE:
        return Action.HALVE if size > 1 else Action.REFUSE
    if verdict is Verdict.SERVER_ERROR:
        return _after_server_error(size, server_errors, others_got_through)
    action = Action.HALVE if size > 1 else Action.REFUSE if is_bare else Action.SEND_BARE
    if verdict is Verdict.NOT_ALLOWED and not probe_passed and (action is Action.REFUSE or not key_is_good):
        # No event is given up for a key that may have been revoked a moment ago.
        return Action.PROBE
    return action


def _after_server_error(size: int, server_errors: int, others_got_through: bool) -> Action:
    if size > 1 and server_errors >= ERRORS_BEFORE_HALVING:
        return Action.HALVE
    if size == 1 and server_errors >= ERRORS_BEFORE_REFUSING and others_got_through:
        return Action.REFUSE
    return Action.WAIT


def wait_seconds(failures: int, *, jitter: float, after: float | None = None) -> float:
    """How long to wait before the next try: full jitter over an exponential bound, never less than was asked for.

    Args:
        failures: Failed tries in a row, 1 or more.
        jitter: A random number from 0 to 1.
        after: Seconds that the service asked for.
    """
    bound = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(failures - 1, 16))
    return max(bound * jitter, after or 0.0)
