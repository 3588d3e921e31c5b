"""A turn that is complete, or given up, as events: its functions, the turn itself, and what other models cost. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mlsdk import events
from mlsdk.events import Common, Event, Value
from mlsdk_otel.translation.functions import Function
from mlsdk_otel.translation.turn import Call, Turn

_WHOLE: Final = 3
"""A model and both counts: the service takes no usage with less."""


@dataclass(frozen=True, slots=True)
class Telling:
    """What there is to tell of a turn.

    Attributes:
        functions: Those that ran, or that an answer waited for, in order; of a turn without an answer that nothing more
            will come for, all.
        answering: The call that answered.
        usage: What the model that answered cost, in all calls of it.
        others: What the other models cost, or without an answer all of them: one for each call.
    """

    turn: Turn
    functions: Sequence[Function]
    answering: Call | None
    usage: dict[str, Value]
    others: Sequence[dict[str, Value]]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing."""
        return not self.functions and self.answering is None and not self.others

    def events(self, who: Common) -> list[Event]:
        """The events, in the order in which things happened.

        Args:
            who: Whose they are.

        Raises:
            InvalidEventError: Something is no value of the wire.
        """
        conversation_id = self.turn.owner.conversation_id
        found: list[Event] = [
            events.function_call(
                who,
                function.moment // 1000,
                conversation_id=conversation_id,
                name=str(function.name),
                args=function.arguments,
                result=function.result,
                runtime=function.runtime,
            )
            for function in self.functions
        ]
        if self.answering is not None:
            found.append(
                events.turn(
                    who,
                    self.answering.end // 1000,
                    conversation_id=conversation_id,
                    user=self.turn.utterance or "",
                    assistant=self.turn.answer or "",
                    usage=self.usage,
                    properties={"partial": True} if self.answering.is_partial else None,
                )
            )
        moment = self.turn.end // 1000
        return found + [events.usage(who, moment, conversation_id=conversation_id, usage=each) for each in self.others]


def telling(turn: Turn, *, with_all: bool = False) -> Telling:
    """What there is to tell of a turn.

    Args:
        turn: The turn.
        with_all: Nothing more will come: functions that were only asked for are told too if there is no answer.
    """
    answering = turn.answering if turn.said else None
    functions = [
        function
        for function in sorted(turn.functions, key=lambda function: function.moment)
        if function.name
        and (
            function.is_known_to_have_run
            or (with_all if answering is None else function.moment <= answering.start)  # it was waited for
        )
    ]
    same: list[Call] = []
    rest: list[Call] = []
    for call in turn.calls:
        (same if answering is not None and _is_same_model(call, answering) else rest).append(call)
    return Telling(
        turn,
        functions,
        answering,
        {} if answering is None else _usage(same, answering),
        [usage for call in rest if len(usage := _usage([call], call)) == _WHOLE],
    )


def _is_same_model(call: Call, other: Call) -> bool:
    own = {call.request_model, call.response_model} - {None}
    theirs = {other.request_model, other.response_model} - {None}
    return not own or not theirs or not own.isdisjoint(theirs)  # who names no model is not known to be another


def _usage(calls: Sequence[Call], answering: Call) -> dict[str, Value]:
    """What calls of one model cost together; what none of them told is left out."""
    found: dict[str, Value] = {}
    models = (call.response_model or call.request_model for call in (answering, *calls))
    model = next((each for each in models if each is not None), None)
    if model is not None:
        found["model"] = model
    for name, field in (("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens")):
        told = [tokens for call in calls if (tokens := getattr(call.usage, field)) is not None]
        if told:
            found[name] = sum(told)
    return found
