from __future__ import annotations

from typing import Any

import orjson
import pytest
from support.spans import event, span

from mlsdk_otel.translation import conventions
from mlsdk_otel.translation.conventions import genai
from mlsdk_otel.translation.facts import Enclosure, Message, ModelCall, Reading, ToolRequest, ToolRun, Usage
from mlsdk_otel.translation.spanview import SpanView

SENT = [{"role": "user", "parts": [{"type": "text", "content": "Hi"}]}]
ANSWER = [{"role": "assistant", "parts": [{"type": "text", "content": "Hello."}], "finish_reason": "stop"}]
TEXTS = {"gen_ai.input.messages": SENT, "gen_ai.output.messages": ANSWER}


def view(operation: str, *events: Any, **attributes: Any) -> SpanView:
    return span(f"{operation} x", *events, **{"gen_ai.operation.name": operation, **attributes})


def fact(given: SpanView) -> Any:
    read = genai.read(given)
    assert isinstance(read, Reading)
    return read.fact


@pytest.mark.parametrize("encode", [lambda held: held, lambda held: orjson.dumps(held).decode()])
def test_texts_are_in_attributes_of_the_span_structured_or_as_json(encode: Any) -> None:
    call = fact(view("chat", **{key: encode(held) for key, held in TEXTS.items()}))
    assert (call.input, call.output, call.has_content) == (
        (Message("user", "Hi"),),
        (Message("assistant", "Hello."),),
        True,
    )


def test_texts_are_in_an_event_of_the_span() -> None:
    call = fact(view("chat", event("gen_ai.client.inference.operation.details", **TEXTS)))
    assert (call.input, call.output) == ((Message("user", "Hi"),), (Message("assistant", "Hello."),))


def test_texts_are_in_both_and_are_read_once() -> None:
    call = fact(view("chat", event("gen_ai.client.inference.operation.details", **TEXTS), **TEXTS))
    assert (call.input, call.output) == ((Message("user", "Hi"),), (Message("assistant", "Hello."),))


def test_instructions_come_first() -> None:
    call = fact(view("chat", **TEXTS, **{"gen_ai.system_instructions": '[{"type":"text","content":"Be brief."}]'}))
    assert call.input == (Message("system", "Be brief."), Message("user", "Hi"))


def test_a_call_without_content_keeps_what_it_cost() -> None:
    call = fact(view("chat", **{"gen_ai.usage.input_tokens": 3, "gen_ai.usage.output_tokens": 2}))
    assert (call.has_content, call.usage.input_tokens, call.usage.output_tokens) == (False, 3, 2)


@pytest.mark.parametrize("operation", ["embeddings", "retrieval", "create_agent"])
def test_operations_in_which_nobody_talks_are_left_out(operation: str) -> None:
    given = view(operation, **{"gen_ai.usage.input_tokens": 3})
    assert genai.claims(given)
    assert genai.read(given) is None
    assert conventions.read(given) is None


@pytest.mark.parametrize("operation", ["chat", "generate_content", "text_completion", "chat.completions"])
def test_calls_of_a_model(operation: str) -> None:
    assert isinstance(fact(view(operation)), ModelCall)


def test_an_agent_says_what_it_cost_and_what_it_asked() -> None:
    said = {"gen_ai.agent.name": "shop", "gen_ai.usage.input_tokens": 99, "gen_ai.request.model": "m"}
    agent = fact(view("invoke_agent", **said, **TEXTS))
    sent, answer = (Message("user", "Hi"),), (Message("assistant", "Hello."),)
    assert agent == Enclosure("shop", sent, answer, model="m", usage=Usage(99))


def test_an_agent_of_pydantic_ai_tells_its_history_under_a_name_of_its_own() -> None:
    agent = fact(view("invoke_agent", **{"pydantic_ai.all_messages": SENT, "final_result": "Hello."}))
    assert (agent.input, agent.output) == ((Message("user", "Hi"),), (Message("assistant", "Hello."),))


def test_a_run_of_a_function() -> None:
    attributes = {
        "gen_ai.tool.name": "f",
        "gen_ai.tool.call.id": "c",
        "gen_ai.tool.call.arguments": '{"a": 1}',
        "gen_ai.tool.call.result": "[1, 2]",
    }
    assert fact(view("execute_tool", **attributes)) == ToolRun("f", "c", '{"a": 1}', "[1, 2]")


def test_a_call_of_openllmetry_under_an_operation_nobody_knows() -> None:
    assert isinstance(fact(view("some_request", **{"llm.request.type": "chat"}, **TEXTS)), ModelCall)
    assert isinstance(fact(view("some_request", **TEXTS)), Enclosure)


def test_agents_and_functions_that_name_no_operation() -> None:
    agent = span("agent run", **{"agent_name": "shop", "pydantic_ai.all_messages": SENT, "final_result": "Hello."})
    run = span("running tool", **{"gen_ai.tool.name": "f", "gen_ai.tool.call.id": "c", "tool_response": "snow"})
    assert genai.claims(agent)
    assert genai.claims(run)
    assert fact(agent) == Enclosure(None, (Message("user", "Hi"),), (Message("assistant", "Hello."),))
    assert fact(run) == ToolRun("f", "c", None, "snow")


def test_a_call_that_has_the_request_and_the_answer_as_they_were() -> None:
    said = {
        "gen_ai.prompt": '{"messages": [{"role": "user", "content": "Hi"}], "model": "m"}',
        "gen_ai.completion": '{"choices": [{"message": {"role": "assistant", "content": "Hello."}}]}',
    }
    call = fact(view("chat", **said))
    assert (call.input, call.output) == ((Message("user", "Hi"),), (Message("assistant", "Hello."),))


@pytest.mark.parametrize(
    ("completion", "call_id"),
    [('{"output": "snow"}', None), ('{"output": {"type": "tool", "content": "snow", "tool_call_id": "c"}}', "c")],
)
def test_a_run_as_langsmith_tells_it(completion: str, call_id: str | None) -> None:
    said = {"gen_ai.tool.name": "f", "gen_ai.prompt": '{"a": 1}', "gen_ai.completion": completion}
    assert fact(view("execute_tool", **said)) == ToolRun("f", call_id, '{"a": 1}', "snow")


def test_a_run_as_pydantic_ai_told_it_up_to_its_second_format() -> None:
    attributes = {"gen_ai.tool.name": "f", "tool_arguments": '{"a": 1}', "tool_response": "snow"}
    assert fact(view("execute_tool", **attributes)) == ToolRun("f", None, '{"a": 1}', "snow")


def test_a_run_names_its_function_in_the_name_of_the_span_at_least() -> None:
    assert fact(span("execute_tool f", **{"gen_ai.operation.name": "execute_tool"})) == ToolRun("f")


def test_openllmetry_wraps_arguments_and_results_as_langchain_has_them() -> None:
    attributes = {
        "gen_ai.tool.name": "f",
        "gen_ai.tool.call.arguments": '{"input_str": "{}", "inputs": {"a": 1}, "kwargs": {"tool_call_id": "c"}}',
        "gen_ai.tool.call.result": '{"output": {"kwargs": {"content": "snow", "tool_call_id": "c"}}}',
    }
    assert fact(view("execute_tool", **attributes)) == ToolRun("f", "c", '{"a":1}', "snow")


def test_google_wraps_text_and_repeats_merged_runs() -> None:
    own = {"gcp.vertex.agent.event_id": "e", "gen_ai.tool.call.id": "<not specified>"}
    run = fact(
        view("execute_tool", **own, **{"gen_ai.tool.name": "f", "gcp.vertex.agent.tool_response": '{"result": "snow"}'})
    )
    assert run == ToolRun("f", None, None, "snow")
    assert genai.read(view("execute_tool", **own, **{"gen_ai.tool.name": "(merged tools)"})) is None


def test_litellm_has_the_calls_of_functions_in_older_names_only() -> None:
    attributes = {
        "gen_ai.input.messages": SENT,
        "gen_ai.output.messages": '[{"role": "assistant", "parts": [], "finish_reason": "tool_calls"}]',
        "gen_ai.completion.0.function_call.name": "f",
        "gen_ai.completion.0.function_call.arguments": "{}",
    }
    assert fact(view("chat", **attributes)).output == (Message("assistant", requests=(ToolRequest("f", None, "{}"),)),)
