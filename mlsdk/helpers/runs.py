"""Which runs of a framework belong together, and what to record when.

LangChain tells its handlers of runs: of chains, models and functions, each with an id and the id of the run around it.
The outermost run that we are told of is one turn: what the user said goes in, the answer comes out, and what its models
took is added up. A handler that is put on a model alone is told of the model's runs only; then each of them is the
outermost, and one that asks for functions is not the end of a turn: what it took waits for the run that answers.

All state is kept by run, none by user or session, so parallel runs do not meet. Pure: no clock, lock or I/O.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from mlsdk.helpers import turns
from mlsdk.helpers.turns import Call, Found, Turn, Usage

LIMIT: Final = 10_000
"""Runs, and calls that wait, at most. More than that do not run at a time: they are those that never ended."""

RunId = Hashable
K = TypeVar("K")
T = TypeVar("T")


@dataclass(slots=True)
class _Model:
    """One run of a model."""

    recent: Sequence[object]
    name: str | None = None
    said: list[str] = field(default_factory=list)
    text: str | None = None
    requests: tuple[Call, ...] = ()
    usage: Usage | None = None
    has_failed: bool = False
    is_partial: bool = False

    def fail(self) -> None:
        """There is no more than what a stream brought, if it was one."""
        self.text = max("".join(self.said), self.text or "", key=len) or None
        self.has_failed, self.is_partial = True, self.text is not None


@dataclass(slots=True)
class _Turn:
    """The outermost run, and what happened in it."""

    turn_id: str
    utterance: str | None = None
    models: list[_Model] = field(default_factory=list)
    open: set[RunId] = field(default_factory=set)
    is_asked: bool = False
    is_over: bool = False
    is_told: bool = False
    outputs: object = None
    has_failed: bool = False
    was_left: bool = False


@dataclass(slots=True)
class _Run:
    turn: _Turn
    is_outermost: bool
    model: _Model | None = None
    call: Call | None = None
    started: float = 0.0


class Runs:
    """The runs that are going on."""

    def __init__(self, *, limit: int = LIMIT) -> None:
        """Makes an empty record; `limit` bounds it."""
        self._limit = limit
        self._open: OrderedDict[RunId, _Run] = OrderedDict()
        # What models took that asked for functions, by the id of the first call: due on the turn that goes on from it.
        self._waiting: OrderedDict[str, tuple[Usage, ...]] = OrderedDict()
        # Calls that were recorded when they ran, and will be seen once more in the history of the answer; how often,
        # since some models give the same ids again and again.
        self._recorded: OrderedDict[str, int] = OrderedDict()

    def __len__(self) -> int:
        """How many runs are going on."""
        return len(self._open)

    # -- starts -------------------------------------------------------------------------------------------------------

    def chain_started(self, run_id: RunId, parent: RunId | None, inputs: object = None) -> None:
        """A chain, an agent, a retriever or anything else that is around others."""
        run = self._start(run_id, parent)
        if run is not None and run.is_outermost:
            run.turn.utterance = turns.utterance_in(inputs) or None  # a stream's input comes later, at the end
            run.turn.is_asked = turns.is_asked(inputs)

    def model_started(
        self, run_id: RunId, parent: RunId | None, messages: Sequence[object], *, name: str | None = None
    ) -> None:
        """A model gets these messages; `name` is its name where the answer does not tell."""
        run = self._start(run_id, parent)
        if run is not None:
            run.model = _Model(recent=turns.since_user(messages), name=name)
            run.turn.models.append(run.model)

    def tool_started(self, run_id: RunId, parent: RunId | None, call: Call, *, at: float) -> None:
        """A function gets its arguments; `at` in seconds of any clock."""
        run = self._start(run_id, parent)
        if run is not None:
            run.call, run.started = call, at

    def _start(self, run_id: RunId, parent: RunId | None) -> _Run | None:
        if run_id in self._open:
            return None  # told twice: the handler is on the model and on the chain
        around = self._open.get(parent) if parent is not None else None
        run = _Run(turn=_Turn(turn_id=str(run_id)) if around is None else around.turn, is_outermost=around is None)
        self._open[run_id] = run
        run.turn.open.add(run_id)
        for lost_id, lost in _trim(self._open, self._limit):
            lost.turn.open.discard(lost_id)
        return run

    def _end(self, run_id: RunId) -> _Run | None:
        run = self._open.pop(run_id, None)
        if run is not None:
            run.turn.open.discard(run_id)
        return run

    def model_said(self, run_id: RunId, text: str) -> None:
        """A model's stream brought a piece of the answer."""
        run = self._open.get(run_id)
        if run is not None and run.model is not None and text:
            run.model.said.append(text)

    # -- ends ---------------------------------------------------------------------------------------------------------

    def model_ended(
        self,
        run_id: RunId,
        *,
        text: str | None,
        requests: Sequence[Call] = (),
        usage: Usage | None = None,
        has_failed: bool = False,
    ) -> list[Found]:
        """A model has answered, or failed.

        Args:
            run_id: Its run.
            text: What it said; of a failed one, what is known of that.
            requests: Functions that it asks for.
            usage: What it took.
            has_failed: There is no whole answer; the pieces that a stream brought before are the beginning of one.
        """
        run = self._end(run_id)
        if run is None or run.model is None:
            return []
        model, turn = run.model, run.turn
        if usage is not None and usage.model is None:
            usage = turns.usage_from(usage.prompt_tokens, usage.completion_tokens, model.name)
        model.text, model.requests, model.usage = text or None, tuple(requests), usage
        if has_failed:
            model.fail()
        if run.is_outermost:
            turn.is_over, turn.has_failed = True, has_failed
        return self._close(turn)

    def tool_ended(
        self, run_id: RunId, *, result: str | None, call_id: str | None = None, at: float, has_failed: bool = False
    ) -> list[Found]:
        """A function has ended; `result` is what it gave back, or why it failed."""
        run = self._end(run_id)
        if run is None or run.call is None:
            return []
        call = replace(
            run.call,
            call_id=run.call.call_id or call_id,
            result=result,
            runtime=max(0, round((at - run.started) * 1000)),
            has_failed=has_failed,
        )
        if call.call_id is not None:
            self._recorded[call.call_id] = self._recorded.get(call.call_id, 0) + 1
            _trim(self._recorded, self._limit)
        return [Found(turn_id=run.turn.turn_id, calls=(call,))]

    def chain_ended(
        self,
        run_id: RunId,
        outputs: object = None,
        *,
        inputs: object = None,
        has_failed: bool = False,
        was_left: bool = False,
    ) -> list[Found]:
        """A chain has ended; if it is the outermost run, so has the turn.

        Args:
            run_id: Its run.
            outputs: What came out.
            inputs: What went in, where that was not known at its start.
            has_failed: It raised.
            was_left: Nobody wanted the rest: a stream was closed, or a task cancelled.
        """
        run = self._end(run_id)
        if run is None or not run.is_outermost:
            return []
        turn = run.turn
        if turn.utterance is None:
            turn.utterance = turns.utterance_in(inputs) or None
        turn.is_over, turn.outputs, turn.has_failed, turn.was_left = True, outputs, has_failed, was_left
        if has_failed or was_left:
            self._drop(turn)
        return self._close(turn)

    def _drop(self, turn: _Turn) -> None:
        """Ends what is still going on in a turn: whoever cancels an agent is not told of its models' ends."""
        for run_id in list(turn.open):
            run = self._end(run_id)
            if run is not None and run.model is not None:
                run.model.fail()

    def forget(self, run_id: RunId) -> None:
        """A run is interrupted and will be started again from its beginning."""
        self._end(run_id)

    def _close(self, turn: _Turn) -> list[Found]:
        """Says what a turn came to, once it is over and with it all its models: a stream's end can come late."""
        if not turn.is_over or any(self._is_model(run_id) for run_id in turn.open):
            return []
        if not turn.models:
            return self._from_outputs(turn)
        models, turn.models = turn.models, []
        taken = [model.usage for model in models if model.usage is not None]
        answer, is_partial = _answer(turn, models)
        answering = _answering(models, answer)
        user = turn.utterance
        if user is None and answering.recent:
            user = turns.text_of(answering.recent[0])
        waited = self._waited(models)
        if answer is not None and user is not None and not turn.is_told:
            turn.is_told = True
            own, others = turns.add_up([*waited, *taken], model=answering.usage.model if answering.usage else None)
            found = Turn(user=user, assistant=answer, usage=own, is_partial=is_partial)
            return [
                Found(
                    turn_id=turn.turn_id,
                    turn=found,
                    calls=self._unrecorded(turns.finished_calls(answering.recent)),
                    usage=others,
                ),
                *self._overdue(),
            ]
        asked = next((request.call_id for request in models[-1].requests if request.call_id), None)
        if asked is not None and not turn.has_failed and not turn.was_left:
            self._waiting[asked] = (*self._waiting.get(asked, ()), *waited, *taken)
            return self._overdue()
        _, others = turns.add_up([*waited, *taken], model=None)
        return [each for each in [Found(turn_id=turn.turn_id, usage=others), *self._overdue()] if each]

    def _from_outputs(self, turn: _Turn) -> list[Found]:
        """What the output itself tells, where no model was seen.

        Before Python 3.11 LangChain's agent does not hand the handlers of an asynchronous call on to its model. The
        input has to end with the user's words: who only passes an old conversation on answers nothing.
        """
        messages = turns.messages_in(turn.outputs)
        if messages is None or not turn.is_asked or turn.is_told:
            return []
        turn.is_told = True
        structured = turns.structured_in(turn.outputs)
        found = turns.turn_in(messages, turn_id=turn.turn_id, structured=structured, is_over=True)
        if found is None:
            return []
        return [replace(found, calls=self._unrecorded(found.calls))]

    def _is_model(self, run_id: RunId) -> bool:
        run = self._open.get(run_id)
        return run is not None and run.model is not None

    def _waited(self, models: Sequence[_Model]) -> list[Usage]:
        """What was taken before this run in the same turn."""
        found: list[Usage] = []
        for model in models:
            for message in model.recent:
                for request in turns.requests_of(message):
                    if request.call_id is not None:
                        found += self._waiting.pop(request.call_id, ())
        return found

    def _unrecorded(self, calls: Iterable[Call]) -> tuple[Call, ...]:
        """The function calls of a history that nobody told us of when they ran."""
        found = []
        for call in calls:
            times = self._recorded.pop(call.call_id, 0) if call.call_id is not None else 0
            if times == 0:
                found.append(call)
            elif times > 1 and call.call_id is not None:
                self._recorded[call.call_id] = times - 1
        return tuple(found)

    def _overdue(self) -> list[Found]:
        """What waited for an answer that will hardly come."""
        return [
            Found(turn_id=call_id, usage=turns.add_up(usages, model=None)[1])
            for call_id, usages in _trim(self._waiting, self._limit)
        ]


def _answer(turn: _Turn, models: Sequence[_Model]) -> tuple[str | None, bool]:
    """What the user got to see, and whether it is only the beginning."""
    last = models[-1]
    if turn.has_failed:
        return (last.text, True) if last.is_partial else (None, False)
    if turn.was_left:
        return (None, False) if last.requests else (last.text, last.is_partial)
    told = turns.answer_in(turn.outputs)
    if told.text is not None or (told.is_known and turn.outputs is not None):
        return told.text, last.is_partial
    spoken = next((model for model in reversed(models) if model.text and not model.requests), None)
    if spoken is not None:
        return spoken.text, spoken.is_partial
    asked_for_data = turn.outputs is not None and last.requests
    # The data came as the arguments of a function that nobody means to call.
    return (last.requests[-1].args, False) if asked_for_data else (None, False)


def _answering(models: Sequence[_Model], answer: str | None) -> _Model:
    """The model whose answer it is: the latest that said this, else the latest that said anything."""
    whole = [model for model in models if not model.has_failed or model.is_partial] or models
    return next((model for model in reversed(whole) if model.text and model.text == answer), whole[-1])


def _trim(kept: OrderedDict[K, T], limit: int) -> list[tuple[K, T]]:
    """Takes out what is too much, the oldest first."""
    return [kept.popitem(last=False) for _ in range(len(kept) - limit)]
