"""Who answers where no script does: Eliza, of 1966, and a plain rule for functions. No model, no network, no chance.

The same history is answered the same way each time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, Final

from model_stand_in.dialogue import Failure, Question, Reply, Tool, ToolCall

_FAILURE: Final = re.compile(r"\bfail\b.*\b([45]\d\d)\b", re.IGNORECASE)
_NAME_PARTS: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_PLACE: Final = re.compile(r"\b(?:in|at|for|of|to)\s+(?:the\s+)?([\w'-]+(?:\s+[A-Z][\w'-]+)*)")
_ANOTHER: Final = re.compile(r"\s*(?:,|\band\b|\bor\b)\s*([A-Z][\w'-]+(?:\s+[A-Z][\w'-]+)*)")
_NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?")
_SHORTEST: Final = 4
"""Letters of a word that tells which function is meant; shorter ones (`get`, `the`) are everywhere."""
_ROUNDS: Final = 12
"""More answers than Eliza knows for any one remark."""


def think(question: Question) -> Reply | Failure:
    """Answers by itself.

    "Please fail with 429" fails so. Where functions are offered and a word of a function's name is said, it is called;
    once its results are there, they are the answer. All else is Eliza's.
    """
    if question.results:
        return Reply("I have looked: " + "; ".join(question.results))
    said = question.utterance
    if wanted := _FAILURE.search(said):
        return Failure(int(wanted[1]), "You asked for this error.")
    calls = [call for tool in question.tools for call in _calls(tool, said)]
    if calls:
        return Reply(tool_calls=calls)
    number = sum(message.role == "user" for message in question.messages)
    return Reply(_talker()(said, number))


def _calls(tool: Tool, said: str) -> Iterator[ToolCall]:
    words = {word.lower() for word in re.findall(r"\w+", said)}
    parts = {part.lower() for part in _NAME_PARTS.findall(tool.name)}
    if not any(len(part) >= _SHORTEST and part in words for part in parts):
        return
    properties: Mapping[str, Any] = tool.parameters.get("properties") or {}
    needed = list(tool.parameters.get("required") or properties)
    places = _places(said)
    kinds = [_kind(properties.get(name)) for name in needed]
    # "In Oslo and Rome" is two calls of a function of one place.
    for place in places if kinds == ["string"] else places[:1]:
        yield ToolCall(tool.name, {name: _value(properties.get(name), said, place) for name in needed})


def _places(said: str) -> list[str]:
    found = _PLACE.search(said)
    if found is None:
        capitals = re.findall(r"(?<!^)\b[A-Z][\w'-]+", said)
        return capitals[:1] or [said]
    places, end = [found[1]], found.end()
    while another := _ANOTHER.match(said, end):
        places.append(another[1])
        end = another.end()
    return places


def _kind(schema: object) -> str:
    return str(schema.get("type", "string")) if isinstance(schema, Mapping) and "enum" not in schema else "enum"


def _value(schema: object, said: str, place: str) -> Any:
    """A value that the schema allows, taken from what was said where that has one."""
    schema = schema if isinstance(schema, Mapping) else {}
    if choices := schema.get("enum"):
        return next((choice for choice in choices if str(choice).lower() in said.lower()), choices[0])
    number = _NUMBER.search(said)
    plain = {"integer": int(float(number[0])) if number else 0, "number": float(number[0]) if number else 0.0}
    empty: dict[str, Any] = {**plain, "boolean": True, "array": [], "object": {}, "null": None}
    return empty.get(str(schema.get("type", "string")), place)


@cache
def _talker() -> Callable[[str, int], str]:
    """Eliza where NLTK is installed, else someone who only listens."""
    try:
        from nltk.chat import eliza
        from nltk.chat.util import Chat
    except ImportError:
        return _listen
    # NLTK throws dice among the answers to a remark; here they come in turn.
    elizas = [
        Chat([(pattern, (answers[number % len(answers)],)) for pattern, answers in eliza.pairs], eliza.reflections)
        for number in range(_ROUNDS)
    ]

    def talk(said: str, number: int) -> str:
        return str(elizas[number % _ROUNDS].respond(said.rstrip(" !.")) or "Please go on.")

    return talk


def _listen(said: str, number: int) -> str:
    return f"You said: {said}" if said else "I am listening."
