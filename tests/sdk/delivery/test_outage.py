"""When an outage begins and when it ends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsdk.delivery.outage import Outage
from mlsdk.delivery.outcome import Outcome, of_answer, of_failure

OK = of_answer(200, "")
SLOW = of_failure("no answer in time")
NOBODY = of_failure("cannot connect", is_unreachable=True)
BUSY = of_answer(503, "")
BROKEN = of_answer(500, "")


@pytest.mark.parametrize(
    ("outcomes", "changes"),
    [
        ([OK, OK], ""),
        ([SLOW, OK, SLOW, OK, BUSY, OK, BROKEN, OK], ""),  # a slip is nobody's news
        ([SLOW, SLOW, SLOW], "2"),
        ([BUSY, BROKEN], "2"),
        ([NOBODY, NOBODY], "1"),
        ([NOBODY, OK, NOBODY], "123"),
        ([SLOW, SLOW, SLOW, OK, OK, SLOW, OK, SLOW, SLOW], "249"),
        # An answer is an answer, if only a refusal: the service is there.
        ([NOBODY, of_answer(400, ""), BUSY], "12"),
        ([NOBODY, of_answer(403, "")], "12"),
        ([NOBODY, of_answer(413, "")], "12"),
        ([NOBODY, of_answer(302, "")], "12"),
        ([SLOW, of_answer(422, ""), SLOW], ""),
        ([NOBODY, BUSY, BROKEN, SLOW], "1"),
    ],
)
def test_an_outage_begins_and_ends_with_these(outcomes: list[Outcome], changes: str) -> None:
    outage = Outage()
    assert [number for number, each in enumerate(outcomes, 1) if outage.see(each)] == [int(each) for each in changes]


@given(st.lists(st.sampled_from([OK, SLOW, NOBODY, BUSY, BROKEN])))
def test_begin_and_end_take_turns(outcomes: list[Outcome]) -> None:
    outage = Outage()
    was_on = False
    for outcome in outcomes:
        assert outage.see(outcome) == (outage.is_on != was_on)
        was_on = outage.is_on
        assert not (was_on and outcome is OK)
