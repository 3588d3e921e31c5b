"""OpenInference (Arize): `openinference.span.kind`, messages in indexed names, and whole payloads as JSON text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mlsdk_otel.translation.conventions import calls, flattened, messages, payloads, reading
from mlsdk_otel.translation.facts import Message, Reading, Usage
from mlsdk_otel.translation.spanview import Attributes, SpanView

_KIND: Final = "openinference.span.kind"
_INPUT: Final = "input.value"
_OUTPUT: Final = "output.value"
_PARAMETERS: Final = "llm.invocation_parameters"
_INPUT_MESSAGES: Final = "llm.input_messages."
_OUTPUT_MESSAGES: Final = "llm.output_messages."
_HANDOFF: Final = "handoff to "
"""OpenAI's Agents hand on by a function that the model asks for; the span of it repeats that."""
MARKERS: Final = frozenset({_KIND})


def claims(view: SpanView) -> bool:
    """Whether a span names its kind as OpenInference does."""
    return _KIND in view.attributes


def read(view: SpanView) -> Reading | None:
    """What a span says; None for one that is no part of a conversation, such as embeddings."""
    kind = (reading.text(view.attributes.get(_KIND)) or "").upper()
    if kind == "LLM":
        return _model_call(view)
    if kind == "TOOL":
        return _tool_run(view)
    if kind in ("AGENT", "CHAIN"):
        return _enclosure(view, is_agent=kind == "AGENT")
    return None


def _model_call(view: SpanView) -> Reading | None:
    own = view.attributes
    asked = reading.mapping(own.get(_INPUT)) or {}
    parameters = reading.mapping(own.get(_PARAMETERS)) or {}
    came = reading.mapping(own.get(_OUTPUT)) or {}
    sent = _messages(own, _INPUT_MESSAGES, role="user") or _prompts(own, "llm.prompts.", "prompt")
    answer = _messages(own, _OUTPUT_MESSAGES, role="assistant") or _prompts(own, "llm.choices.", "completion")
    is_spelled_out = bool(sent or answer)
    if not messages.says_anything(sent):
        sent = payloads.said(own.get(_INPUT), role="user") or sent
    if not (messages.says_anything(answer) or any(message.requests for message in answer)):
        answer = payloads.said(own.get(_OUTPUT), role="assistant") or answer
    if not (is_spelled_out or answer or calls.has_failed(view)) and calls.usage(own) == Usage():
        return None  # LlamaIndex calls the making of a request so
    asked_for = messages.first(
        {"own": own.get("llm.request.model_name"), "given": parameters.get("model"), "asked": asked.get("model")},
        ("own", "given", "asked"),
    )
    answered = own.get("llm.response.model_name") or own.get("llm.model_name")
    return calls.model_call(
        view,
        sent,
        answer,
        response_id=_text_of(came, "id"),
        previous=_text_of(parameters, "previous_response_id") or _text_of(asked, "previous_response_id"),
        request_model=asked_for,
        response_model=answered,
    )


def _tool_run(view: SpanView) -> Reading | None:
    own = view.attributes
    if "tool.name" not in own and view.name.startswith(_HANDOFF):
        return None
    name = own.get("tool.name") or view.name
    given = own.get(_INPUT)
    if given == payloads.REDACTED:
        given = None
    if given is None and "properties" not in (reading.mapping(own.get("tool.parameters")) or {}):
        given = own.get("tool.parameters")
    told_arguments = reading.mapping(given)
    if told_arguments and set(told_arguments) <= {"args", "kwargs"} and not told_arguments.get("args"):
        given = told_arguments.get("kwargs")
    elif isinstance(given, str) and told_arguments is None:
        given = None  # a bare value, of which nobody knows the argument's name: the model's request has it
    call_id = own.get("tool_call.id") or own.get("tool.id") or own.get("tool_call_id")
    result = own.get(_OUTPUT)
    if result == payloads.REDACTED:
        result = None
    elif (told := reading.mapping(result)) and _is_tool_message(told):
        message = messages.one(told, role="tool")
        if message is not None and message.results:
            result = message.results[0].result
            call_id = call_id or message.results[0].call_id
    elif told and "blocks" in told and "tool_name" in told:  # LlamaIndex's output of a tool
        result = messages.parts_text(told["blocks"])
    return calls.tool_run(view, name=name, call_id=call_id, arguments=given, result=result)


def _enclosure(view: SpanView, *, is_agent: bool) -> Reading:
    own = view.attributes
    agent = (own.get("agent.name") or own.get("graph.node.id") or view.name) if is_agent else None
    sent = _messages(own, _INPUT_MESSAGES, role="user")
    answer = _messages(own, _OUTPUT_MESSAGES, role="assistant")
    # The values of a chain are whatever its steps hand on.
    if is_agent and not messages.says_anything(sent):
        sent = payloads.said(own.get(_INPUT), role="user")
    if is_agent and not messages.says_anything(answer):
        answer = payloads.said(own.get(_OUTPUT), role="assistant")
    return calls.enclosure(view, agent=agent, sent=sent, answer=answer)


def _messages(own: Attributes, prefix: str, *, role: str) -> tuple[Message, ...]:
    rows = flattened.rows(flattened.tree(own, prefix))
    found = [_message(inner) for row in rows if isinstance(inner := flattened.below(row, "message"), Mapping)]
    return messages.history(found, role=role)


def _message(raw: Mapping[str, object]) -> Mapping[str, object]:
    """One message as a structure: its text is in `content`, in `contents`, or in both."""
    held: dict[str, object] = {key: raw[key] for key in ("role", "name", "tool_call_id") if key in raw}
    contents = [_content(row) for row in flattened.rows(raw.get("contents"))]
    said = raw.get("content")
    has_text = any(part.get("type") == "text" for part in contents)
    held["content"] = contents if contents and (has_text or not said) else said
    requests: list[object] = [_call(row) for row in flattened.rows(raw.get("tool_calls"))]
    if not requests:
        requests = [part["call"] for part in contents if part.get("call")]
    if requests:
        held["tool_calls"] = requests
    elif isinstance(name := raw.get("function_call_name"), str):
        held["tool_calls"] = [{"name": name, "arguments": raw.get("function_call_arguments_json")}]
    return held


def _content(row: object) -> dict[str, object]:
    kind = flattened.below(row, "message_content", "type")
    if isinstance(row, Mapping) and "tool_call" in row:
        return {"type": "thinking", "call": _call(row)}  # the part itself says nothing
    if kind is None and isinstance(flattened.below(row, "message_content", "text"), str):
        kind = "text"
    return {"type": kind, "text": flattened.below(row, "message_content", "text")}


def _call(row: object) -> dict[str, object]:
    return {
        "id": flattened.below(row, "tool_call", "id"),
        "name": flattened.below(row, "tool_call", "function", "name"),
        "arguments": flattened.below(row, "tool_call", "function", "arguments"),
    }


def _prompts(own: Attributes, prefix: str, inner: str) -> tuple[Message, ...]:
    """Texts of a completion, which has no roles."""
    role = "user" if inner == "prompt" else "assistant"
    texts = [flattened.below(row, inner, "text") for row in flattened.rows(flattened.tree(own, prefix))]
    return tuple(Message(role, text) for text in texts if isinstance(text, str))


def _is_tool_message(told: Mapping[str, object]) -> bool:
    return "tool_call_id" in told or (told.get("type") == "tool" and "data" in told) or "lc" in told


def _text_of(raw: Mapping[str, object], key: str) -> str | None:
    found = raw.get(key)
    return found if isinstance(found, str) else None
