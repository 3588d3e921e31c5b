"""Whether the service can be reached, told from a stream of outcomes. Pure.

An outage begins when no connection can be made or no answer comes in time, or when for a while everything has failed.
Slips (a reset connection, a 503, several requests at a time that are told to slow down) are nobody's news: what would
be an outage by the first of them would be over by the next answer. It ends with the first answer that is no failure.
"""

from __future__ import annotations

from typing import Final

from mlsdk.delivery.outcome import Outcome, Verdict

SLIP: Final = 0.5
"""Seconds for which everything may fail before that is an outage."""


class Outage:
    """The state between two outcomes."""

    def __init__(self) -> None:
        self._failing_since: float | None = None
        self.is_on = False

    def see(self, outcome: Outcome, now: float) -> bool:
        """Takes in an outcome; returns whether an outage began or ended with it (`is_on` says which).

        Args:
            outcome: What became of a request.
            now: When, in seconds of a clock that never goes backwards.
        """
        if outcome.verdict not in (Verdict.TRY_LATER, Verdict.SERVER_ERROR):
            self._failing_since = None
            was_on, self.is_on = self.is_on, False
            return was_on
        if self._failing_since is None:
            self._failing_since = now
        if self.is_on or not (outcome.is_unreachable or now - self._failing_since >= SLIP):
            return False
        self.is_on = True
        return True
