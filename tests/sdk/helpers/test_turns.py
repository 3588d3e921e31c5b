"""What messages say, in all the forms in which LangChain takes them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlsdk.helpers import turns
from mlsdk.helpers.turns import Answer, Call, Turn, Usage


def user(text: Any) -> SimpleNamespace:
    return SimpleNamespace(type="human", content=text)


def assistant(
    text: Any, *calls: dict[str, Any], tokens: tuple[int, int] | None = None, model: str | None = "gpt-4o"
) -> SimpleNamespace:
    usage = None if tokens is None else {"input_tokens": tokens[0], "output_tokens": tokens[1]}
    about = {} if model is None else {"model_name": model}
    return SimpleNamespace(
        type="ai", content=text, tool_calls=list(calls), usage_metadata=usage, response_metadata=about
    )


def tool(text: Any, call_id: str, **fields: Any) -> SimpleNamespace:
    return SimpleNamespace(type="tool", content=text, tool_call_id=call_id, **fields)


ASKED = {"name": "order", "args": {"number": 7}, "id": "c1"}
HISTORY = [
    user("hello"),
    assistant("Hello!", tokens=(1, 1)),
    user("Where is 7?"),
    assistant("", ASKED, tokens=(10, 5)),
    tool("on its way", "c1"),
    assistant("It is on its way.", tokens=(20, 6)),
]
CALL = Call(name="order", call_id="c1", args='{"number": 7}', result="on its way")


@pytest.mark.parametrize(
    ("message", "role"),
    [
        (user("hi"), "user"),
        (SimpleNamespace(type="AIMessageChunk"), "assistant"),
        (SimpleNamespace(type="chat", role="user"), "user"),
        (("human", "hi"), "user"),
        ({"role": "user", "content": "hi"}, "user"),
        ({"type": "tool", "content": "hi"}, "tool"),
        ("hi", "user"),
        (SimpleNamespace(type="system"), "other"),
        (("a", "b", "c"), "other"),
        (None, "other"),
        (7, "other"),
    ],
)
def test_who_speaks(message: object, role: str) -> None:
    assert turns.role_of(message) == role


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (user("hi"), "hi"),
        (("human", "hi"), "hi"),
        ({"role": "user", "content": "hi"}, "hi"),
        (user([{"type": "text", "text": "What is "}, {"type": "image_url", "image_url": {}}, "?"]), "What is [image]?"),
        (user([{"type": "input_audio"}]), "[audio]"),
        (assistant([{"type": "reasoning"}, {"type": "text", "text": "Hi"}, {"type": "tool_use", "id": "1"}]), "Hi"),
        (user(None), ""),
        (user(["a", {"no": "type"}]), "a"),
        (None, ""),
    ],
)
def test_what_is_said(message: object, text: str) -> None:
    assert turns.text_of(message) == text


def test_what_a_model_took() -> None:
    assert turns.usage_of(assistant("hi", tokens=(3, 4))) == Usage("gpt-4o", 3, 4)
    assert turns.usage_of(assistant("hi", tokens=(3, 4), model=None)) == Usage(None, 3, 4)
    assert turns.usage_of(assistant("hi", tokens=(3, 4), model=None), "mine") == Usage("mine", 3, 4)


@pytest.mark.parametrize("tokens", [None, (0, 0), (-1, 2), (None, 3), (True, 3), ("1", 3)])
def test_what_is_not_known_is_absent(tokens: Any) -> None:
    assert turns.usage_of(assistant("hi", tokens=tokens)) is None
    assert turns.usage_of(None) is None


def test_a_name_too_long_for_the_wire_is_cut() -> None:
    usage = turns.usage_from(1, 2, "m" * 200)
    assert usage == Usage("m" * 100, 1, 2)
    assert turns.requests_of(assistant("", {"name": "f" * 200, "args": {}, "id": "1"}))[0].name == "f" * 100


def test_a_turn_is_what_follows_the_last_utterance() -> None:
    found = turns.turn_in(HISTORY, turn_id="t")
    assert found is not None
    assert found.turn == Turn("Where is 7?", "It is on its way.", Usage("gpt-4o", 30, 11))
    assert (found.turn_id, found.calls, found.usage) == ("t", (CALL,), ())


def test_another_model_has_usage_of_its_own() -> None:
    history = [*HISTORY[:3], assistant("", ASKED, tokens=(10, 5), model="small"), *HISTORY[4:]]
    found = turns.turn_in(history, turn_id="t")
    assert found is not None
    assert found.turn is not None
    assert (found.turn.usage, found.usage) == (Usage("gpt-4o", 20, 6), (Usage("small", 10, 5),))


def test_a_model_that_is_named_is_the_only_one() -> None:
    history = [*HISTORY[:3], assistant("", ASKED, tokens=(10, 5), model="small"), *HISTORY[4:]]
    found = turns.turn_in(history, turn_id="t", model="mine")
    assert found is not None
    assert found.turn is not None
    assert (found.turn.usage, found.usage) == (Usage("mine", 30, 11), ())


@pytest.mark.parametrize("end", range(5))
def test_there_is_no_turn_before_the_answer(end: int) -> None:
    found = turns.turn_in(HISTORY[:end], turn_id="t")
    if end == 2:
        assert found is not None
        assert found.turn == Turn("hello", "Hello!", Usage("gpt-4o", 1, 1))
    else:
        assert found is None


def test_an_answer_without_words_is_none() -> None:
    assert turns.turn_in([user("hi"), assistant("")], turn_id="t") is None
    assert turns.turn_in([assistant("Welcome!")], turn_id="t") is None


def test_the_result_of_a_function_is_the_answer_where_nothing_follows() -> None:
    found = turns.turn_in(HISTORY[:5], turn_id="t", is_over=True)
    assert found is not None
    assert found.turn == Turn("Where is 7?", "on its way", Usage("gpt-4o", 10, 5))


@dataclass
class Place:
    city: str


def test_an_answer_of_data_is_json() -> None:
    history = [user("where?"), assistant("", {"name": "Place", "args": {}, "id": "1"}), tool("ok", "1")]
    found = turns.turn_in(history, turn_id="t", structured=Place("Köln"), is_over=True)
    assert found is not None
    assert found.turn is not None
    assert found.turn.assistant == '{"city": "Köln"}'


def test_calls_without_result_are_not_finished() -> None:
    other = {"name": "cancel", "args": {}, "id": "c2"}
    assert turns.finished_calls([assistant("", ASKED, other), tool("on its way", "c1")]) == [CALL]


def test_a_failed_call_is_told() -> None:
    (call,) = turns.finished_calls([assistant("", ASKED), tool("Error: no", "c1", status="error")])
    assert (call.result, call.has_failed) == ("Error: no", True)


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ("hi", "hi"),
        ({"messages": [("user", "a"), ("ai", "b"), ("user", "hi")]}, "hi"),
        ({"messages": "hi"}, "hi"),
        (SimpleNamespace(messages=[user("hi")]), "hi"),
        ([user("hi")], "hi"),
        ({"question": "hi", "context": "c"}, "hi"),
        ({"input": "hi", "chat_history": []}, "hi"),
        (user("hi"), "hi"),
        ({"topic": "bears"}, None),
        ({"messages": []}, None),
        (["a", "b"], None),
        (None, None),
        (7, None),
    ],
)
def test_what_the_user_said(inputs: object, text: str | None) -> None:
    assert turns.utterance_in(inputs) == text


@pytest.mark.parametrize(
    ("outputs", "answer"),
    [
        ("hi", Answer("hi")),
        (assistant("hi"), Answer("hi")),
        (assistant("hi", ASKED), Answer(None)),
        ({"messages": HISTORY}, Answer("It is on its way.")),
        ({"messages": HISTORY[:4]}, Answer(None)),
        ({"messages": HISTORY[:5]}, Answer("on its way")),
        ({"messages": HISTORY[:3], "structured_response": 7}, Answer(None)),
        ({"messages": HISTORY[:5], "structured_response": {"a": 1}}, Answer('{"a": 1}')),
        (HISTORY, Answer("It is on its way.")),
        ({"answer": "hi", "context": []}, Answer("hi")),
        ({"output": assistant("hi")}, Answer("hi")),
        ({"anything": 1}, Answer(None, is_known=False)),
        (["a", "b"], Answer(None, is_known=False)),
        (None, Answer(None, is_known=False)),
    ],
)
def test_what_the_user_got(outputs: object, answer: Answer) -> None:
    assert turns.answer_in(outputs) == answer


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ("done", "done"),
        ({"a": 1}, '{"a": 1}'),
        (None, "null"),
        (tool("done", "1"), "done"),
        (tool([{"type": "text", "text": "done"}], "1"), "done"),
        (tool({"a": 1}, "1"), '{"a": 1}'),
        ([tool("a", "1"), tool("b", "2")], "a\nb"),
        (SimpleNamespace(update={"messages": [tool("moved", "1")]}), "moved"),
        (Place("Rome"), '{"city": "Rome"}'),
    ],
)
def test_what_a_function_gave_back(output: object, text: str) -> None:
    assert turns.result_text(output) == text


def test_what_json_cannot_hold_is_text() -> None:
    around: list[Any] = []
    around.append(around)
    assert turns.json_text({"a": object}) == '{"a": "<class \'object\'>"}'
    assert turns.json_text({("a", 1): 2}) == "{('a', 1): 2}"
    assert turns.json_text(around) == "[[...]]"


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(
            st.sampled_from(["messages", "content", "type", "role", "input", "tool_calls", "id", "name", "update"]),
            inner | st.sampled_from(["human", "ai", "tool", "user", "text"]),
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(ANYTHING)
def test_nothing_raises_whatever_it_reads(value: Any) -> None:
    utterance, answer = turns.utterance_in(value), turns.answer_in(value)
    assert utterance is None or isinstance(utterance, str)
    assert answer.text is None or isinstance(answer.text, str)
    assert isinstance(turns.result_text(value), str)
    assert isinstance(turns.text_of(value), str)
    history = value if isinstance(value, list) else [value]
    found = turns.turn_in(history, turn_id="t", is_over=True)
    assert found is None or found.turn is not None


@given(st.lists(st.builds(Usage, st.sampled_from(["a", "b", None]), st.integers(0, 99), st.integers(0, 99))))
def test_adding_up_loses_nothing(usages: list[Usage]) -> None:
    own, others = turns.add_up(usages, model="a")
    sums = [*others, *([own] if own else [])]
    assert len({usage.model for usage in sums}) == len(sums)
    assert own is None or own.model == "a"
    for name in ("prompt_tokens", "completion_tokens"):
        assert sum(getattr(usage, name) for usage in sums) == sum(getattr(usage, name) for usage in usages)


def test_arguments_are_json_text() -> None:
    (request,) = turns.requests_of(assistant("", {"name": "order", "args": {"city": "Köln"}, "id": "1"}))
    assert request.args is not None
    assert json.loads(request.args) == {"city": "Köln"}
    assert "Köln" in request.args
