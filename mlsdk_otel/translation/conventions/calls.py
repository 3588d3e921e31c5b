"""What the readers of `gen_ai.*` share: attributes that mean the same in each generation of the conventions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from mlsdk_otel import attributes as names
from mlsdk_otel.translation.conventions import flattened, identity, messages, reading, streams
from mlsdk_otel.translation.facts import Enclosure, Message, ModelCall, Reading, ToolRun, Usage
from mlsdk_otel.translation.spanview import Attributes, SpanView

_INPUT_TOKENS: Final = (
    names.INPUT_TOKENS,
    "gen_ai.usage.prompt_tokens",
    "llm.usage.prompt_tokens",
    "llm.token_count.prompt",
    "ai.usage.inputTokens",
    "ai.usage.promptTokens",
)
_OUTPUT_TOKENS: Final = (
    names.OUTPUT_TOKENS,
    "gen_ai.usage.completion_tokens",
    "llm.usage.completion_tokens",
    "llm.token_count.completion",
    "ai.usage.outputTokens",
    "ai.usage.completionTokens",
)
_PREVIOUS: Final = (
    "gen_ai.request.previous_response.id",
    "gen_ai.request.previous_response_id",
    "openai.request.previous_response_id",
    "gen_ai.openai.request.previous_response_id",
    "previous_response_id",
)
_GIVEN: Final = (
    "input.value",
    "traceloop.entity.input",
    "langfuse.observation.input",
    "mlflow.spanInputs",
    "gen_ai.prompt",
)
_MADE: Final = (
    "output.value",
    "traceloop.entity.output",
    "langfuse.observation.output",
    "mlflow.spanOutputs",
    "gen_ai.completion",
)


def usage(attributes: Attributes) -> Usage:
    """The tokens that a span tells; both 0 is what some libraries write for a stream that told none."""
    read = Usage(_count(attributes, _INPUT_TOKENS), _count(attributes, _OUTPUT_TOKENS))
    return Usage() if not (read.input_tokens or read.output_tokens) else read


def model_call(
    view: SpanView,
    sent: tuple[Message, ...],
    answer: tuple[Message, ...],
    *,
    response_id: object = None,
    previous: object = None,
    request_model: object = None,
    response_model: object = None,
    tokens: Usage | None = None,
) -> Reading:
    """A model call, completed by what its attributes say."""
    own = view.attributes
    says_something = messages.says_anything(answer)
    left = says_something and streams.is_left(own)
    failed = has_failed(view) and not left
    counted = usage(own) if tokens is None else tokens
    if _is_google(own):
        sent = tuple(_without_wrapping(message) if message.results else message for message in sent)
    call = ModelCall(
        input=sent,
        output=() if failed and not says_something else answer,
        request_model=reading.name(request_model or own.get(names.REQUEST_MODEL)),
        response_model=reading.name(response_model or own.get(names.RESPONSE_MODEL)),
        usage=counted,
        response_id=reading.identifier(response_id or own.get(names.RESPONSE_ID)),
        previous_response_id=reading.identifier(previous or previous_response(own)),
        has_failed=failed,
        is_partial=left or (says_something and streams.is_cut(own, is_counted=counted != Usage())),
        has_content=messages.says_anything((*sent, *answer)),
    )
    return Reading(call, identity.of(own))


def tool_run(view: SpanView, *, name: object, call_id: object, arguments: object, result: object) -> Reading:
    """A function that ran."""
    run = ToolRun(
        name=reading.name(name),
        call_id=reading.identifier(call_id),
        arguments=messages.arguments(arguments),
        result=messages.result(messages.loaded(result)) if not isinstance(result, str) else result,
        has_failed=has_failed(view),
    )
    return Reading(run, identity.of(view.attributes))


def enclosure(
    view: SpanView, *, agent: object = None, sent: Iterable[Message] = (), answer: Iterable[Message] = ()
) -> Reading:
    """A span around model calls."""
    own = view.attributes
    around = Enclosure(
        agent=reading.name(agent),
        input=tuple(sent),
        output=tuple(answer),
        has_failed=has_failed(view),
        previous_response_id=previous_response(own),
        model=reading.name(own.get(names.RESPONSE_MODEL) or own.get(names.REQUEST_MODEL)),
        usage=usage(own),
        given=messages.first(own, _GIVEN),
        made=messages.first(own, _MADE),
    )
    return Reading(around, identity.of(own))


def previous_response(attributes: Attributes) -> str | None:
    """The answer that a span goes on from, where the service keeps the history."""
    told = reading.identifier(messages.first(attributes, _PREVIOUS))
    conversation_id = reading.identifier(attributes.get(names.CONVERSATION_ID))
    return told or (conversation_id if identity.is_response_id(conversation_id) else None)


def has_failed(view: SpanView) -> bool:
    """Whether what a span stands for has failed."""
    return view.is_error or bool(view.attributes.get(names.ERROR_TYPE))


def indexed(attributes: Attributes, prefix: str, *, role: str) -> tuple[Message, ...]:
    """Messages spread over attributes: `gen_ai.prompt.0.role`, `.content`, `.tool_calls.0.name`."""
    found: list[Mapping[str, object]] = []
    for row in flattened.rows(flattened.tree(attributes, prefix)):
        if not isinstance(row, Mapping):
            continue
        content = row.get("content")
        held = dict(row)
        if isinstance(calls := row.get("tool_calls"), Mapping):
            held["tool_calls"] = flattened.rows(calls)
        if isinstance(content, Mapping):
            held["content"] = flattened.rows(content) or content
        found.append(held)
    return messages.history(found, role=role)


def _is_google(attributes: Attributes) -> bool:
    provider = messages.first(attributes, (names.PROVIDER, names.SYSTEM, "llm.provider"))
    return isinstance(provider, str) and provider.lower().startswith(("gcp", "gemini", "google", "vertex"))


def _without_wrapping(message: Message) -> Message:
    """Google's kits wrap the text that a function gave, `{"result": text}`, and libraries keep that as text."""
    results = []
    for given in message.results:
        told = reading.mapping(given.result)
        is_wrapped = told is not None and set(told) == {"result"} and isinstance(told["result"], str)
        results.append(replace(given, result=messages.result(told)) if is_wrapped else given)
    return replace(message, results=tuple(results))


def _count(attributes: Attributes, keys: Iterable[str]) -> int | None:
    return next((read for key in keys if (read := reading.count(attributes.get(key))) is not None), None)
