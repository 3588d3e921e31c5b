"""From the messages of a conversation to what a person would say happened: a turn, what it cost, which functions ran.

Messages are LangChain's, read by their attributes: objects, or the tuples, mappings and plain texts that LangChain
takes for messages. Nothing of LangChain is needed, so its versions do not matter here.

Pure: no I/O, clock or randomness.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from mlsdk.events import MAX_NAME

_USER: Final = frozenset({"human", "user", "HumanMessageChunk"})
_ASSISTANT: Final = frozenset({"ai", "assistant", "AIMessageChunk"})
_TOOL: Final = frozenset({"tool", "ToolMessageChunk"})
_SILENT_PARTS: Final = frozenset(
    {"tool_use", "tool_call", "tool_call_chunk", "function_call", "server_tool_call", "server_tool_result"}
    | {"reasoning", "thinking", "redacted_thinking", "input_json_delta", "invalid_tool_call"}
)
"""Parts of a message that are not said to anybody."""
_INPUT_NAMES: Final = ("input", "question", "query", "user_input", "human_input")
_OUTPUT_NAMES: Final = ("output", "answer", "result", "text")


@dataclasses.dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that a model took; without a model's name nobody can tell their price."""

    model: str | None
    prompt_tokens: int
    completion_tokens: int


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """A function call.

    Attributes:
        args: JSON text.
        result: As text; None as long as there is none.
        runtime: Milliseconds, where they were measured.
        has_failed: The function raised; `result` tells what.
    """

    name: str
    call_id: str | None = None
    args: str | None = None
    result: str | None = None
    runtime: int | None = None
    has_failed: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Turn:
    """One utterance of the user, and the final answer to it.

    Attributes:
        usage: All that the model which answered took in this turn; None if unknown.
        is_partial: The answer was left before its end.
    """

    user: str
    assistant: str
    usage: Usage | None = None
    is_partial: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Found:
    """What there is to record.

    Attributes:
        turn_id: The same for all that belongs to one turn.
        calls: Function calls, in order.
        usage: What other models took than the one on the turn, one entry a model.
    """

    turn_id: str
    turn: Turn | None = None
    calls: tuple[Call, ...] = ()
    usage: tuple[Usage, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is anything."""
        return bool(self.turn or self.calls or self.usage)


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What came out of a chain, an agent or a model.

    Attributes:
        text: What it says; None if it has not come to an answer.
        is_known: The shape of the output was understood, so there is no better place to look.
    """

    text: str | None
    is_known: bool = True


# -- one message ------------------------------------------------------------------------------------------------------


def role_of(message: object) -> str:
    """`user`, `assistant`, `tool`, or something else."""
    if isinstance(message, str):
        return "user"
    if isinstance(message, (tuple, list)):
        kind = message[0] if len(message) == 2 else None
    elif isinstance(message, Mapping):
        kind = message.get("role", message.get("type"))
    else:
        kind = getattr(message, "type", None)
        if kind in ("chat", "ChatMessageChunk"):
            kind = getattr(message, "role", None)
    for name, kinds in (("user", _USER), ("assistant", _ASSISTANT), ("tool", _TOOL)):
        if isinstance(kind, str) and kind in kinds:
            return name
    return "other"


def text_of(message: object) -> str:
    """What a message says: its text parts; parts that are no text are named in brackets."""
    if isinstance(message, str):
        return message
    if isinstance(message, (tuple, list)):
        return text_of_content(message[1]) if len(message) == 2 else ""
    return text_of_content(_field(message, "content"))


def text_of_content(content: object) -> str:
    """The text of a message's content, which is a text or a list of parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, (list, tuple)):
        return ""
    return "".join(map(_text_of_part, content))


def _text_of_part(part: object) -> str:
    if isinstance(part, str):
        return part
    kind, text = _field(part, "type"), _field(part, "text")
    if isinstance(text, str):
        return text
    if not isinstance(kind, str) or kind in _SILENT_PARTS:
        return ""
    return f"[{kind.removeprefix('input_').removesuffix('_url')}]"


def requests_of(message: object) -> list[Call]:
    """The functions that a model's message asks for, without results."""
    requests = _field(message, "tool_calls")
    if not isinstance(requests, (list, tuple)):
        return []
    found = []
    for request in requests:
        name, call_id = _field(request, "name"), _field(request, "id")
        if isinstance(name, str) and name:
            args = _field(request, "args")
            found.append(
                Call(
                    name=name_text(name),
                    call_id=call_id if isinstance(call_id, str) else None,
                    args=None if args is None else json_text(args),
                )
            )
    return found


def usage_of(message: object, model: str | None = None) -> Usage | None:
    """What a model's message says that it took; None if it does not say.

    Args:
        message: The message.
        model: The model's name where the message has none.
    """
    told = _field(message, "usage_metadata")
    about = _field(message, "response_metadata")
    name = _field(about, "model_name") or _field(about, "model") or model
    return usage_from(_field(told, "input_tokens"), _field(told, "output_tokens"), name)


def usage_from(prompt_tokens: object, completion_tokens: object, model: object) -> Usage | None:
    """Usage of numbers that may be anything; None unless both are counts. Nothing at all is not a count either."""
    if not _is_count(prompt_tokens) or not _is_count(completion_tokens) or not (prompt_tokens or completion_tokens):
        return None
    name = model[:MAX_NAME] if isinstance(model, str) and model else None
    return Usage(model=name, prompt_tokens=prompt_tokens, completion_tokens=completion_tokens)  # type: ignore[arg-type]


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def name_text(name: object) -> str:
    """The name of a function as the wire can hold it."""
    return name[:MAX_NAME] if isinstance(name, str) and name else "function"


def json_text(value: object) -> str:
    """A value as JSON text, as far as that is possible: what JSON cannot hold becomes text."""
    try:
        return json.dumps(value, ensure_ascii=False, default=_plain)
    except (TypeError, ValueError, RecursionError):  # odd keys, or a value inside itself
        return str(value)


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    dump = getattr(value, "model_dump", None)
    return dump() if callable(dump) else str(value)


def result_text(output: object) -> str:
    """What a function gave back, as text: of a message its text, of anything else JSON."""
    if isinstance(output, str):
        return output
    if (messages := messages_in(_field(output, "update"))) is not None:  # LangGraph's Command
        output = messages
    if isinstance(output, (list, tuple)) and output and all(role_of(each) == "tool" for each in output):
        return "\n".join(map(text_of, output))
    if role_of(output) == "tool":
        content = _field(output, "content")
        return text_of_content(content) if isinstance(content, (str, list)) else json_text(content)
    return json_text(output)


# -- a history --------------------------------------------------------------------------------------------------------


def last_user_index(messages: Sequence[object]) -> int | None:
    """Where the user spoke last."""
    return next((index for index in reversed(range(len(messages))) if role_of(messages[index]) == "user"), None)


def since_user(messages: Sequence[object]) -> Sequence[object]:
    """What the user said last, and all that follows; nothing if they said nothing."""
    start = last_user_index(messages)
    return () if start is None else messages[start:]


def finished_calls(messages: Iterable[object]) -> list[Call]:
    """The function calls in a history that have a result, in the order in which they were asked for."""
    asked: dict[str, Call] = {}
    for message in messages:
        if role_of(message) == "assistant":
            asked.update((request.call_id, request) for request in requests_of(message) if request.call_id)
        elif role_of(message) == "tool":
            call_id = _field(message, "tool_call_id")
            if isinstance(call_id, str) and call_id in asked:
                asked[call_id] = dataclasses.replace(
                    asked[call_id], result=result_text(message), has_failed=_field(message, "status") == "error"
                )
    return [call for call in asked.values() if call.result is not None]


def turn_in(
    messages: Sequence[object],
    *,
    turn_id: str,
    model: str | None = None,
    structured: object = None,
    is_over: bool = False,
) -> Found | None:
    """The turn that the last messages of a history make, with its function calls and all that its models took.

    Args:
        messages: The history, oldest first.
        turn_id: Names the turn.
        model: The model's name for all usage; default what the messages say.
        structured: The answer as data, where the agent was asked for that.
        is_over: Nothing follows, so that the result of a function can be the answer.

    Returns:
        None while the model has not come to an answer.
    """
    recent = since_user(messages)
    answer = answer_in_messages(recent, structured=structured, is_over=is_over)
    if not recent or answer is None:
        return None
    spoken = [message for message in recent if role_of(message) == "assistant"]
    known = [usage for message in spoken if (usage := usage_of(message, model)) is not None]
    if model:
        known = [dataclasses.replace(usage, model=model[:MAX_NAME]) for usage in known]
    answering = usage_of(spoken[-1], model) if spoken else None
    own, others = add_up(known, model=(model or answering.model) if answering else None)
    turn = Turn(user=text_of(recent[0]), assistant=answer, usage=own)
    return Found(turn_id=turn_id, turn=turn, calls=tuple(finished_calls(recent)), usage=others)


def add_up(usages: Iterable[Usage], *, model: str | None) -> tuple[Usage | None, tuple[Usage, ...]]:
    """Adds usage up by model.

    Returns:
        The sum of the model named, None if there is none; and those of the others.
    """
    sums: dict[str | None, Usage] = {}
    for usage in usages:
        known = sums.get(usage.model)
        sums[usage.model] = (
            usage
            if known is None
            else Usage(
                model=usage.model,
                prompt_tokens=known.prompt_tokens + usage.prompt_tokens,
                completion_tokens=known.completion_tokens + usage.completion_tokens,
            )
        )
    own = sums.pop(model, None) if model is not None else None
    return own, tuple(sums.values())


# -- what goes into a chain, and what comes out -----------------------------------------------------------------------


def utterance_in(inputs: object) -> str | None:
    """What the user said, in the input of a chain or an agent; None if the input does not tell."""
    if isinstance(inputs, str):
        return inputs
    messages = messages_in(inputs)
    if messages is not None:
        recent = since_user(messages)
        return text_of(recent[0]) if recent else None
    if isinstance(inputs, Mapping):
        return next((text for name in _INPUT_NAMES if isinstance(text := inputs.get(name), str)), None)
    return text_of(inputs) if role_of(inputs) == "user" else None


def is_asked(inputs: object) -> bool:
    """Whether the input is a conversation that ends with what the user said."""
    messages = messages_in(inputs)
    return bool(messages and role_of(messages[-1]) == "user")


def structured_in(outputs: object) -> object:
    """The answer as data, where LangChain's agent was asked for that."""
    return _field(outputs, "structured_response")


def answer_in(outputs: object) -> Answer:
    """What an output says to the user."""
    if isinstance(outputs, str):
        return Answer(outputs or None)
    messages = messages_in(outputs)
    if messages is not None:
        return Answer(answer_in_messages(messages, structured=structured_in(outputs), is_over=True))
    if role_of(outputs) == "assistant":
        return Answer(None if requests_of(outputs) else text_of(outputs) or None)
    if isinstance(outputs, Mapping):
        for name in _OUTPUT_NAMES:
            if name in outputs and (isinstance(outputs[name], str) or role_of(outputs[name]) == "assistant"):
                return answer_in(outputs[name])
    return Answer(None, is_known=False)


def answer_in_messages(messages: Sequence[object], *, structured: object = None, is_over: bool = False) -> str | None:
    """The final answer at the end of a history; None while there is none."""
    last = messages[-1] if messages else None
    if structured is not None and role_of(last) != "user":
        text = text_of(last) if role_of(last) == "assistant" else ""
        return text or json_text(structured)
    if role_of(last) == "assistant":
        return None if requests_of(last) else text_of(last) or None
    if role_of(last) == "tool" and is_over:
        return result_text(last) or None  # a function whose result goes to the user as it is
    return None


def messages_in(value: object) -> Sequence[object] | None:
    """The history that a value is or has: a list of messages, a prompt, the state of a graph."""
    if isinstance(value, (list, tuple)):
        return value if value and not isinstance(value[0], str) and all(map(_is_message, value)) else None
    found = _field(value, "messages")
    if isinstance(found, (list, tuple)):
        return found
    return None if found is None or not _is_message(found) else [found]


def _is_message(value: object) -> bool:
    """Whether it can be a message at all, of whatever role."""
    if isinstance(value, Mapping):
        return "content" in value and ("role" in value or "type" in value)
    return role_of(value) != "other" or (hasattr(value, "content") and hasattr(value, "type"))


def _field(value: object, name: str) -> Any:
    """One field of an object or a mapping; None if there is none."""
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)
