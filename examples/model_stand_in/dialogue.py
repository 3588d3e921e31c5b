"""What is asked and what is answered, free of the interface by which it came."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


class RequestError(Exception):
    """A request that the real service would refuse.

    Args:
        message: What is wrong.
        param: Which part of the request it is about.
        status: The HTTP status to refuse with.
    """

    def __init__(self, message: str, param: str | None = None, *, status: int = 400) -> None:
        """Keeps what is said to the caller."""
        super().__init__(message)
        self.message = message
        self.param = param
        self.status = status


def new_id(prefix: str) -> str:
    """An id that no other answer has, in this process or another."""
    return f"{prefix}{secrets.token_hex(12)}"


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model asks for a function to be called.

    Attributes:
        id: Names the call; without one, it gets one when it is sent.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""

    @property
    def arguments_text(self) -> str:
        """The arguments as JSON, as they travel."""
        return json.dumps(dict(self.arguments))


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model says.

    Attributes:
        text: The answer; may be empty where functions are called.
        tool_calls: Functions to call, several at once if there are several.
        input_tokens: What the question counts for; default one for each word of it.
        output_tokens: What the answer counts for; default one for each word of it.
        breaks_after: A stream is cut off after so many pieces of text, as by a lost connection.
    """

    text: str = ""
    tool_calls: Sequence[ToolCall] = ()
    input_tokens: int | None = None
    output_tokens: int | None = None
    breaks_after: int | None = None

    @property
    def pieces(self) -> list[str]:
        """The text as a stream has it: word by word, nothing lost."""
        words = self.text.split(" ")
        return [word if number == 0 else f" {word}" for number, word in enumerate(words)] if self.text else []


@dataclass(frozen=True, slots=True)
class Failure:
    """The service answers with an error.

    Attributes:
        is_final: Tells the client not to try again by itself.
    """

    status: int = 500
    message: str = "The server had an error while processing your request."
    is_final: bool = True


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the history.

    Attributes:
        role: `system`, `user`, `assistant` or `tool`.
        text: What it says, its parts of text joined.
        call_id: Of a `tool` message: which call it answers.
    """

    role: str
    text: str = ""
    tool_calls: Sequence[ToolCall] = ()
    call_id: str = ""


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that the model may ask for."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Question:
    """A request, understood.

    Attributes:
        messages: The whole history, what the service keeps of it included.
        is_streamed: The answer is wanted piece by piece.
    """

    model: str
    messages: Sequence[Message]
    tools: Sequence[Tool] = ()
    is_streamed: bool = False

    @property
    def utterance(self) -> str:
        """What the user said last."""
        return next((message.text for message in reversed(self.messages) if message.role == "user"), "")

    @property
    def results(self) -> list[str]:
        """What the functions gave back that the last answer asked for."""
        found: list[str] = []
        for message in reversed(self.messages):
            if message.role != "tool":
                break
            found.insert(0, message.text)
        return found


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply with all that the wire needs: ids and numbers."""

    text: str
    tool_calls: Sequence[ToolCall]
    input_tokens: int
    output_tokens: int
    pieces: Sequence[str] = ()


def answer_of(question: Question, reply: Reply, *, call_prefix: str) -> Answer:
    """Completes a reply: ids for its calls, a count for each word.

    Args:
        question: What was asked.
        reply: What is to be said.
        call_prefix: How the interface's ids of calls begin.
    """
    calls = [ToolCall(call.name, call.arguments, call.id or new_id(call_prefix)) for call in reply.tool_calls]
    asked = sum(_words(message) for message in question.messages)
    said = _words(Message("assistant", reply.text, calls))
    return Answer(
        text=reply.text,
        tool_calls=calls,
        input_tokens=asked if reply.input_tokens is None else reply.input_tokens,
        output_tokens=said if reply.output_tokens is None else reply.output_tokens,
        pieces=reply.pieces,
    )


def _words(message: Message) -> int:
    calls = sum(1 + len(call.arguments_text.split()) for call in message.tool_calls)
    return len(message.text.split()) + calls


def text_of(content: object, kinds: frozenset[str], *, param: str) -> str:
    """The text of a message's content: as it is, or the parts that are text.

    Raises:
        RequestError: It is neither text nor a list of parts.
    """
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise RequestError(f"Invalid type for '{param}': expected text or a list of parts.", param)
    texts = []
    for number, part in enumerate(content):
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise RequestError(f"Missing required parameter: '{param}[{number}].type'.", param)
        if part["type"] in kinds:
            texts.append(required(part, "text", str, where=f"{param}[{number}]."))
    return "\n".join(texts)


def required(body: Mapping[str, Any], name: str, kind: type[Any], *, where: str = "") -> Any:
    """A field that must be there and of a type.

    Raises:
        RequestError: It is not.
    """
    if name not in body:
        raise RequestError(f"Missing required parameter: '{where}{name}'.", where + name)
    return checked(body[name], kind, where + name)


def checked(value: Any, kind: type[Any], param: str) -> Any:
    """A value that must be of a type.

    Raises:
        RequestError: It is not.
    """
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise RequestError(f"Invalid type for '{param}': expected {kind.__name__}.", param)
    return value


def optional(body: Mapping[str, Any], name: str, kind: type[Any], default: Any) -> Any:
    """A field that may be left out or null.

    Raises:
        RequestError: It is of another type.
    """
    value = body.get(name)
    return default if value is None else checked(value, kind, name)


def arguments_of(text: object, *, param: str) -> Mapping[str, Any]:
    """The arguments of a call in the history.

    Raises:
        RequestError: They are no JSON object.
    """
    try:
        arguments = json.loads(text) if isinstance(text, str) else text
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        raise RequestError(f"Invalid value for '{param}': expected a JSON object.", param)
    return arguments
