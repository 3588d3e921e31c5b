"""Runs as LangChain tells of them, without LangChain: what belongs together, and what is recorded when."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mlsdk.helpers.runs import Runs
from mlsdk.helpers.turns import Call, Found, Turn, Usage

ASK = Call(name="order", call_id="c1", args='{"number": 7}')


def user(text: str) -> SimpleNamespace:
    return SimpleNamespace(type="human", content=text)


def asking(*call_ids: str) -> SimpleNamespace:
    calls = [{"name": "order", "args": {"number": 7}, "id": call_id} for call_id in call_ids]
    return SimpleNamespace(type="ai", content="", tool_calls=calls)


def result(call_id: str) -> SimpleNamespace:
    return SimpleNamespace(type="tool", content="on its way", tool_call_id=call_id)


def used(prompt: int, completion: int, model: str | None = "big") -> Usage:
    return Usage(model, prompt, completion)


def test_a_model_alone_is_a_turn() -> None:
    runs = Runs()
    runs.model_started("m", None, [user("hi")])
    found = runs.model_ended("m", text="hello", usage=used(1, 2))
    assert found == [Found("m", Turn("hi", "hello", used(1, 2)))]
    assert len(runs) == 0


def test_an_agent_is_one_turn_with_all_that_it_took() -> None:
    runs = Runs()
    runs.chain_started("agent", None, {"messages": [("user", "Where is 7?")]})
    runs.chain_started("node", "agent")
    runs.model_started("m1", "node", [user("Where is 7?")])
    assert runs.model_ended("m1", text="", requests=[ASK], usage=used(10, 5)) == []
    assert runs.chain_ended("node") == []
    runs.tool_started("t", "agent", Call(name="order", args="{}"), at=1.0)
    assert runs.tool_ended("t", result="on its way", call_id="c1", at=1.25) == [
        Found("agent", calls=(Call(name="order", call_id="c1", args="{}", result="on its way", runtime=250),))
    ]
    history = [user("Where is 7?"), asking("c1"), result("c1")]
    runs.model_started("m2", "agent", history)
    assert runs.model_ended("m2", text="It is on its way.", usage=used(20, 6)) == []
    answer = SimpleNamespace(type="ai", content="It is on its way.")
    assert runs.chain_ended("agent", {"messages": [*history, answer]}) == [
        Found("agent", Turn("Where is 7?", "It is on its way.", used(30, 11)))
    ]
    assert len(runs) == 0


def test_a_model_that_asks_for_functions_waits_for_the_one_that_answers() -> None:
    """The handler is on the model only, so nothing is known of the agent around."""
    runs = Runs()
    runs.model_started("m1", "unknown", [user("Where is 7?")])
    assert runs.model_ended("m1", text="", requests=[ASK], usage=used(10, 5)) == []
    runs.model_started("m2", "unknown", [user("Where is 7?"), asking("c1"), result("c1")])
    assert runs.model_ended("m2", text="It is on its way.", usage=used(20, 6)) == [
        Found(
            "m2",
            Turn("Where is 7?", "It is on its way.", used(30, 11)),
            calls=(Call(name="order", call_id="c1", args='{"number": 7}', result="on its way"),),
        )
    ]


def test_other_models_are_told_apart() -> None:
    runs = Runs()
    runs.chain_started("agent", None, "which?")
    runs.model_started("router", "agent", [user("classify: which?")])
    runs.model_ended("router", text="orders", usage=used(3, 1, "small"))
    runs.model_started("answerer", "agent", [user("which?")])
    runs.model_ended("answerer", text="This one.", usage=used(5, 2))
    assert runs.chain_ended("agent", "This one.") == [
        Found("agent", Turn("which?", "This one.", used(5, 2)), usage=(used(3, 1, "small"),))
    ]


def test_the_answer_is_what_came_out_whoever_spoke_last() -> None:
    runs = Runs()
    runs.chain_started("agent", None, "which?")
    runs.model_started("answerer", "agent", [user("which?")])
    runs.model_ended("answerer", text="This one.", usage=used(5, 2))
    runs.model_started("title", "agent", [user("a title for: This one.")])
    runs.model_ended("title", text="A question", usage=used(3, 1, "small"))
    (found,) = runs.chain_ended("agent", "This one.")
    assert found.turn == Turn("which?", "This one.", used(5, 2))
    assert found.usage == (used(3, 1, "small"),)


def test_an_output_that_says_nothing_leaves_it_to_the_last_model() -> None:
    runs = Runs()
    runs.chain_started("chain", None, {"topic": "bears"})
    runs.model_started("m", "chain", [user("a joke about bears")])
    runs.model_ended("m", text='{"joke": "..."}')
    assert runs.chain_ended("chain", {"joke": "..."}) == [Found("chain", Turn("a joke about bears", '{"joke": "..."}'))]


def test_data_asked_for_as_a_function_are_the_answer() -> None:
    runs = Runs()
    runs.chain_started("chain", None, "a joke")
    runs.model_started("m", "chain", [user("a joke")])
    runs.model_ended("m", text="", requests=[Call(name="Joke", call_id="c1", args='{"joke": "..."}')])
    assert runs.chain_ended("chain", {"joke": "..."}) == [Found("chain", Turn("a joke", '{"joke": "..."}'))]


def test_a_chain_without_a_model_says_nothing() -> None:
    runs = Runs()
    runs.chain_started("chain", None, "in")
    assert runs.chain_ended("chain", "out") == []


def test_what_a_failed_agent_took_is_told() -> None:
    runs = Runs()
    runs.chain_started("agent", None, "Where is 7?")
    runs.model_started("m1", "agent", [user("Where is 7?")])
    runs.model_ended("m1", text="", requests=[ASK], usage=used(10, 5))
    runs.tool_started("t", "agent", ASK, at=0.0)
    (failed,) = runs.tool_ended("t", result="OSError: gone", at=0.5, has_failed=True)
    assert failed.calls[0].has_failed
    assert runs.chain_ended("agent", has_failed=True) == [Found("agent", usage=(used(10, 5),))]


def test_a_failed_call_after_one_that_asked_is_told() -> None:
    runs = Runs()
    runs.model_started("m1", None, [user("Where is 7?")])
    runs.model_ended("m1", text="", requests=[ASK], usage=used(10, 5))
    runs.model_started("m2", None, [user("Where is 7?"), asking("c1"), result("c1")])
    assert runs.model_ended("m2", text=None, has_failed=True) == [Found("m2", usage=(used(10, 5),))]


def test_a_stream_that_is_left_is_a_partial_turn() -> None:
    runs = Runs()
    runs.model_started("m", None, [user("hi")])
    for piece in ("Once ", "upon "):
        runs.model_said("m", piece)
    assert runs.model_ended("m", text="Once ", has_failed=True) == [
        Found("m", Turn("hi", "Once upon ", is_partial=True))
    ]


def test_a_chain_waits_for_the_stream_within() -> None:
    """Whoever leaves a chain's stream ends the chain first; the model's end comes when its generator is collected."""
    runs = Runs()
    runs.chain_started("chain", None, {"input": ""})
    runs.model_started("m", "chain", [user("Context. Question: hi")])
    runs.model_said("m", "Once ")
    assert runs.chain_ended("chain", "Once ", inputs={"question": "hi"}) == []
    assert runs.model_ended("m", text="Once ", has_failed=True) == [
        Found("chain", Turn("hi", "Once ", is_partial=True))
    ]


def test_an_agent_that_is_left_after_its_answer_has_answered() -> None:
    runs = Runs()
    runs.chain_started("agent", None, "hi")
    runs.model_started("m", "agent", [user("hi")])
    runs.model_ended("m", text="hello", usage=used(1, 2))
    assert runs.chain_ended("agent", was_left=True) == [Found("agent", Turn("hi", "hello", used(1, 2)))]


def test_an_agent_that_is_left_before_its_answer_has_none() -> None:
    runs = Runs()
    runs.chain_started("agent", None, "hi")
    runs.model_started("m", "agent", [user("hi")])
    runs.model_ended("m", text="let me see", requests=[ASK], usage=used(1, 2))
    assert runs.chain_ended("agent", was_left=True) == [Found("agent", usage=(used(1, 2),))]


def test_an_interrupted_agent_goes_on_in_another_run() -> None:
    runs = Runs()
    runs.chain_started("first", None, {"messages": [("user", "Cancel 7")]})
    runs.model_started("m1", "first", [user("Cancel 7")])
    runs.model_ended("m1", text="", requests=[ASK], usage=used(10, 5))
    runs.tool_started("t1", "first", ASK, at=0.0)
    runs.forget("t1")
    assert runs.chain_ended("first", {"messages": [user("Cancel 7"), asking("c1")]}) == []
    runs.chain_started("second", None, object())
    runs.tool_started("t2", "second", ASK, at=5.0)
    assert len(runs.tool_ended("t2", result="cancelled", at=5.0)) == 1
    history = [user("Cancel 7"), asking("c1"), result("c1")]
    runs.model_started("m2", "second", history)
    runs.model_ended("m2", text="Done.", usage=used(20, 6))
    (found,) = runs.chain_ended("second", {"messages": [*history, SimpleNamespace(type="ai", content="Done.")]})
    assert found == Found("second", Turn("Cancel 7", "Done.", used(30, 11)))


def test_a_run_that_is_told_twice_is_one() -> None:
    runs = Runs()
    for _ in range(2):
        runs.model_started("m", None, [user("hi")])
    assert len(runs.model_ended("m", text="hello")) == 1
    assert runs.model_ended("m", text="hello") == []


def test_the_name_asked_for_stands_in_for_the_one_that_answered() -> None:
    runs = Runs()
    runs.model_started("m", None, [user("hi")], name="asked")
    (found,) = runs.model_ended("m", text="hello", usage=used(1, 2, None))
    assert found.turn is not None
    assert found.turn.usage == used(1, 2, "asked")


def test_ends_of_unknown_runs_are_nothing() -> None:
    runs = Runs()
    runs.model_said("x", "hi")
    assert runs.model_ended("x", text="hi") == runs.chain_ended("x") == runs.tool_ended("x", result="", at=0) == []


def test_runs_that_never_end_do_not_pile_up() -> None:
    runs = Runs(limit=10)
    for number in range(100):
        runs.model_started(number, None, [user("hi")])
    assert len(runs) == 10
    told: list[Found] = []
    for number in range(100):
        runs.model_started(f"m{number}", None, [user("hi")])
        ask = Call(name="order", call_id=str(number))
        told += runs.model_ended(f"m{number}", text="", requests=[ask], usage=used(1, 1))
    # What waits longest is told as usage of no turn.
    assert [each.turn for each in told] == [None] * 90
    assert sum(usage.prompt_tokens for each in told for usage in each.usage) == 90


@settings(max_examples=50)
@given(st.integers(2, 12), st.randoms(use_true_random=False), st.booleans())
def test_parallel_runs_do_not_meet(count: int, dice: random.Random, is_agent: bool) -> None:
    """Any number of agents, or of models whose agents are not known, step by step in any order."""
    runs, found = Runs(), []

    def steps(number: int) -> Any:
        agent, call_id, said = f"agent-{number}", f"c{number}", f"question {number}"
        ask = Call(name="order", call_id=call_id, args='{"number": 7}')
        if is_agent:
            runs.chain_started(agent, None, {"messages": [("user", said)]})
            yield []
        runs.model_started(f"{agent}-1", agent, [user(said)])
        yield []
        yield runs.model_ended(f"{agent}-1", text="", requests=[ask], usage=used(number, 1))
        if is_agent:
            runs.tool_started(f"{agent}-t", agent, ask, at=0.0)
            yield []
            yield runs.tool_ended(f"{agent}-t", result="on its way", at=0.0)
        history = [user(said), asking(call_id), result(call_id)]
        runs.model_started(f"{agent}-2", agent, history)
        yield []
        yield runs.model_ended(f"{agent}-2", text=f"answer {number}", usage=used(10 * number, 2))
        if is_agent:
            answer = SimpleNamespace(type="ai", content=f"answer {number}")
            yield runs.chain_ended(agent, {"messages": [*history, answer]})

    going = [steps(number) for number in range(1, count + 1)]
    while going:
        one = dice.choice(going)
        try:
            found += next(one)
        except StopIteration:
            going.remove(one)
    got = {each.turn.user: each.turn for each in found if each.turn is not None}
    assert got == {
        f"question {number}": Turn(f"question {number}", f"answer {number}", used(11 * number, 3))
        for number in range(1, count + 1)
    }
    assert sorted(call.call_id or "" for each in found for call in each.calls) == sorted(
        f"c{number}" for number in range(1, count + 1)
    )
    assert len(runs) == 0


def test_a_model_whose_end_nobody_tells_is_over_with_its_agent() -> None:
    """LangGraph cancels its tasks, and LangChain says nothing of a call that is cancelled."""
    runs = Runs()
    runs.chain_started("agent", None, "hi")
    runs.chain_started("node", "agent")
    runs.model_started("m", "node", [user("hi")])
    runs.model_said("m", "Once ")
    assert runs.chain_ended("agent", was_left=True) == [Found("agent", Turn("hi", "Once ", is_partial=True))]
    assert len(runs) == 0
    assert runs.model_ended("m", text=None, has_failed=True) == []


def test_a_model_that_goes_on_after_its_agent_makes_no_second_turn() -> None:
    runs = Runs()
    runs.chain_started("agent", None, "hi")
    runs.chain_started("task", "agent")
    runs.model_started("m", "agent", [user("hi")])
    runs.model_ended("m", text="hello")
    assert len(runs.chain_ended("agent", "hello")) == 1
    runs.model_started("title", "task", [user("a title")])
    assert runs.model_ended("title", text="Hello", usage=used(1, 1)) == [Found("agent", usage=(used(1, 1),))]


def test_an_agent_whose_model_nobody_tells_of_is_read_by_its_output() -> None:
    """LangChain's agent, awaited before Python 3.11, calls its model without the handlers of the call."""
    runs = Runs()
    runs.chain_started("agent", None, {"messages": [user("Where is 7?")]})
    runs.tool_started("t", "agent", ASK, at=0.0)
    runs.tool_ended("t", result="on its way", at=0.0)
    answer = SimpleNamespace(
        type="ai",
        content="It is on its way.",
        usage_metadata={"input_tokens": 20, "output_tokens": 6},
        response_metadata={"model_name": "big"},
    )
    outputs = {"messages": [user("Where is 7?"), asking("c1"), result("c1"), answer]}
    assert runs.chain_ended("agent", outputs) == [Found("agent", Turn("Where is 7?", "It is on its way.", used(20, 6)))]


def test_a_chain_that_passes_a_conversation_on_answers_nothing() -> None:
    runs = Runs()
    history = [user("hi"), SimpleNamespace(type="ai", content="hello")]
    runs.chain_started("trim", None, history)
    assert runs.chain_ended("trim", history) == []


def test_ids_that_are_used_again_at_the_same_time_lose_nothing() -> None:
    runs, found = Runs(), []
    for chat in ("a", "b"):
        runs.chain_started(chat, None, {"messages": [("user", chat)]})
        runs.tool_started(f"{chat}-t", chat, ASK, at=0.0)
        found += runs.tool_ended(f"{chat}-t", result="on its way", at=0.0)
        runs.model_started(f"{chat}-alone", None, [user(chat)])
        found += runs.model_ended(f"{chat}-alone", text="", requests=[ASK], usage=used(1, 1))
    for chat in ("a", "b"):
        runs.model_started(f"{chat}-m", chat, [user(chat), asking("c1"), result("c1")])
        found += runs.model_ended(f"{chat}-m", text="done", usage=used(10, 1))
        found += runs.chain_ended(chat, "done")
    assert sum(len(each.calls) for each in found) == 2
    assert sum(each.turn.usage.prompt_tokens for each in found if each.turn and each.turn.usage) == 22
