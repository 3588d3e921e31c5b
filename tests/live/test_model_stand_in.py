"""The stand-in for models, asked by the clients of the real services: what they take for an answer is one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import anthropic
import openai
import pytest
from model_stand_in import Failure, ModelStandIn, Reply, ToolCall

WEATHER: Final = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
CHAT_TOOL: Final[Any] = {"type": "function", "function": {"name": "get_weather", "parameters": WEATHER}}
RESPONSES_TOOL: Final[Any] = {"type": "function", "name": "get_weather", "parameters": WEATHER, "strict": True}
CLAUDE_TOOL: Final[Any] = {"name": "get_weather", "input_schema": WEATHER}
ASK: Final[Any] = [{"role": "user", "content": "What is the weather in Oslo and Rome?"}]


@pytest.fixture
def models() -> Iterator[ModelStandIn]:
    with ModelStandIn() as running:
        yield running


@pytest.fixture
def client(models: ModelStandIn) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=models.openai_url, api_key="any") as client:
        yield client


@pytest.fixture
def claude(models: ModelStandIn) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=models.url, api_key="any") as client:
        yield client


# --- chat completions -----------------------------------------------------------------------------------------------


def test_a_chat_is_answered_and_counted(models: ModelStandIn, client: openai.OpenAI) -> None:
    models.script(Reply("It is in the box."))
    answer = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Where is it?"}])
    assert answer.choices[0].message.content == "It is in the box."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "gpt-4o"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (3, 5)


@pytest.mark.parametrize("wants_usage", [True, False])
def test_a_chat_streams_and_tells_its_usage_if_asked(
    models: ModelStandIn, client: openai.OpenAI, wants_usage: bool
) -> None:
    models.script(Reply("one two  three", output_tokens=17))
    options: Any = {"stream_options": {"include_usage": True}} if wants_usage else {}
    chunks = list(client.chat.completions.create(model="m", messages=ASK, stream=True, **options))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "one two  three"
    usages = [chunk.usage for chunk in chunks if chunk.usage is not None]
    assert [usage.completion_tokens for usage in usages] == ([17] if wants_usage else [])


def test_functions_are_called_in_parallel_and_their_results_answered(client: openai.OpenAI) -> None:
    asked = client.chat.completions.create(model="m", messages=ASK, tools=[CHAT_TOOL])
    message = asked.choices[0].message
    assert message.tool_calls is not None
    assert [call.function.arguments for call in message.tool_calls] == ['{"city": "Oslo"}', '{"city": "Rome"}']  # type: ignore[union-attr]
    results: Any = [
        {"role": "tool", "tool_call_id": call.id, "content": text}
        for call, text in zip(message.tool_calls, ["rain", "sun"], strict=True)
    ]
    history: Any = [*ASK, message, *results]
    answer = client.chat.completions.create(model="m", messages=history, tools=[CHAT_TOOL])
    assert answer.choices[0].message.content == "I have looked: rain; sun"
    with pytest.raises(openai.BadRequestError, match=str(message.tool_calls[1].id)):
        client.chat.completions.create(model="m", messages=history[:-1], tools=[CHAT_TOOL])


def test_calls_of_functions_come_in_a_stream_too(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model="m", messages=ASK, tools=[CHAT_TOOL]) as stream:
        whole = stream.get_final_completion()
    calls = whole.choices[0].message.tool_calls or []
    assert [call.function.arguments for call in calls] == ['{"city": "Oslo"}', '{"city": "Rome"}']


def test_a_stream_that_breaks_is_an_error_of_the_client(models: ModelStandIn, client: openai.OpenAI) -> None:
    models.script(Reply("one two three four five", breaks_after=2))
    stream = client.chat.completions.create(model="m", messages=ASK, stream=True)
    pieces: list[str] = []
    with pytest.raises(openai.APIConnectionError):
        pieces.extend(chunk.choices[0].delta.content or "" for chunk in stream)
    assert "one two three four five".startswith("".join(pieces))
    assert len(pieces) < 5


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (Failure(429), openai.RateLimitError),
        (Failure(500), openai.InternalServerError),
        (Failure(400, "no"), openai.BadRequestError),
    ],
)
def test_it_fails_as_told_once(
    models: ModelStandIn, client: openai.OpenAI, failure: Failure, error: type[Exception]
) -> None:
    models.script(failure)
    with pytest.raises(error):
        client.chat.completions.create(model="m", messages=ASK)
    assert len(models.requests) == 1


def test_a_failure_that_is_not_final_is_tried_again(models: ModelStandIn, client: openai.OpenAI) -> None:
    models.script(Failure(503, is_final=False), Reply("now"))
    assert client.chat.completions.create(model="m", messages=ASK).choices[0].message.content == "now"
    assert len(models.requests) == 2


def test_by_itself_it_fails_when_the_user_wants_it_to(client: openai.OpenAI) -> None:
    with pytest.raises(openai.RateLimitError, match="asked for"):
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Please fail with 429"}])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"messages": []}, "empty array"),
        ({"messages": [{"role": "robot", "content": "hi"}]}, "Invalid value: 'robot'"),
        ({"messages": [{"role": "user"}]}, r"Missing required parameter: 'messages\[0\].content'"),
        ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "c"}]}, "preceding message"),
        ({"stream_options": {"include_usage": True}}, "only allowed when 'stream'"),
        ({"tools": [{"type": "function"}]}, r"tools\[0\].function"),
    ],
)
def test_it_refuses_what_the_service_refuses(client: openai.OpenAI, change: dict[str, Any], text: str) -> None:
    request: dict[str, Any] = {"model": "m", "messages": ASK, **change}
    with pytest.raises(openai.BadRequestError, match=text):
        client.chat.completions.create(**request)


# --- Responses ------------------------------------------------------------------------------------------------------


def test_a_response_goes_on_from_the_one_before(models: ModelStandIn, client: openai.OpenAI) -> None:
    models.script(Reply("Hello Ann."), Reply("Ann."))
    first = client.responses.create(model="m", input="I am Ann", instructions="Be short")
    second = client.responses.create(model="m", input="Who am I?", previous_response_id=first.id)
    assert (first.output_text, second.output_text) == ("Hello Ann.", "Ann.")
    assert (first.usage and first.usage.input_tokens, second.usage and second.usage.input_tokens) == (5, 8)
    with pytest.raises(openai.BadRequestError, match="'resp_none' not found"):
        client.responses.create(model="m", input="Who am I?", previous_response_id="resp_none")


def test_a_conversation_keeps_its_history(models: ModelStandIn, client: openai.OpenAI) -> None:
    models.script(Reply("Hello Ann."), Reply("Ann."))
    conversation = client.conversations.create()
    client.responses.create(model="m", input="I am Ann", conversation=conversation.id)
    second = client.responses.create(model="m", input="Who am I?", conversation=conversation.id)
    assert second.usage is not None
    assert second.usage.input_tokens == 8
    assert second.conversation is not None
    assert second.conversation.id == conversation.id


def test_a_response_calls_functions(client: openai.OpenAI) -> None:
    first = client.responses.create(model="m", input=ASK, tools=[RESPONSES_TOOL])
    calls = [item for item in first.output if item.type == "function_call"]
    assert [call.arguments for call in calls] == ['{"city": "Oslo"}', '{"city": "Rome"}']
    results: Any = [{"type": "function_call_output", "call_id": call.call_id, "output": "sun"} for call in calls]
    second = client.responses.create(model="m", input=results, previous_response_id=first.id)
    assert second.output_text == "I have looked: sun; sun"
    whole: Any = [*ASK, *(item.model_dump(exclude_none=True) for item in first.output), *results]
    assert client.responses.create(model="m", input=whole).output_text == "I have looked: sun; sun"
    with pytest.raises(openai.BadRequestError, match="No tool output found"):
        client.responses.create(model="m", input=results[:1], previous_response_id=first.id)


def test_a_response_streams(models: ModelStandIn, client: openai.OpenAI) -> None:
    models.script(Reply("one two three", [ToolCall("get_weather", {"city": "Oslo"}, "call_1")]))
    with client.responses.stream(model="m", input="Count", tools=[RESPONSES_TOOL]) as stream:
        deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert deltas == ["one", " two", " three"]
    assert final.output_text == "one two three"
    assert [item.call_id for item in final.output if item.type == "function_call"] == ["call_1"]


def test_texts_have_embeddings(client: openai.OpenAI) -> None:
    packed = client.embeddings.create(model="m", input=["a", "b", "a"])
    plain = client.embeddings.create(model="m", input="a", encoding_format="float")
    vectors = [each.embedding for each in packed.data]
    assert vectors[0] == vectors[2] != vectors[1]
    assert plain.data[0].embedding == pytest.approx(vectors[0], abs=1e-6)
    assert "gpt-4o" in [model.id for model in client.models.list()]


# --- Anthropic ------------------------------------------------------------------------------------------------------


def test_claude_answers_and_counts(models: ModelStandIn, claude: anthropic.Anthropic) -> None:
    models.script(Reply("It is in the box."))
    answer = claude.messages.create(
        model="claude", max_tokens=9, system="Be short", messages=[{"role": "user", "content": "Where is it?"}]
    )
    assert [block.text for block in answer.content if block.type == "text"] == ["It is in the box."]
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (5, 5)
    assert answer.stop_reason == "end_turn"


def test_claude_calls_functions_and_streams(claude: anthropic.Anthropic) -> None:
    with claude.messages.stream(model="claude", max_tokens=9, messages=ASK, tools=[CLAUDE_TOOL]) as stream:
        asked = stream.get_final_message()
    calls = [block for block in asked.content if block.type == "tool_use"]
    assert [call.input for call in calls] == [{"city": "Oslo"}, {"city": "Rome"}]
    results: Any = [{"type": "tool_result", "tool_use_id": call.id, "content": "sun"} for call in calls]
    history: Any = [*ASK, {"role": "assistant", "content": asked.content}, {"role": "user", "content": results}]
    with claude.messages.stream(model="claude", max_tokens=9, messages=history, tools=[CLAUDE_TOOL]) as stream:
        assert "".join(stream.text_stream) == "I have looked: sun; sun"
        assert stream.get_final_message().usage.output_tokens == 5
    history[-1]["content"] = results[:1]
    with pytest.raises(anthropic.BadRequestError, match="without `tool_result`"):
        claude.messages.create(model="claude", max_tokens=9, messages=history, tools=[CLAUDE_TOOL])


def test_claude_fails_as_told(models: ModelStandIn, claude: anthropic.Anthropic) -> None:
    models.script(Failure(529, "Overloaded"))
    with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
        claude.messages.create(model="claude", max_tokens=9, messages=ASK)
    assert len(models.requests) == 1
    with pytest.raises(anthropic.BadRequestError, match="max_tokens"):
        claude.messages.create(model="claude", max_tokens=0, messages=ASK)
