"""An application that calls models, as its spans tell: written in a few words, read as what would be sent."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from typing import Any

from mlsdk.events import Event
from mlsdk_otel.translation.facts import (
    Enclosure,
    Identity,
    Message,
    ModelCall,
    Reading,
    ToolRequest,
    ToolResult,
    ToolRun,
    Usage,
)
from mlsdk_otel.translation.foreign import Foreign
from mlsdk_otel.translation.lineage import Link
from mlsdk_otel.translation.spanview import SpanView
from support.spans import at, check_wire


def system(text: str) -> Message:
    return Message("system", text)


def user(text: str) -> Message:
    return Message("user", text)


def bot(text: str | None) -> Message:
    return Message("assistant", text)


def asks(*call_ids: str | None, name: str = "look", arguments: str = '{"a":1}', text: str | None = None) -> Message:
    """The model asks for functions."""
    return Message("assistant", text, tuple(ToolRequest(name, call_id, arguments) for call_id in call_ids))


def gave(call_id: str | None, result: str = "found") -> Message:
    """What a function gave back."""
    return Message("tool", None, (), (ToolResult(call_id, None, result),))


class App:
    """One program; each span lasts from its start for a second, and is told when it is made."""

    def __init__(self, **options: Any) -> None:
        self.foreign = Foreign(**options)
        self.sent: list[Event] = []
        self.now = 0.0
        self._ids = count(1)
        self._moments = count(0)

    def new_id(self) -> int:
        """An id that no span has yet: a parent's, which ends after its children."""
        return next(self._ids)

    def call(
        self,
        *sent: Message,
        answer: Message | str | None = None,
        tokens: tuple[int | None, int | None] = (10, 5),
        model: str = "m",
        identity: Identity | None = None,
        fails: bool = False,
        **place: Any,
    ) -> SpanView:
        """A call of a model; a text as its answer is the final one."""
        said = bot(answer) if isinstance(answer, str) else answer
        fields = {key: place.pop(key) for key in ("response_id", "previous_response_id", "has_content") if key in place}
        fact = ModelCall(
            input=sent,
            output=() if said is None else (said,),
            request_model=model,
            usage=Usage(*tokens),
            has_failed=fails,
            **fields,
        )
        return self.tell(fact, identity, **place)

    def run(
        self, call_id: str | None = None, *, result: str | None = "found", name: str = "look", **place: Any
    ) -> None:
        """A function runs."""
        arguments = place.pop("arguments", None)
        self.tell(ToolRun(name, call_id, arguments, result), place.pop("identity", None), **place)

    def agent(self, span_id: int, answer: str | None = None, *sent: Message, **place: Any) -> None:
        """An agent ends."""
        output = () if answer is None else (bot(answer),)
        fields = {key: place.pop(key) for key in ("model", "usage", "has_failed") if key in place}
        fact = Enclosure(agent="agent", input=sent, output=output, **fields)
        self.tell(fact, place.pop("identity", None), span_id=span_id, **place)

    def tell(
        self,
        fact: ModelCall | ToolRun | Enclosure,
        identity: Identity | None = None,
        *,
        trace: int | None = None,
        below: int | None = None,
        span_id: int | None = None,
        start: float | None = None,
        is_last: bool = True,
        surroundings: dict[str, str] | None = None,
    ) -> SpanView:
        """A span ends."""
        span_id = self.new_id() if span_id is None else span_id
        begin = next(self._moments) if start is None else start
        view = SpanView(
            name="span",
            trace_id=span_id if trace is None else trace,
            span_id=span_id,
            parent_id=below,
            has_remote_parent=False,
            start=at(begin),
            end=at(begin + 1),
            attributes={},
            surroundings=surroundings or {},
        )
        self.sent += self.foreign.feed(view, Reading(fact, identity or Identity()), self.now, is_last=is_last)
        return view

    def root(self, trace: int, span_id: int, attributes: dict[str, Any] | None = None) -> None:
        """A span of no AI library ends that has no parent."""
        self.sent += self.foreign.passed([Link(trace, span_id, None, True, attributes)], self.now)

    def later(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds
        self.sent += self.foreign.expire(self.now)

    def take(self) -> list[str]:
        """What was sent since the last time, in short."""
        check_wire(self.sent)
        found, self.sent = [in_short(event) for event in self.sent], []
        return found

    def close(self) -> list[str]:
        """The program ends; what is sent from the last `take` on."""
        self.sent += self.foreign.close(self.now)
        return self.take()


def in_short(event: Event) -> str:
    """`turn hi -> hello (m 10+5)`, `usage m 10+5`, `look({"a":1}) = found`, `start`, `open`, `close`, `end`."""
    own: Any = event.get("properties", {})
    tokens = f"{own.get('model')} {own.get('prompt_tokens')}+{own.get('completion_tokens')}"
    name = str(event.get("event", event["type"]))
    return {
        "start_session": "start",
        "end_session": "end",
        "Conversation Started": "open",
        "Conversation Ended": "close",
        "Conversation Turn": f"turn {own.get('user')} -> {own.get('assistant')} ({tokens})",
        "Conversation Usage": f"usage {tokens}",
        "Conversation Function": f"{own.get('name')}({own.get('args')}) = {own.get('result')}",
    }[name]


def happened(found: Iterable[str]) -> list[str]:
    """Without starts and ends."""
    return [each for each in found if each not in ("start", "open", "close", "end")]
