"""Anthropic's messages: a request understood, an answer written, whole or as a stream."""

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
    checked,
    new_id,
    optional,
    required,
    text_of,
)

_TEXTS: Final = frozenset({"text"})


def read(body: Mapping[str, Any]) -> Question:
    """Understands a request.

    Raises:
        RequestError: The real service would refuse it.
    """
    model = required(body, "model", str)
    if required(body, "max_tokens", int) < 1:
        raise RequestError("max_tokens: Input should be greater than or equal to 1", "max_tokens")
    given = required(body, "messages", list)
    if not given:
        raise RequestError("messages: at least one message is required", "messages")
    system = text_of(body.get("system"), _TEXTS, param="system")
    messages = [Message("system", system)] if system else []
    asked: set[str] = set()
    for number, each in enumerate(given):
        where = f"messages.{number}"
        new = _messages(checked(each, dict, where), where)
        answered = {message.call_id for message in new if message.role == "tool"}
        if strange := answered - asked:
            raise RequestError(f"{where}: unexpected `tool_use_id` found in `tool_result` blocks: {strange.pop()}")
        if left := asked - answered:
            raise RequestError(f"{where}: `tool_use` ids were found without `tool_result` blocks after: {left.pop()}")
        asked = {call.id for message in new for call in message.tool_calls}
        messages += new
    if asked:
        raise RequestError(f"messages: `tool_use` ids were found without `tool_result` blocks after: {asked.pop()}")
    return Question(model, messages, _tools(body), optional(body, "stream", bool, default=False))


def _messages(body: Mapping[str, Any], where: str) -> list[Message]:
    """A message of the wire: results of functions apart from what is said."""
    role = required(body, "role", str, where=f"{where}.")
    if role not in ("user", "assistant"):
        raise RequestError(f'{where}.role: Input should be "user" or "assistant"', "messages")
    content = body.get("content")
    if content is None:
        raise RequestError(f"{where}.content: Field required", "messages")
    text = text_of(content, _TEXTS, param=f"{where}.content")
    blocks: Sequence[Mapping[str, Any]] = content if isinstance(content, list) else []
    calls = [
        ToolCall(*(required(block, key, kind, where=f"{where}.") for key, kind in _CALL))
        for block in blocks
        if block["type"] == "tool_use"
    ]
    results = [
        Message(
            "tool",
            text_of(block.get("content"), _TEXTS, param=f"{where}.content"),
            call_id=required(block, "tool_use_id", str, where=f"{where}."),
        )
        for block in blocks
        if block["type"] == "tool_result"
    ]
    return results + ([Message(role, text, calls)] if text or calls or not results else [])


_CALL: Final = (("name", str), ("input", dict), ("id", str))


def _tools(body: Mapping[str, Any]) -> list[Tool]:
    if (body.get("tool_choice") or {}).get("type") == "none":
        return []
    return [
        Tool(
            required(checked(each, dict, "tools"), "name", str, where=f"tools.{number}."),
            each.get("description") or "",
            required(each, "input_schema", dict, where=f"tools.{number}."),
        )
        for number, each in enumerate(optional(body, "tools", list, default=[]))
    ]


def write(body: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
    """The answer as one object."""
    content: list[dict[str, Any]] = [{"type": "text", "text": answer.text}] if answer.text else []
    content += [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": dict(call.arguments)}
        for call in answer.tool_calls
    ]
    return {
        "id": new_id("msg_"),
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": content,
        "stop_reason": "tool_use" if answer.tool_calls else "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": answer.input_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": answer.output_tokens,
            "service_tier": "standard",
        },
    }


def stream(body: Mapping[str, Any], answer: Answer) -> Iterator[dict[str, Any]]:
    """The answer as the events of a stream."""
    whole = write(body, answer)
    begun = {**whole, "content": [], "stop_reason": None, "usage": {**whole["usage"], "output_tokens": 1}}
    yield {"type": "message_start", "message": begun}
    yield {"type": "ping"}
    for place, block in enumerate(whole["content"]):
        if block["type"] == "text":
            yield _block(place, {"type": "text", "text": ""})
            for piece in answer.pieces:
                yield _delta(place, {"type": "text_delta", "text": piece})
        else:
            yield _block(place, {**block, "input": {}})
            call = next(call for call in answer.tool_calls if call.id == block["id"])
            yield _delta(place, {"type": "input_json_delta", "partial_json": call.arguments_text})
        yield {"type": "content_block_stop", "index": place}
    yield {
        "type": "message_delta",
        "delta": {"stop_reason": whole["stop_reason"], "stop_sequence": None},
        "usage": {"output_tokens": answer.output_tokens},
    }
    yield {"type": "message_stop"}


def _block(place: int, block: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "content_block_start", "index": place, "content_block": block}


def _delta(place: int, delta: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": place, "delta": delta}
