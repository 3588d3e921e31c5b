"""Messages of a model call, in any of the shapes in which libraries and providers write them.

Readers hand over what they found: a structure, or the JSON text of one. The shapes of OpenTelemetry (`parts`), OpenAI
(chat completions and the items of the Responses API), Anthropic, Bedrock, Google, LangChain and the Vercel AI SDK are
told apart by their keys, message by message and part by part, because frameworks mix them. Nothing here raises; what
cannot be understood says nothing.
"""

from __future__ import annotations

import re
from ast import literal_eval
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeGuard

from mlsdk_otel.translation.conventions import reading
from mlsdk_otel.translation.facts import Message, ToolRequest, ToolResult

_ROLES: Final[Mapping[str, str]] = {
    "ai": "assistant",
    "aimessage": "assistant",
    "aimessagechunk": "assistant",
    "bot": "assistant",
    "chatbot": "assistant",
    "developer": "system",
    "function": "tool",
    "functionmessage": "tool",
    "human": "user",
    "humanmessage": "user",
    "humanmessagechunk": "user",
    "model": "assistant",
    "systemmessage": "system",
    "toolmessage": "tool",
    "unknown": "tool",  # what OpenLLMetry's LangChain up to 0.3x calls results of functions
}
_REQUESTS: Final = frozenset(
    {
        "tool_call",
        "tool_use",
        "function_call",
        "tool-call",
        "toolcall",
        "server_tool_use",
        "server_tool_call",
        "mcp_tool_use",
        "mcp_call",
        "custom_tool_call",
        "function",
    }
)
_RESULTS: Final = frozenset(
    {
        "tool_call_response",
        "tool_result",
        "function_call_output",
        "tool-result",
        "function_response",
        "server_tool_call_response",
        "mcp_tool_result",
        "custom_tool_call_output",
        "tool_call_output",
        "toolresult",
    }
)
_TEXTS: Final = frozenset({"text", "input_text", "output_text", "refusal", "summary_text"})
_THOUGHTS: Final = frozenset(
    {"reasoning", "thinking", "redacted_thinking", "compaction", "reasoning_text", "step-start"}
)
_WRAPPED: Final[Mapping[str, str]] = {
    "toolUse": "tool_use",
    "functionCall": "function_call",
    "function_call": "function_call",
    "tool_call": "tool_call",
    "toolResult": "tool_result",
    "functionResponse": "function_response",
    "function_response": "function_response",
}
"""Parts of Bedrock and Google hold what they are under its name, and have no type."""
_KINDS: Final = ("image", "audio", "video", "file", "document")
_NAMES: Final = ("name", "toolName", "tool_name", "function_name")
_CALL_IDS: Final = ("call_id", "tool_call_id", "tool_use_id", "toolCallId", "toolUseId", "id")
_ARGUMENTS: Final = ("arguments", "args", "input", "parameters", "params")
_ANSWERS: Final = ("response", "result", "content", "output", "parts")
_JSON_OF_MESSAGES: Final = ('[{"', '[ {"', '[{ "', "[\n", '{"role"', '{"messages"', '{"content')
_SHOWN: Final = ("ResponseFunctionToolCall(", "{'annotations': ")
_STRING: Final = r"""('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
_SHOWN_CALL: Final = re.compile(
    rf"ResponseFunctionToolCall\(arguments={_STRING}, call_id={_STRING}, name={_STRING}", re.DOTALL
)
_JSON_OF_PARTS: Final = ('[{"type":', '[{"text":', '[{"toolResult":', '[{"toolUse":')
_MAX_DEPTH: Final = 6


def loaded(raw: object) -> object:
    """A structure as it is, JSON text as what it holds; other text as it is."""
    if not isinstance(raw, str | bytes | bytearray):
        return raw
    try:
        return reading.parsed(raw)
    except ValueError:
        return reading.text(raw)


_USUAL_ROLES: Final = ("user", "assistant", "system")
_USUAL_KEYS: Final = frozenset({"role", "parts", "name", "finish_reason"})
_USUAL_PART: Final = ("type", "content")


def history(raw: object, *, role: str = "user") -> tuple[Message, ...]:
    """The messages in a list, in the JSON text of one, in one message, or in plain text.

    Args:
        raw: What an attribute holds.
        role: Whose a message is that does not say it.
    """
    found = loaded(raw)
    if isinstance(found, str):
        # JSON that a limit of the length of attributes has cut: its end, the newest message, is what is missing.
        is_cut = found.startswith(_JSON_OF_MESSAGES)
        return (Message(role, found),) if found and not is_cut else ()
    if isinstance(found, Mapping):
        found = [found]
    if not _is_list(found):
        return ()
    # LangChain calls a model with a batch of histories, and gets as many answers; one of one is usual.
    while len(found) == 1 and _is_list(found[0]):
        found = found[0]
    read: list[Message] = []
    are_usual = True
    for item in found:
        usual = _usual(item) if type(item) is dict else None
        if usual is not None:
            read.append(usual)
            continue
        are_usual = False
        if (message := one(item, role=role)) is not None:
            read.append(message)
    return tuple(read if are_usual else _joined(read, found))


def one(raw: object, *, role: str = "user") -> Message | None:
    """One message; None if it is none, as a thought is."""
    if isinstance(raw, str):
        return Message(role, raw)
    if not isinstance(raw, Mapping):
        return None
    if (usual := _usual(raw)) is not None:
        return usual
    unwrapped = _unwrapped(raw)
    kind = _kind(unwrapped)
    given = _role_of(unwrapped)
    parts = _Parts()
    if given is None and (kind in _REQUESTS or kind in _RESULTS or kind in _THOUGHTS or _is_part(unwrapped)):
        # The Responses API lists calls and results beside messages; some libraries list bare parts.
        parts.add(unwrapped)
        return None if parts.is_empty else parts.message("assistant" if parts.requests else role)
    given = given or role
    if given == "tool":
        return _tool(unwrapped)
    parts.add_all(unwrapped.get("parts"))
    for key in ("content", "contents", "text"):
        if parts.is_silent:
            parts.add_all(unwrapped.get(key))
    for key in ("tool_calls", "toolCalls"):
        for call in _listed(unwrapped.get(key)):
            parts.request(call)
    if isinstance(call := unwrapped.get("function_call"), Mapping) and not parts.requests:
        parts.request(call)
    return parts.message(given)


def _usual(raw: Mapping[str, object]) -> Message | None:
    """A message of one text as the conventions have it; nearly all are, and are read in a tenth of the time."""
    role, parts = raw.get("role"), raw.get("parts")
    if role not in _USUAL_ROLES or type(parts) is not list or len(parts) != 1 or not _USUAL_KEYS.issuperset(raw):
        return None
    part = parts[0]
    if type(part) is not dict or len(part) != len(_USUAL_PART) or part.get("type") != "text":
        return None
    text = part.get("content")
    return Message(str(role), text) if type(text) is str and not text.startswith(_SHOWN) else None


def parts_text(raw: object) -> str | None:
    """The text of a list of parts, of its JSON text, or of plain text."""
    found = loaded(raw)
    if isinstance(found, str):
        return found
    if isinstance(raw, str) and not isinstance(found, Mapping | Sequence):
        return raw  # "21" is text, whatever JSON makes of it
    parts = _Parts()
    parts.add_all(found)
    return parts.text("user")


def system(raw: object) -> tuple[Message, ...]:
    """System instructions: parts, their JSON text, or plain text."""
    text = parts_text(raw)
    return () if text is None else (Message("system", text),)


def arguments(raw: object) -> str | None:
    """Arguments of a function as JSON text; None for none."""
    return None if raw is None or raw == "" else reading.text(raw)


def result(raw: object) -> str | None:
    """What a function gave, as text: blocks of text are joined, other structures become JSON text."""
    return _result(raw, _MAX_DEPTH)


def says_anything(messages: Iterable[Message]) -> bool:
    """Whether texts were captured."""
    return any(
        message.text is not None
        or any(request.arguments is not None for request in message.requests)
        or any(given.result is not None for given in message.results)
        for message in messages
    )


def first(raw: Mapping[str, object], keys: Iterable[str]) -> object:
    """The first value that is there."""
    return next((raw[key] for key in keys if raw.get(key) is not None), None)


@dataclass(slots=True)
class _Parts:
    """What the parts of one message add up to."""

    texts: list[str] = field(default_factory=list)
    requests: list[ToolRequest] = field(default_factory=list)
    results: list[ToolResult] = field(default_factory=list)

    @property
    def is_silent(self) -> bool:
        return not (self.texts or self.requests or self.results)

    is_empty = is_silent

    def add_all(self, raw: object) -> None:
        if isinstance(raw, str):
            held = _blocks(raw)
            if held is None:
                if not (raw.startswith(_JSON_OF_PARTS) and isinstance(loaded(raw), str)):
                    self.texts.append(raw)  # else it is JSON that was cut, as in `history`
                return
            raw = held
        if isinstance(raw, Mapping):
            # Google's content: {"role", "parts"}; or one part alone.
            raw = raw["parts"] if _is_list(raw.get("parts")) else [raw]
        for part in _listed(raw):
            self.add(part)

    def add(self, part: object) -> None:
        if isinstance(part, str):
            self.texts.append(part)
        elif isinstance(part, Mapping):
            self._add_typed(part)

    def _add_typed(self, part: Mapping[str, object]) -> None:
        kind = _kind(part)
        for key, meant in _WRAPPED.items():
            if isinstance(inner := part.get(key), Mapping) and kind in ("", meant):
                part, kind = inner, meant
                break
        if kind in _RESULTS:
            self.results.append(_tool_result(part))
        elif kind in _REQUESTS:
            self.request(part)
        elif kind in _TEXTS or (not kind and isinstance(first(part, ("text", "content")), str)):
            if not part.get("thought") and isinstance(said := first(part, ("content", "text", "value", kind)), str):
                shown = _shown(said)
                if isinstance(shown, str):
                    self.texts.append(shown)
                else:
                    self._add_typed(shown)
        elif kind not in _THOUGHTS and (named := _named(kind, part)):
            self.texts.append(f"[{named}]")

    def request(self, raw: object) -> None:
        if not isinstance(raw, Mapping):
            return
        inner = raw.get("function")
        call = {**raw, **inner} if isinstance(inner, Mapping) else raw
        self.requests.append(
            ToolRequest(
                name=_name(first(call, _NAMES) or (inner if isinstance(inner, str) else None)),
                call_id=reading.identifier(first(call, _CALL_IDS)),
                arguments=arguments(first(call, _ARGUMENTS)),
            )
        )

    def text(self, role: str) -> str | None:
        # Providers cut one answer into blocks; what a user puts side by side are paragraphs.
        return ("" if role == "assistant" else "\n").join(self.texts) if self.texts else None

    def message(self, role: str) -> Message:
        text = self.text(role)
        if self.requests and not text:
            text = None
        if self.results and not self.requests and not text:
            role, text = "tool", None
        return Message(role, text, tuple(self.requests), tuple(self.results))


def _shown(text: str) -> str | Mapping[str, object]:
    """What a text is that shows an object of OpenAI's client as Python does, as the first of OpenTelemetry's
    instrumentations of OpenAI's Agents wrote them; any other text as it is."""
    if not text.startswith(_SHOWN):
        return text
    if (call := _SHOWN_CALL.match(text)) is not None:
        arguments, call_id, name = (literal_eval(held) for held in call.groups())
        return {"type": "function_call", "arguments": arguments, "call_id": call_id, "name": name}
    try:
        part = literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text
    is_text = isinstance(part, dict) and part.get("type") == "output_text" and isinstance(part.get("text"), str)
    return str(part["text"]) if is_text else text


def _name(raw: object) -> str | None:
    """The name of a function, without the quotes that CrewAI's instrumentation leaves around it."""
    read = reading.text(raw)
    return reading.name(read.strip(" '\"")) if read else None


def _tool(raw: Mapping[str, object]) -> Message:
    parts = _Parts()
    content = first(raw, ("parts", "content", "contents", "text"))
    if not isinstance(content, str) or (_blocks(content) or [{}])[0].get("type") in _RESULTS:
        parts.add_all(content)
    elif (wrapped := _blocks(content)) and any(key in wrapped[0] for key in _WRAPPED):
        parts.add_all(wrapped)
    if parts.results:
        named = reading.name(raw.get("name"))
        return Message("tool", results=tuple(replace(given, name=given.name or named) for given in parts.results))
    blocks = _blocks(content) if isinstance(content, str) else None
    said = _result(blocks if blocks and all(map(_is_text_block, blocks)) else content, _MAX_DEPTH)
    call_id = reading.identifier(first(raw, _CALL_IDS))
    return Message("tool", results=(ToolResult(call_id, reading.name(first(raw, _NAMES)), said),))


def _tool_result(part: Mapping[str, object]) -> ToolResult:
    given = first(part, _ANSWERS)
    return ToolResult(
        call_id=reading.identifier(first(part, _CALL_IDS)),
        name=reading.name(first(part, _NAMES)),
        result=_result(given, _MAX_DEPTH),
    )


def _result(raw: object, depth: int) -> str | None:
    if isinstance(raw, Mapping) and depth:
        kind = _kind(raw)
        if kind in _TEXTS and isinstance(said := first(raw, ("text", "content", "value")), str):
            return said
        if kind in ("json", "error-text", "error-json", "content") and "value" in raw:
            return _result(raw["value"], depth - 1)
        if len(raw) == 1 and isinstance(only := first(raw, ("result", "text", "json")), str | Mapping | list | tuple):
            # Google's kit wraps plain text as `result`, Bedrock everything as `text` or `json`.
            return reading.text(only) if isinstance(only, str) or "json" in raw else reading.text(raw)
    if _is_list(raw) and raw and depth:
        blocks = [_result(block, 1) for block in raw if _is_text_block(block)]
        if len(blocks) == len(raw):
            return "\n".join(block for block in blocks if block is not None)
    return reading.text(raw)


def _is_text_block(raw: object) -> bool:
    if not isinstance(raw, Mapping):
        return False
    return _kind(raw) in _TEXTS or (len(raw) == 1 and ("text" in raw or "json" in raw))


def _unwrapped(raw: Mapping[str, object]) -> Mapping[str, object]:
    """A message without the wrapping that serialisers put around it."""
    for _ in range(_MAX_DEPTH):
        if isinstance(inner := raw.get("kwargs"), Mapping) and "lc" in raw:
            raw = {"type": _class_of(raw), **inner}  # LangChain's dumpd
        elif isinstance(inner := raw.get("data"), Mapping) and isinstance(raw.get("type"), str):
            raw = {"type": raw["type"], **inner}  # LangChain's message_to_dict
        elif isinstance(inner := raw.get("message"), Mapping):
            # A choice of OpenAI's; OpenLLMetry puts the calls beside the message.
            beside = {key: raw[key] for key in ("tool_calls", "role") if raw.get(key) is not None}
            raw = {**beside, **{key: held for key, held in inner.items() if held is not None}}
        elif isinstance(inner := raw.get("content"), Mapping) and (_is_list(inner.get("parts")) or "role" in inner):
            raw = {**{key: raw[key] for key in ("role",) if raw.get(key)}, **inner}  # a candidate of Google's
        else:
            break
    return raw


def _class_of(raw: Mapping[str, object]) -> object:
    path = raw.get("id")
    return path[-1] if _is_list(path) and path else None


def _role_of(raw: Mapping[str, object]) -> str | None:
    for key in ("role", "type", "author", "sender"):
        given = raw.get(key)
        if isinstance(given, Mapping):
            given = given.get("role")
        if isinstance(given, str) and given:
            role = given.strip().lower().rpartition(".")[2]
            role = _ROLES.get(role, role)
            if role in ("user", "assistant", "system", "tool"):
                return role
            if key == "role":
                return "user" if role not in ("developer",) else "system"
    return None


def _kind(raw: Mapping[str, object]) -> str:
    kind = first(raw, ("type", "part_kind", "kind"))
    return kind.lower() if isinstance(kind, str) else ""


def _is_part(raw: Mapping[str, object]) -> bool:
    return "content" not in raw and "parts" not in raw and any(key in raw for key in _WRAPPED)


def _named(kind: str, part: Mapping[str, object]) -> str | None:
    """What to call a part that is no text."""
    hints = [kind, *(str(key) for key in part)] if not kind else [kind]
    for key in ("modality", "mime_type", "mimeType", "media_type", "mediaType", "format"):
        if isinstance(hint := part.get(key), str):
            hints.insert(0, hint)
    for key in ("inline_data", "file_data", "inlineData", "fileData", "source"):
        if isinstance(inner := part.get(key), Mapping):
            hints[:0] = [
                str(hint) for hint in (first(inner, ("mime_type", "mimeType", "media_type")),) if hint is not None
            ]
    for hint in hints:
        for known in _KINDS:
            if known in hint.lower():
                return "file" if known == "document" else known
    return reading.name(kind) or None


def _blocks(raw: str) -> list[Mapping[str, object]] | None:
    """The parts in a text that is JSON of a list of parts; None for anything else, which the user may have typed."""
    if not raw.startswith("[{") or not raw.rstrip().endswith("}]"):
        return None
    found = loaded(raw)
    if not _is_list(found) or not found:
        return None
    blocks = [part for part in found if isinstance(part, Mapping)]
    if len(blocks) != len(found) or not any(_is_known(part) for part in blocks):
        return None
    return blocks


def _is_known(part: Mapping[str, object]) -> bool:
    kind = _kind(part)
    if kind:
        return kind in _TEXTS | _REQUESTS | _RESULTS | _THOUGHTS or any(known in kind for known in _KINDS)
    return len(part) == 1 and ("text" in part or any(key in part for key in (*_WRAPPED, *_KINDS)))


def _joined(read: list[Message], raw: Sequence[object]) -> list[Message]:
    """Calls and results that the Responses API lists one by one belong to one message each."""
    if all(isinstance(item, Mapping) and item.get("role") is not None for item in raw):
        return read
    joined: list[Message] = []
    for message in read:
        last = joined[-1] if joined else None
        if last and message.role == "assistant" == last.role and message.text is None and message.requests:
            joined[-1] = replace(last, requests=last.requests + message.requests)
        else:
            joined.append(message)
    return joined


def _listed(raw: object) -> Sequence[object]:
    if isinstance(raw, str):
        raw = loaded(raw)
    return raw if _is_list(raw) else ()


def _is_list(raw: object) -> TypeGuard[Sequence[object]]:
    return isinstance(raw, Sequence) and not isinstance(raw, str | bytes | bytearray)
