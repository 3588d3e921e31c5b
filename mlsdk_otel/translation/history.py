"""What the messages of one model call say of the conversation so far: where in it the call stands, and what is new.

A place in a conversation is a number that stands for all exchanges before it, each an utterance and the final answer
to it. The system prompt and tool calls are left out: libraries write them in too many ways. A call with the place that
another call's answer led to goes on from there, whatever trace it is in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from mlsdk_otel.translation.facts import Message, ToolRequest, ToolResult

BEGINNING: Final = 0
"""The place before the first exchange."""


@dataclass(frozen=True, slots=True)
class History:
    """The input of a model call, in short.

    Attributes:
        place: Stands for the exchanges before the current one.
        last: Stands for the last of them; 0 if there is none.
        recent: Stands for the last two, for an application that leaves out older ones; 0 if there are fewer.
        said: What the user said in the current exchange, oldest first; several when one had no answer.
        requests: The functions that were asked for in the current exchange.
        results: What they gave back.
        system: Stands for the system prompt.
        later: What the user said after the last function of the current exchange: something new, if that was answered.
        before: The place before the last exchange, and that: what was said, and the answer.
    """

    place: int = BEGINNING
    last: int = 0
    recent: int = 0
    said: tuple[str, ...] = ()
    requests: tuple[ToolRequest, ...] = ()
    results: tuple[ToolResult, ...] = ()
    system: int = 0
    later: tuple[str, ...] = ()
    before: tuple[int, str, str] | None = None

    @property
    def is_alone(self) -> bool:
        """Whether it begins something, as far as the messages tell."""
        return self.place == BEGINNING and len(self.said) < 2 and not self.requests and not self.results

    def in_place(self) -> History:
        """The same without the texts that its turn has taken over; where it stands is left."""
        if not (self.requests or self.results or self.later or self.before):
            return self
        return replace(self, requests=(), results=(), later=(), before=None)


@dataclass(frozen=True, slots=True)
class Answer:
    """The output of a model call.

    Attributes:
        text: The final answer; None where functions are asked for first, or nothing was said.
        aside: What was said beside a request for functions.
        requests: The functions asked for.
        results: Of functions that the service runs itself.
    """

    text: str | None = None
    aside: str | None = None
    requests: tuple[ToolRequest, ...] = ()
    results: tuple[ToolResult, ...] = ()

    @property
    def is_silent(self) -> bool:
        """Whether nothing was seen of it."""
        return self.text is None and self.aside is None and not self.requests


def exchange(utterance: str, answer: str) -> int:
    """Stands for an exchange."""
    return hash((utterance.strip(), answer.strip()))


def after(place: int, done: int) -> int:
    """The place after an exchange."""
    return hash((place, done))


def both(last: int, done: int) -> int:
    """Stands for two exchanges in a row."""
    return hash(("both", last, done)) if last else 0


def read(messages: Sequence[Message]) -> History:
    """Finds the place and what is new in the messages that a model was sent."""
    place, last, recent, system = BEGINNING, 0, 0, 0
    before: tuple[int, str, str] | None = None
    said: list[str] = []
    current: list[Message] = []
    final: str | None = None
    for message in messages:
        if message.role == "system":
            system = hash((system, message.text))
            continue
        if message.role == "user":
            if final is not None:
                before = (place, said[-1] if said else "", final)
                done = exchange(*before[1:])
                place, recent, last = after(place, done), both(last, done), done
                said, current, final = [], [], None
            if message.text is not None and not _has_asked(current):
                said.append(message.text)
        elif message.role != "assistant" or message.requests:
            final = None  # an answer comes after the results of functions
        elif message.text is not None:
            final = message.text
        current.append(message)
    if not said:
        said = [message.text for message in current if message.role == "user" and message.text is not None]
    requests = tuple(request for message in current for request in message.requests)
    return History(
        place=place,
        last=last,
        recent=recent,
        said=tuple(said),
        requests=requests,
        results=_results(current, requests),
        system=system,
        later=_later(current),
        before=before,
    )


def _results(current: Sequence[Message], requests: Sequence[ToolRequest]) -> tuple[ToolResult, ...]:
    """What functions gave back; where no result has an id, they are in the order of the requests."""
    found = tuple(result for message in current for result in message.results)
    if len(found) != len(requests) or any(result.call_id or result.name for result in found):
        return found
    return tuple(replace(result, call_id=each.call_id) for result, each in zip(found, requests, strict=True))


def _later(current: Sequence[Message]) -> tuple[str, ...]:
    found: list[str] | None = None
    for message in current:
        if message.requests or message.results:
            found = []
        if found is not None and message.role == "user" and message.text is not None:
            found.append(message.text)
    return tuple(found or ())


def _has_asked(current: Sequence[Message]) -> bool:
    return any(message.role != "user" for message in current)


def answer(messages: Sequence[Message]) -> Answer:
    """What a model gave back; of several choices the first counts."""
    requests = tuple(request for message in messages for request in message.requests)
    results = tuple(result for message in messages for result in message.results)
    texts = [message.text for message in messages if message.role == "assistant" and (message.text or "").strip()]
    served = {result.call_id for result in results}
    if any(request.call_id not in served for request in requests):
        return Answer(aside=texts[0] if texts else None, requests=requests, results=results)
    text = (texts[-1] if requests else texts[0]) if texts else None
    return Answer(text=text, requests=requests, results=results)
