"""When an outage begins and when it ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsdk.delivery.outage import SLIP, Outage
from mlsdk.delivery.outcome import Outcome, of_answer, of_failure

OK = of_answer(200, "")
SLOW = of_failure("the connection failed")
NOBODY = of_failure("cannot connect", is_unreachable=True)
BUSY = of_answer(503, "")
BROKEN = of_answer(500, "")


NOT_YET = SLIP / 2


@pytest.mark.parametrize(
    ("outcomes", "changes"),
    [
        ([(OK, 0), (OK, 0)], ""),
        ([(SLOW, 9), (OK, 9), (BUSY, 9), (OK, 9), (BROKEN, 9), (OK, 9)], ""),  # a slip is nobody's news
        ([(BUSY, 0)] * 8 + [(OK, NOT_YET)], ""),  # nor are many at a time
        ([(SLOW, 0), (SLOW, NOT_YET), (SLOW, NOT_YET), (SLOW, SLIP)], "3"),
        ([(BUSY, 0), (BROKEN, SLIP)], "2"),
        ([(BUSY, 0), (OK, 0), (BUSY, SLIP), (BUSY, NOT_YET)], ""),  # an answer between them is an answer
        ([(NOBODY, 0), (NOBODY, 0)], "1"),
        ([(NOBODY, 0), (OK, 0), (NOBODY, 0)], "123"),
        # An answer is an answer, if only a refusal: the service is there.
        ([(NOBODY, 0), (of_answer(400, ""), 0), (BUSY, 9)], "12"),
        ([(NOBODY, 0), (of_answer(403, ""), 0)], "12"),
        ([(NOBODY, 0), (of_answer(413, ""), 0)], "12"),
        ([(NOBODY, 0), (of_answer(302, ""), 0)], "12"),
        ([(SLOW, 0), (of_answer(422, ""), 9), (SLOW, 9)], ""),
        ([(NOBODY, 0), (BUSY, 9), (BROKEN, 9), (SLOW, 9)], "1"),
    ],
)
def test_an_outage_begins_and_ends_with_these(outcomes: list[tuple[Outcome, float]], changes: str) -> None:
    """Each outcome, and how many seconds after the one before it."""
    outage = Outage()
    now = 100.0
    found = ""
    for number, (outcome, after) in enumerate(outcomes, 1):
        now += after
        found += str(number) if outage.see(outcome, now) else ""
    assert found == changes


@given(st.lists(st.tuples(st.sampled_from([OK, SLOW, NOBODY, BUSY, BROKEN]), st.floats(0, 3 * SLIP))))
def test_begin_and_end_take_turns(outcomes: list[tuple[Outcome, float]]) -> None:
    outage = Outage()
    was_on = False
    now = 0.0
    for outcome, after in outcomes:
        now += after
        assert outage.see(outcome, now) == (outage.is_on != was_on)
        was_on = outage.is_on
        assert not (was_on and outcome is OK)
