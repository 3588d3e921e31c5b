"""The Vercel AI SDK (JavaScript), versions 4 to 6: `ai.operationId` names what a span stands for.

One outer span for a turn (`ai.generateText`), below it one for each model call (`ai.generateText.doGenerate`) and tool
run (`ai.toolCall`). The outer one repeats the tokens and texts of the inner ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mlsdk_otel.translation.conventions import calls, messages, reading
from mlsdk_otel.translation.facts import Message, Reading
from mlsdk_otel.translation.spanview import Attributes, SpanView

_OPERATION: Final = "ai.operationId"
_PROMPT: Final = "ai.prompt"
_PROMPT_MESSAGES: Final = "ai.prompt.messages"
_ANSWER: Final = ("ai.response.text", "ai.response.object", "ai.result.text", "ai.result.object")
_REQUESTS: Final = ("ai.response.toolCalls", "ai.result.toolCalls")
MARKERS: Final = frozenset({_OPERATION})


def claims(view: SpanView) -> bool:
    """Whether a span names an operation of the AI SDK."""
    return _OPERATION in view.attributes


def read(view: SpanView) -> Reading | None:
    """What a span says; None for embeddings and the like."""
    own = view.attributes
    operation = reading.text(own.get(_OPERATION)) or ""
    if operation.endswith((".doGenerate", ".doStream")):
        return calls.model_call(
            view,
            _sent(own),
            _answer(own),
            response_id=own.get("ai.response.id"),
            request_model=own.get("ai.model.id"),
            response_model=own.get("ai.response.model"),
        )
    if operation == "ai.toolCall":
        return calls.tool_run(
            view,
            name=own.get("ai.toolCall.name"),
            call_id=own.get("ai.toolCall.id"),
            arguments=own.get("ai.toolCall.args"),
            result=_plain(own.get("ai.toolCall.result")),
        )
    if operation.startswith(("ai.generate", "ai.stream")):
        return calls.enclosure(view, agent=own.get("ai.telemetry.functionId"), sent=_sent(own), answer=_answer(own))
    return None


def _sent(own: Attributes) -> tuple[Message, ...]:
    if _PROMPT_MESSAGES in own:
        return messages.history(own[_PROMPT_MESSAGES])
    told = reading.mapping(own.get(_PROMPT)) or {}
    system = messages.system(told.get("system")) if told.get("system") else ()
    for key in ("messages", "prompt"):
        if read := messages.history(told.get(key)):
            return (*system, *read)
    return ()


def _answer(own: Attributes) -> tuple[Message, ...]:
    said = messages.first(own, _ANSWER)
    requests = messages.first(own, _REQUESTS)
    if said is None and requests is None:
        return ()
    raw: Mapping[str, object] = {"role": "assistant", "content": [said] if isinstance(said, str) else said}
    message = messages.one({**raw, "tool_calls": requests}, role="assistant")
    return () if message is None else (message,)


def _plain(raw: object) -> object:
    """A result is JSON; text keeps its quotes there."""
    found = messages.loaded(raw)
    return found if isinstance(found, str) else raw
