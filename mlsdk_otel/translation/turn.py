"""One turn in the making: its calls and functions, what they make of it, and whether a call may belong to it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from mlsdk_otel.translation import history
from mlsdk_otel.translation.facts import ToolRun, Usage
from mlsdk_otel.translation.functions import Function
from mlsdk_otel.translation.history import Answer, History


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a turn is.

    Attributes:
        is_joined: The session's id came from outside: it is not this process's to start or end.
    """

    session_id: str
    conversation_id: str
    user_id: str | None = None
    device_id: str | None = None
    is_joined: bool = False


@dataclass(slots=True)
class Step:
    """What a span tells of a turn: a call of a model, or the run of a function.

    Attributes:
        span: Trace and span.
        unit: The outermost agent or chain around it, if there is one.
        owner: Whose it is, where ids say so.
        alone: Whose it is if nothing connects it with anything.
        start: Nanoseconds since 1970, as `end`.
    """

    span: tuple[int, int]
    unit: tuple[int, int] | None
    owner: Owner | None
    alone: Owner
    start: int
    end: int


@dataclass(slots=True)
class Call(Step):
    """One call of a model."""

    history: History
    answer: Answer
    request_model: str | None
    response_model: str | None
    usage: Usage
    response_id: str | None
    previous_response_id: str | None
    has_failed: bool
    is_partial: bool
    has_content: bool


@dataclass(slots=True)
class Run(Step):
    """A function that ran, as its own span tells it."""

    fact: ToolRun


@dataclass(slots=True)
class Turn:
    """A turn in the making.

    Attributes:
        said: What the user said.
        end: The end of its last call or function, nanoseconds since 1970.
        is_alone: Nothing tells whose it is.
    """

    number: int
    owner: Owner
    unit: tuple[int, int] | None
    history: History
    said: tuple[str, ...]
    start: int
    end: int
    calls: list[Call] = field(default_factory=list)
    functions: list[Function] = field(default_factory=list)
    text: str | None = None
    """The answer that the agent around it told."""
    framed: tuple[str, str] | None = None
    """What was said and answered, where the model's texts have more around it."""
    is_alone: bool = False

    @property
    def utterance(self) -> str | None:
        """What the user said, as one text."""
        if self.framed is not None:
            return self.framed[0]
        return "\n\n".join(text.strip() for text in self.said) if self.said else None

    @property
    def answering(self) -> Call | None:
        """The call that answered, if one has."""
        if len(self.calls) == 1 and self.calls[0].answer.text is not None and not self.calls[0].has_failed:
            return self.calls[0]  # nearly always
        able = [call for call in self.calls if call.answer.text is not None and not call.has_failed]
        if not able:
            # An answer that is the argument of a function, as structured output is: the agent tells it.
            return self.calls[-1] if self.text and self.calls and not self.has_failed else None
        told = (self.text or "").strip()
        last = [call for call in able if told and (call.answer.text or "").strip() == told]
        # A call beside the answer, of a guardrail say, is about other words than the user's.
        last = last or [call for call in able if call.history.said[-1:] == self.said[-1:]] or able
        # Nor is one that was not told what had been said before.
        return next((call for call in reversed(last) if call.history.place != history.BEGINNING), last[-1])

    @property
    def answer(self) -> str | None:
        """What was answered."""
        if self.framed is not None:
            return self.framed[1]
        answering = self.answering
        return None if answering is None else answering.answer.text or self.text

    @property
    def is_answered(self) -> bool:
        """Whether there is nothing to wait for but other calls of the same agent."""
        return bool(self.said) and self.answering is not None

    @property
    def has_failed(self) -> bool:
        """Whether its last call has."""
        return bool(self.calls) and self.calls[-1].has_failed


def may_be(turn: Turn, call: Call) -> bool:
    """Whether the ids do not speak against it."""
    return call.owner is None or call.owner.session_id == turn.owner.session_id or not turn.owner.is_joined


def goes_beyond(turn: Turn, call: Call) -> bool:
    """Whether the user has spoken again since a turn was answered."""
    answering = turn.answering
    if answering is None or not call.history.said or not turn.said:
        return False
    done = history.exchange(turn.said[-1], answering.answer.text or "")
    past = call.history
    if call.start < answering.end:
        return False  # it cannot know that answer
    if past.place != history.BEGINNING:
        return past.place == history.after(turn.history.place, done) or past.last == done
    return call.previous_response_id is not None and call.previous_response_id == answering.response_id


def is_same_moment(turn: Turn, call: Call) -> bool:
    """Whether a call of the same trace or session says the same words at the same place, or brings nothing new."""
    past = call.history
    if not past.said:
        return not call.has_content and not turn.calls  # only functions have been seen
    if past.said[-1:] != turn.said[-1:] or past.place != turn.history.place:
        return False
    if call.previous_response_id != turn.calls[0].previous_response_id:
        return False
    if not turn.is_answered:
        return True
    # Tried again, or sent on by a router; without history it may as well be said again.
    return past.place != history.BEGINNING or past.system != turn.history.system


def is_beside(turn: Turn, call: Call) -> bool:
    """Whether a call of the same trace is told the same words as a turn with another prompt, one of them without what
    was said before: a guard, or a router."""
    past = call.history
    if not past.said or past.said[-1:] != turn.said[-1:] or past.system == turn.history.system:
        return False
    is_bare = history.BEGINNING in (past.place, turn.history.place)
    return is_bare and not past.requests and not goes_beyond(turn, call)


def has_nothing_to_wait_for(turn: Turn) -> bool:
    """Whether nobody can make a turn of it: nothing was captured, it has only failed, or only functions were seen."""
    if any(call.has_content for call in turn.calls):
        # Not even a usage: a failure, or a stream that another span will tell of; a history may tell what was said.
        is_empty = not turn.functions and all(call.usage == Usage() for call in turn.calls)
        return is_empty and (turn.has_failed or not turn.said)
    return not any(function.call_id and not function.is_known_to_have_run for function in turn.functions)
