"""Whether the service can be reached, told from a stream of outcomes. Pure.

An outage begins when no connection can be made at all, or at the second failure in a row; one slip (a reset connection,
a single 503) is nobody's news. It ends with the first answer that is not a failure.
"""

from __future__ import annotations

from typing import Final

from mlsdk.delivery.outcome import Outcome, Verdict

FAILURES: Final = 2
"""Failures in a row that make an outage."""


class Outage:
    """The state between two outcomes."""

    def __init__(self) -> None:
        self._failures = 0
        self.is_on = False

    def see(self, outcome: Outcome) -> bool:
        """Takes in an outcome; returns whether an outage began or ended with it (`is_on` says which)."""
        if outcome.verdict in (Verdict.TRY_LATER, Verdict.SERVER_ERROR):
            self._failures += 1
            if self.is_on or not (outcome.is_unreachable or self._failures >= FAILURES):
                return False
            self.is_on = True
            return True
        self._failures = 0
        was_on, self.is_on = self.is_on, False
        return was_on
