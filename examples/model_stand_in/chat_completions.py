"""OpenAI's chat completions: a request understood, an answer written, whole or as a stream."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from model_stand_in.dialogue import (
    Answer,
    Message,
    Question,
    RequestError,
    Tool,
    ToolCall,
    arguments_of,
    checked,
    new_id,
    optional,
    required,
    text_of,
)

_TEXTS: Final = frozenset({"text", "refusal"})
_ROLES: Final = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}


def read(body: Mapping[str, Any]) -> Question:
    """Understands a request.

    Raises:
        RequestError: The real service would refuse it.
    """
    model = required(body, "model", str)
    given = required(body, "messages", list)
    if not given:
        raise RequestError("Invalid 'messages': empty array. Expected an array with minimum length 1.", "messages")
    messages = [_message(each, f"messages[{number}]") for number, each in enumerate(given)]
    _check_results(messages)
    is_streamed = optional(body, "stream", bool, default=False)
    if body.get("stream_options") is not None and not is_streamed:
        raise RequestError("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")
    tools = [] if body.get("tool_choice") == "none" else tools_of(body)
    return Question(model, messages, tools, is_streamed)


def tools_of(body: Mapping[str, Any]) -> list[Tool]:
    """The functions that a request offers.

    Raises:
        RequestError: One is not described as it must be.
    """
    tools = []
    for number, each in enumerate(optional(body, "tools", list, default=[])):
        where = f"tools[{number}]"
        if checked(each, dict, where).get("type") != "function":
            raise RequestError(f"Invalid value: '{where}.type'. Supported values are: 'function'.", f"{where}.type")
        function = required(each, "function", dict, where=f"{where}.")
        name = required(function, "name", str, where=f"{where}.function.")
        tools.append(Tool(name, function.get("description") or "", function.get("parameters") or {}))
    return tools


def _message(given: object, where: str) -> Message:
    body: Mapping[str, Any] = checked(given, dict, where)
    role = required(body, "role", str, where=f"{where}.")
    if role not in _ROLES:
        raise RequestError(f"Invalid value: '{role}'. Supported values are: {', '.join(_ROLES)}.", f"{where}.role")
    calls = [_call(each, f"{where}.tool_calls[{number}]") for number, each in enumerate(body.get("tool_calls") or [])]
    if body.get("content") is None and not calls and body.get("refusal") is None:
        raise RequestError(f"Missing required parameter: '{where}.content'.", f"{where}.content")
    text = text_of(body.get("content"), _TEXTS, param=f"{where}.content")
    call_id = required(body, "tool_call_id", str, where=f"{where}.") if role == "tool" else ""
    return Message(_ROLES[role], text, calls, call_id)


def _call(given: object, where: str) -> ToolCall:
    body = checked(given, dict, where)
    function = required(body, "function", dict, where=f"{where}.")
    arguments = arguments_of(
        required(function, "arguments", str, where=f"{where}.function."), param=f"{where}.function.arguments"
    )
    name = required(function, "name", str, where=f"{where}.function.")
    return ToolCall(name, arguments, required(body, "id", str, where=f"{where}."))


def _check_results(messages: Sequence[Message]) -> None:
    """Each call is answered by the messages right after it, and nothing else is."""
    open_calls: set[str] = set()
    for number, message in enumerate(messages):
        if message.role == "tool":
            if message.call_id not in open_calls:
                raise RequestError(
                    "Invalid parameter: messages with role 'tool' must be a response to a preceding message with "
                    "'tool_calls'.",
                    f"messages[{number}].role",
                )
            open_calls.discard(message.call_id)
            continue
        _check_none_open(open_calls)
        open_calls = {call.id for call in message.tool_calls}
    _check_none_open(open_calls)


def _check_none_open(open_calls: set[str]) -> None:
    if open_calls:
        raise RequestError(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            f"'tool_call_id'. These did not have response messages: {', '.join(sorted(open_calls))}",
            "messages",
        )


def write(body: Mapping[str, Any], answer: Answer, *, now: int) -> dict[str, Any]:
    """The answer as one object."""
    message: dict[str, Any] = {"role": "assistant", "content": answer.text or None, "refusal": None, "annotations": []}
    if answer.tool_calls:
        message["tool_calls"] = [_written(call) for call in answer.tool_calls]
    return {
        "id": new_id("chatcmpl-"),
        "object": "chat.completion",
        "created": now,
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": _reason(answer)}],
        "usage": _usage(answer),
        "service_tier": "default",
        "system_fingerprint": None,
    }


def stream(body: Mapping[str, Any], answer: Answer, *, now: int) -> Iterator[dict[str, Any]]:
    """The answer piece by piece; with its usage last where the request wants that."""
    wants_usage = bool((body.get("stream_options") or {}).get("include_usage"))
    frame: dict[str, Any] = {
        "id": new_id("chatcmpl-"),
        "object": "chat.completion.chunk",
        "created": now,
        "model": body["model"],
        "service_tier": "default",
        "system_fingerprint": None,
        **({"usage": None} if wants_usage else {}),
    }

    def chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        return {**frame, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}]}

    yield chunk(
        {"role": "assistant", "content": None if answer.tool_calls and not answer.text else "", "refusal": None}
    )
    for piece in answer.pieces:
        yield chunk({"content": piece})
    for number, call in enumerate(answer.tool_calls):
        whole = _written(call)
        function = whole["function"]
        yield chunk({"tool_calls": [{"index": number, **whole, "function": {**function, "arguments": ""}}]})
        # In two halves: readers must put them together.
        arguments = function["arguments"]
        for half in (arguments[: len(arguments) // 2], arguments[len(arguments) // 2 :]):
            yield chunk({"tool_calls": [{"index": number, "function": {"arguments": half}}]})
    yield chunk({}, _reason(answer))
    if wants_usage:
        yield {**frame, "choices": [], "usage": _usage(answer)}


def _written(call: ToolCall) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments_text}}


def _reason(answer: Answer) -> str:
    return "tool_calls" if answer.tool_calls else "stop"


def _usage(answer: Answer) -> dict[str, Any]:
    return {
        "prompt_tokens": answer.input_tokens,
        "completion_tokens": answer.output_tokens,
        "total_tokens": answer.input_tokens + answer.output_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }
