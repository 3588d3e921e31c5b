"""Which of several functions a result, a request or a run is about."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mlsdk_otel.translation.facts import ToolRequest, ToolResult, ToolRun
from mlsdk_otel.translation.functions import Function, by_id, find_alike, find_asked, give

IDS = st.none() | st.sampled_from(["1", "2", "3"])
ARGUMENTS = st.sampled_from([None, '{"a": 1}', '{"a":1}', '{"a":2}'])
FUNCTIONS = st.lists(
    st.builds(Function, st.sampled_from(["look", "read", None]), IDS, ARGUMENTS, st.just(0), has_run=st.booleans())
)


def asked(call_id: str | None, arguments: str | None = None, *, name: str = "look", has_run: bool = False) -> Function:
    return Function(name, call_id, arguments, 0, has_run=has_run)


def test_what_has_no_id_is_nobodys() -> None:
    assert by_id([asked(None)], None) is None
    assert by_id([asked(None), asked("1")], "1") == asked("1")


def test_a_result_that_is_not_shown_takes_nothing_away() -> None:
    function = asked("1")
    assert not function.is_known_to_have_run
    give(function, ToolResult("1", None, "rain"))
    give(function, ToolResult("1", None, None))
    assert (function.result, function.is_known_to_have_run) == ("rain", True)


def test_a_run_answers_the_request_with_its_arguments_else_the_first_that_is_open() -> None:
    first, second = asked(None, '{"a": 1}'), asked(None, '{"a": 2}')
    assert find_asked([first, second], ToolRun("look", None, '{"a":2}')) is second
    assert find_asked([first, second], ToolRun("look", None, '{"a":3}')) is first
    assert find_asked([asked("1", has_run=True)], ToolRun("look", None, None)) is None


def test_a_request_under_another_id_is_found_where_its_own_is_named_no_more() -> None:
    known = asked("fc_1", '{"a": 1}')
    assert find_alike([known], ToolRequest("look", "call_1", '{"a":1}'), {"call_1"}) is known
    assert find_alike([known], ToolRequest("look", "call_1", '{"a":1}'), {"call_1", "fc_1"}) is None
    assert find_alike([known], ToolRequest("read", "call_1", '{"a":1}'), {"call_1"}) is None


@given(FUNCTIONS, st.builds(ToolRun, st.sampled_from(["look", "read", None]), IDS, ARGUMENTS))
def test_a_run_never_answers_the_request_of_another_call_or_of_another_function(
    functions: list[Function], run: ToolRun
) -> None:
    found = find_asked(functions, run)
    if found is None or (run.call_id is not None and found.call_id == run.call_id):
        return
    assert found in functions
    assert not found.has_run
    assert None in (run.call_id, found.call_id)
    assert run.name is None or found.name == run.name
