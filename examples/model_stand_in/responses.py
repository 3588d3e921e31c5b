"""OpenAI's Responses: as the chat completions, but the service can keep the history."""

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

_TEXTS: Final = frozenset({"input_text", "output_text", "text", "refusal"})
_ROLES: Final = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_NOT_SAID: Final = frozenset({"reasoning", "item_reference"})
"""Items of the input that add nothing to what was said."""


class Memory:
    """The histories that the service keeps: after each answer, and of each conversation."""

    def __init__(self) -> None:
        """Remembers nothing yet."""
        self._after: dict[str, Sequence[Message]] = {}
        self._conversations: dict[str, Sequence[Message]] = {}

    def open_conversation(self) -> str:
        """The id of a new conversation."""
        conversation_id = new_id("conv_")
        self._conversations[conversation_id] = ()
        return conversation_id

    def before(self, body: Mapping[str, Any]) -> Sequence[Message]:
        """What a request goes on from.

        Raises:
            RequestError: That is not known.
        """
        previous, conversation = optional(body, "previous_response_id", str, default=None), conversation_of(body)
        if previous is not None and conversation is not None:
            raise RequestError("Mutually exclusive parameters: 'previous_response_id' and 'conversation'.")
        if previous is not None:
            if previous not in self._after:
                raise RequestError(f"Previous response with id '{previous}' not found.", "previous_response_id")
            return self._after[previous]
        if conversation is not None:
            if conversation not in self._conversations:
                raise RequestError(f"Conversation with id '{conversation}' not found.", "conversation", status=404)
            return self._conversations[conversation]
        return ()

    def keep(self, body: Mapping[str, Any], question: Question, answer: Answer, response_id: str) -> None:
        """Remembers an exchange."""
        said = [message for message in question.messages if message.role != "system"]
        history = (*said, Message("assistant", answer.text, answer.tool_calls))
        if body.get("store") is not False:
            self._after[response_id] = history
        if (conversation := conversation_of(body)) is not None:
            self._conversations[conversation] = history


def conversation_of(body: Mapping[str, Any]) -> str | None:
    """The conversation that a request belongs to."""
    given = body.get("conversation")
    found = given.get("id") if isinstance(given, dict) else given
    return None if found is None else checked(found, str, "conversation")


def read(body: Mapping[str, Any], memory: Memory) -> Question:
    """Understands a request.

    Raises:
        RequestError: The real service would refuse it.
    """
    model = required(body, "model", str)
    given = body.get("input")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else required(body, "input", list)
    messages = [*memory.before(body)]
    for number, item in enumerate(items):
        _take(checked(item, dict, f"input[{number}]"), f"input[{number}]", messages)
    _check_results(messages)
    instructions = optional(body, "instructions", str, default="")
    system = [Message("system", instructions)] if instructions else []
    tools = [] if body.get("tool_choice") == "none" else _tools(body)
    return Question(model, [*system, *messages], tools, optional(body, "stream", bool, default=False))


def _take(item: Mapping[str, Any], where: str, messages: list[Message]) -> None:
    kind = item.get("type", "message")
    if kind == "message":
        role = required(item, "role", str, where=f"{where}.")
        if role not in _ROLES:
            raise RequestError(f"Invalid value: '{role}'. Supported values are: {', '.join(_ROLES)}.", f"{where}.role")
        text = text_of(item.get("content"), _TEXTS, param=f"{where}.content")
        messages.append(Message(_ROLES[role], text))
    elif kind == "function_call":
        call_id, name = (required(item, key, str, where=f"{where}.") for key in ("call_id", "name"))
        arguments = arguments_of(required(item, "arguments", str, where=f"{where}."), param=f"{where}.arguments")
        messages.append(Message("assistant", tool_calls=[ToolCall(name, arguments, call_id)]))
    elif kind == "function_call_output":
        text = text_of(item.get("output"), _TEXTS, param=f"{where}.output")
        messages.append(Message("tool", text, call_id=required(item, "call_id", str, where=f"{where}.")))
    elif kind not in _NOT_SAID:
        raise RequestError(f"Invalid value: '{kind}'.", f"{where}.type")


def _check_results(messages: Sequence[Message]) -> None:
    asked = {call.id for message in messages for call in message.tool_calls}
    answered = {message.call_id for message in messages if message.role == "tool"}
    if strange := answered - asked:
        raise RequestError(f"No tool call found for function call output with call_id {strange.pop()}.", "input")
    if left := asked - answered:
        raise RequestError(f"No tool output found for function call {left.pop()}.", "input")


def _tools(body: Mapping[str, Any]) -> list[Tool]:
    tools = []
    for number, each in enumerate(optional(body, "tools", list, default=[])):
        where = f"tools[{number}]"
        if checked(each, dict, where).get("type") != "function":
            raise RequestError(f"Only functions are offered here, not '{each.get('type')}'.", f"{where}.type")
        name = required(each, "name", str, where=f"{where}.")
        tools.append(Tool(name, each.get("description") or "", each.get("parameters") or {}))
    return tools


def write(body: Mapping[str, Any], answer: Answer, *, now: int, response_id: str) -> dict[str, Any]:
    """The answer as one object."""
    whole = _frame(body, now=now, response_id=response_id)
    output = [_message(answer.text)] if answer.text else []
    output += [_call(call) for call in answer.tool_calls]
    whole.update(status="completed", completed_at=now, output=output, usage=_usage(answer))
    return whole


def stream(body: Mapping[str, Any], answer: Answer, *, now: int, response_id: str) -> Iterator[dict[str, Any]]:
    """The answer as the events of a stream, numbered."""
    for number, event in enumerate(_events(body, answer, now, response_id)):
        yield {**event, "sequence_number": number}


def _events(body: Mapping[str, Any], answer: Answer, now: int, response_id: str) -> Iterator[dict[str, Any]]:
    whole = write(body, answer, now=now, response_id=response_id)
    begun = _frame(body, now=now, response_id=response_id)
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for place, item in enumerate(whole["output"]):
        at = {"item_id": item["id"], "output_index": place}
        if item["type"] == "message":
            part = item["content"][0]
            yield _added(place, {**item, "status": "in_progress", "content": []})
            within = {**at, "content_index": 0}
            yield {"type": "response.content_part.added", **within, "part": {**part, "text": ""}}
            for piece in answer.pieces:
                yield {"type": "response.output_text.delta", **within, "delta": piece, "logprobs": []}
            yield {"type": "response.output_text.done", **within, "text": part["text"], "logprobs": []}
            yield {"type": "response.content_part.done", **within, "part": part}
        else:
            yield _added(place, {**item, "status": "in_progress", "arguments": ""})
            arguments = item["arguments"]
            yield {"type": "response.function_call_arguments.delta", **at, "delta": arguments}
            done = {"name": item["name"], "arguments": arguments}
            yield {"type": "response.function_call_arguments.done", **at, **done}
        yield {"type": "response.output_item.done", "output_index": place, "item": item}
    yield {"type": "response.completed", "response": whole}


def _added(place: int, item: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "response.output_item.added", "output_index": place, "item": item}


def _frame(body: Mapping[str, Any], *, now: int, response_id: str) -> dict[str, Any]:
    conversation = conversation_of(body)
    return {
        "id": response_id,
        "object": "response",
        "created_at": now,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "model": body["model"],
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": body.get("previous_response_id"),
        "reasoning": {"effort": None, "summary": None},
        "store": body.get("store") is not False,
        "temperature": body.get("temperature") or 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": body.get("tool_choice") or "auto",
        "tools": body.get("tools") or [],
        "top_p": body.get("top_p") or 1.0,
        "truncation": "disabled",
        "usage": None,
        "user": None,
        "metadata": body.get("metadata") or {},
        **({"conversation": {"id": conversation}} if conversation else {}),
    }


def _message(text: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"id": new_id("msg_"), "type": "message", "status": "completed", "role": "assistant", "content": [part]}


def _call(call: ToolCall) -> dict[str, Any]:
    return {
        "id": new_id("fc_"),
        "type": "function_call",
        "status": "completed",
        "call_id": call.id,
        "name": call.name,
        "arguments": call.arguments_text,
    }


def _usage(answer: Answer) -> dict[str, Any]:
    return {
        "input_tokens": answer.input_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": answer.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": answer.input_tokens + answer.output_tokens,
    }
