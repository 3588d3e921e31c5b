"""A call that several spans tell is one."""

from __future__ import annotations

from support.foreign import bot, user

from mlsdk_otel.translation.duplicates import without_duplicates
from mlsdk_otel.translation.facts import Enclosure, ModelCall, ToolRun, Usage

OUTER = ModelCall(input=(user("hi"),), output=(bot("hello"),), request_model="m", usage=Usage(3, 4))
BARE = ModelCall(has_content=False, response_model="m-1", usage=Usage(3, 4), response_id="r")


def test_an_inner_call_fills_in_what_the_outer_one_leaves_out() -> None:
    found = without_duplicates([(1, OUTER), (2, BARE)], {2: [1]})
    assert found == {
        1: ModelCall(
            input=OUTER.input,
            output=OUTER.output,
            request_model="m",
            response_model="m-1",
            usage=Usage(3, 4),
            response_id="r",
        )
    }


def test_content_comes_from_whichever_has_it() -> None:
    found = without_duplicates([(1, BARE), (2, OUTER)], {2: [1]})[1]
    assert isinstance(found, ModelCall)
    assert (found.input, found.output, found.has_content) == (OUTER.input, OUTER.output, True)


def test_three_deep_is_still_one() -> None:
    found = without_duplicates([(1, BARE), (2, BARE), (3, OUTER)], {2: [1], 3: [2, 1]})
    assert list(found) == [1]
    assert isinstance(found[1], ModelCall)
    assert found[1].output == OUTER.output


def test_a_failed_try_inside_costs_nothing() -> None:
    failed = ModelCall(input=(user("hi"),), has_failed=True)
    found = without_duplicates([(1, OUTER), (2, failed), (3, BARE)], {2: [1], 3: [1]})
    assert list(found) == [1]
    assert without_duplicates([(1, failed), (2, failed)], {2: [1]}) == {1: failed}


def test_several_calls_that_succeeded_are_told_one_by_one() -> None:
    found = without_duplicates([(1, OUTER), (2, OUTER), (3, OUTER)], {2: [1], 3: [1]})
    assert [type(fact) for fact in found.values()] == [Enclosure, ModelCall, ModelCall]


def test_what_is_no_call_or_stands_beside_is_left_alone() -> None:
    facts = [(1, Enclosure()), (2, OUTER), (3, OUTER), (4, ToolRun("f"))]
    assert without_duplicates(facts, {2: [1], 3: [1], 4: [1]}) == dict(facts)
