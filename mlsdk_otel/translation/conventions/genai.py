"""OpenTelemetry's GenAI conventions from 1.37 on, and those who follow them.

`opentelemetry-instrumentation-genai-*`, OpenLLMetry since 0.5x, pydantic-ai, the Anthropic SDK's own tracing, Google's
Agent Development Kit, Microsoft's Agent Framework and many more. The texts are in attributes of the span, in those of
its event `gen_ai.client.inference.operation.details`, or of a log record of that name; older ways of writing them are
read too where these are missing, because libraries mix generations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from mlsdk_otel import attributes as names
from mlsdk_otel.translation.conventions import calls, genai_events, messages, payloads, reading
from mlsdk_otel.translation.facts import Message, Reading
from mlsdk_otel.translation.spanview import Attributes, SpanView

_PYDANTIC: Final = frozenset({names.TOOL_NAME, "pydantic_ai.all_messages", "all_messages_events"})
"""Of agents and functions of pydantic-ai up to 1.x, which name no operation."""
MARKERS: Final = frozenset({names.OPERATION, *_PYDANTIC})

MODEL_CALLS: Final = frozenset(
    {
        "chat",
        "generate_content",
        "text_completion",
        "completion",
        "completions",
        "chat.completions",
        "chat_completion",
        "chat.streaming_completions",
        "text.completions",
        "text.streaming_completions",
        "streaming_chat",
        "generate",
        "message",
        "responses",
        "response",
        "messages",
        "llm_request",
        "inference",
    }
)
TOOL_RUNS: Final = frozenset({"execute_tool", "tool", "tool_call"})
NOT_SPOKEN: Final = frozenset(
    {
        "embeddings",
        "embedding",
        "retrieval",
        "rerank",
        "moderation",
        "create_agent",
        "image_generation",
        "speech",
        "transcription",
    }
)
"""They are AI spans, but nobody talks in them: no turn, and no model whose tokens a turn has."""

_IS_GOOGLE: Final = "gcp.vertex.agent.event_id"
_MERGED: Final = "(merged tools)"
"""Google's kit repeats several runs in one more span."""
_REQUEST_TYPE: Final = "llm.request.type"
"""OpenLLMetry's, which says it more surely than its operations of some months."""
_NO_ID: Final = "<not specified>"
_PAYLOAD_SENT: Final = "gen_ai.prompt"
_PAYLOAD_ANSWER: Final = "gen_ai.completion"


def claims(view: SpanView) -> bool:
    """Whether a span names an operation of the conventions, or is an agent or a function that names none."""
    return not MARKERS.isdisjoint(view.attributes)


def read(view: SpanView) -> Reading | None:
    """What a span says; None for an operation that is no part of a conversation."""
    own = view.attributes
    operation = (reading.text(own.get(names.OPERATION)) or "").lower()
    if operation in NOT_SPOKEN:
        return None
    if operation in MODEL_CALLS or own.get(_REQUEST_TYPE) in ("chat", "completion"):
        return _model_call(view)
    if operation in TOOL_RUNS or (not operation and names.TOOL_NAME in own):
        return _tool_run(view)
    sent, answer = exchange(view)
    if not sent and not answer:
        sent = messages.history(own.get("pydantic_ai.all_messages"))
    if not answer and (final := reading.text(own.get("final_result"))):
        answer = (Message("assistant", final),)
    agent = own.get(names.AGENT_NAME) if operation.endswith("agent") else None
    return calls.enclosure(view, agent=agent, sent=sent, answer=answer)


def exchange(view: SpanView) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
    """What was sent and what was answered, from wherever the texts are; the system prompt comes first."""
    own = view.attributes
    for held in _holders(view):
        sent = messages.history(held.get(names.INPUT_MESSAGES))
        answer = messages.history(held.get(names.OUTPUT_MESSAGES), role="assistant")
        system = messages.system(held.get(names.SYSTEM_INSTRUCTIONS))
        if messages.says_anything((*sent, *answer)):
            if not any(message.text or message.requests for message in answer):
                # LiteLLM has the calls of functions in the older names only.
                answer = calls.indexed(view.attributes, names.COMPLETION, role="assistant") or answer
            return (*system, *sent), answer
    sent, answer = genai_events.exchange(view)
    sent = sent or calls.indexed(own, names.PROMPT, role="user")
    answer = answer or calls.indexed(own, names.COMPLETION, role="assistant")
    if not sent and not answer:
        # Without texts, but roles and the names of functions may be there.
        sent = messages.history(own.get(names.INPUT_MESSAGES))
        answer = messages.history(own.get(names.OUTPUT_MESSAGES), role="assistant")
    if sent and sent[0].role != "system":
        sent = (*messages.system(own.get(names.SYSTEM_INSTRUCTIONS)), *sent)
    return sent, answer


def _holders(view: SpanView) -> Iterator[Attributes]:
    yield view.attributes
    for event in (*view.events, *view.logs):
        if event.name == names.DETAILS_EVENT:
            yield event.attributes
            if isinstance(event.body, Mapping):
                yield event.body


def _model_call(view: SpanView) -> Reading:
    sent, answer = exchange(view)
    own = view.attributes
    # LangSmith and others have the request and the answer of the service as they were.
    sent = sent or payloads.said(own.get(_PAYLOAD_SENT), role="user")
    answer = answer or payloads.said(own.get(_PAYLOAD_ANSWER), role="assistant")
    return calls.model_call(view, sent, answer)


def _tool_run(view: SpanView) -> Reading | None:
    own = view.attributes
    if own.get(names.TOOL_NAME) == _MERGED:
        return None
    told = genai_events.tool(view)
    arguments = messages.first(
        own,
        (
            names.TOOL_ARGUMENTS,
            "gcp.vertex.agent.tool_call_args",
            "gen_ai.tool.arguments",
            "tool_arguments",
            _PAYLOAD_SENT,
        ),
    )
    result = messages.first(
        own,
        (names.TOOL_RESULT, "gcp.vertex.agent.tool_response", "gen_ai.tool.output", "tool_response", _PAYLOAD_ANSWER),
    )
    call_id = own.get(names.TOOL_CALL_ID)
    arguments, result, call_id = unwrapped(arguments, result, call_id)
    if _IS_GOOGLE in own and isinstance(result, str):
        result = messages.result(messages.loaded(result))
    if call_id == _NO_ID:
        call_id = None
    return calls.tool_run(
        view,
        name=own.get(names.TOOL_NAME) or _named_by(view),
        call_id=call_id or told.call_id,
        arguments=told.arguments if arguments is None else arguments,
        result=told.result if result is None else result,
    )


def _named_by(view: SpanView) -> str | None:
    """The function's name, for spans that only carry it in their own."""
    _, _, named = view.name.partition(" ")
    return named or None


def unwrapped(arguments: object, result: object, call_id: object) -> tuple[object, object, object]:
    """OpenLLMetry and LangSmith wrap arguments and results as LangChain's callbacks have them."""
    given = reading.mapping(arguments) if isinstance(arguments, str) else None
    if given and "inputs" in given and ("input_str" in given or "kwargs" in given):
        kwargs = given.get("kwargs")
        if isinstance(kwargs, Mapping):
            call_id = call_id or kwargs.get("tool_call_id")
        arguments = given["inputs"]
    came = reading.mapping(result) if isinstance(result, str) and '"output"' in result else None
    if came and isinstance(output := came.get("output"), Mapping):
        inner = output.get("kwargs")
        if isinstance(inner, Mapping):
            call_id = call_id or inner.get("tool_call_id")
            result = messages.result(inner.get("content"))
        elif "tool_call_id" in output:
            call_id = call_id or output["tool_call_id"]
            result = messages.result(output.get("content"))
    elif came and set(came) <= {"output", "kwargs"} and isinstance(came.get("output"), str):
        result = came["output"]
    return arguments, result, call_id
