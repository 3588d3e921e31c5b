"""Which model calls make up one turn: one thing that the user said, and the final answer to it.

Calls come in the order in which they began. One goes on with a turn that is there already when it brings the result of
a function that the turn has asked for, when it stands at the same place of the same conversation with the same words
and the turn has no answer yet, or when both are inside one agent. Inside an agent a new turn begins only where the
history shows that the last one was answered and the user has spoken again. What was resent is never told again: turns
are made of answers, and an answer is new.

The turn has the tokens of all calls of the model that answered; another model's are told apart. A call that is seen
twice, by two instrumentations, is one. A failed call answers nothing; the functions that ran before it stay.

A turn can be told when it has an answer and its local root (or the agent around it) has ended, see `foreign`. One that
waits for the result of a function, or for another try, waits until its session is idle. Pure.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final

from mlsdk_otel.translation import framing, functions, history
from mlsdk_otel.translation.facts import ToolResult, Usage
from mlsdk_otel.translation.functions import Function
from mlsdk_otel.translation.history import History
from mlsdk_otel.translation.memory import remember
from mlsdk_otel.translation.turn import (
    Call,
    Owner,
    Run,
    Turn,
    goes_beyond,
    has_nothing_to_wait_for,
    is_beside,
    is_same_moment,
    may_be,
)

MAX_REMEMBERED: Final = 10_000
"""Places, answers, functions and open turns that are remembered; the oldest are forgotten first."""
_MAX_CALLS: Final = 1_000
"""Calls in one turn; it is told then, whatever it waits for."""
_MAX_ALIKE: Final = 100
"""Conversations at one place, likewise."""
_MAX_ASKING: Final = 1_000
"""Open turns that are looked through for one that asked for a function, the latest first."""


class Turns:
    """The turns that are open, and where conversations are."""

    def __init__(self, max_remembered: int = MAX_REMEMBERED) -> None:
        """Knows none."""
        self._max = max_remembered
        self._serial = 0
        self._open: OrderedDict[int, Turn] = OrderedDict()
        self._of_call_id: OrderedDict[str, int] = OrderedDict()
        self._of_unit: OrderedDict[tuple[int, int], int] = OrderedDict()
        self._of_trace: OrderedDict[int, int] = OrderedDict()
        self._of_session: OrderedDict[str, dict[int, None]] = OrderedDict()
        # Where conversations are: by the place after their last answer, and by the id of that answer.
        self._places: OrderedDict[int, list[Owner]] = OrderedDict()
        self._left: OrderedDict[int, Owner] = OrderedDict()  # those that have gone on, the last from each place
        self._answers: OrderedDict[str, Owner] = OrderedDict()
        self._told: OrderedDict[str, tuple[int, int, str | None]] = OrderedDict()  # start, end and text, by answer's id
        self._answered_calls: OrderedDict[str, Owner] = OrderedDict()
        self._of_answer: OrderedDict[str, int] = OrderedDict()
        self._failed: OrderedDict[int, Owner] = OrderedDict()
        self._places_of_asking: OrderedDict[int, None] = OrderedDict()
        self._unanswered: OrderedDict[int, int] = OrderedDict()
        self._given_up: list[Turn] = []
        self.fresh: list[str | int] = []
        """What became known that a call may wait for, see `missing`; whoever looks empties it."""

    @property
    def open_turns(self) -> int:
        """How many turns wait for more."""
        return len(self._open)

    # -- what a call waits for ----------------------------------------------------------------------------------------

    def missing(self, call: Call) -> str | int | None:
        """What a call goes on from that was not seen, and may come: a function's or an answer's id, or a place."""
        past = call.history
        if not call.has_content:
            return None
        unasked = self._unasked(past)
        if unasked is not None:
            return None if self._asked_alike(call) or self._unanswered_there(call) is not None else unasked
        if len(past.said) > 1 and not self._failures_in(past):
            return _failure(past.place, past.said[:-1])
        if call.owner is not None:
            return None
        if call.previous_response_id is not None:
            return None if call.previous_response_id in self._answers else call.previous_response_id
        places = (self._places, self._left)
        is_known = past.place == history.BEGINNING or any(
            past.place in known or past.recent in known for known in places
        )
        return None if is_known or self._silent_before(call) is not None else past.place

    def _unasked(self, past: History) -> str | int | None:
        """A function of the current exchange that no call seen has asked for; where none has an id, all of them."""
        requested = [request.call_id for request in past.requests] or [result.call_id for result in past.results]
        if past.results and not any(requested):
            asking = _asking(past)
            return None if asking in self._places_of_asking else asking
        known = (self._of_call_id, self._answered_calls)
        return next((each for each in requested if each and not any(each in memory for memory in known)), None)

    def _asked_alike(self, call: Call) -> bool:
        """Whether the functions were asked for under other ids: some libraries name request and result differently."""
        if call.previous_response_id in self._answers:
            return True
        turn = self._open.get(self._of_trace.get(call.span[0], -1))
        if turn is None:
            return False
        asked = {function.name for function in turn.functions}
        return any(request.name in asked for request in call.history.requests)

    # -- one by one ---------------------------------------------------------------------------------------------------

    def add(self, call: Call) -> Turn | None:
        """Puts a call into its turn; None for one that another span has told, in whatever trace that was."""
        if self._is_told(call):
            return None
        if call.response_id is not None:
            remember(self._told, call.response_id, (call.start, call.end, call.answer.text), self._max)
        self._renew(call)
        silent = self._silent_before(call)
        if silent is not None and call.history.before is not None:
            silent.text = call.history.before[2]
            self._given_up.append(self._closed(silent))
        turn = self._turn_of(call)
        if turn is None:
            turn = self._begin(call)
        elif turn.is_alone and (owner := self._known_owner(call)) is not None:
            self._move(turn, owner)
        if call.has_failed and turn.has_failed and call.usage == Usage():
            turn.calls.pop()  # tried again and again, it need not be kept again and again
        turn.calls.append(call)
        turn.end = max(turn.end, call.end)
        if not turn.said and call.history.said:
            turn.said, turn.history = self._unfailed(call), call.history
        if call.unit is not None:
            remember(self._of_unit, call.unit, turn.number, self._max)
        remember(self._of_trace, call.span[0], turn.number, self._max)
        self._pair(turn, call)
        self._note_what_is_open(turn, call)
        # The texts are the turn's now; a long one would hold the first of them as often as it has calls.
        call.history = call.history.in_place()
        if call.answer.requests or call.answer.results:
            call.answer = replace(call.answer, requests=(), results=())
        self._note_how_it_ended(turn, call)
        if len(turn.calls) >= _MAX_CALLS:
            self._given_up.append(self._closed(turn))
        return turn

    def _note_what_is_open(self, turn: Turn, call: Call) -> None:
        if not turn.is_answered and call.history.said and not call.has_failed:
            remember(self._unanswered, _moment(call.history.place, call.history.said[-1]), turn.number, self._max)
        if any(request.call_id is None for request in call.answer.requests) or (
            call.answer.is_silent and not call.has_failed
        ):
            asking = _asking(call.history)
            remember(self._places_of_asking, asking, None, self._max)
            self.fresh.append(asking)

    def _note_how_it_ended(self, turn: Turn, call: Call) -> None:
        if call.response_id is not None:
            remember(self._answers, call.response_id, turn.owner, self._max)
            remember(self._of_answer, call.response_id, turn.number, self._max)
            self.fresh.append(call.response_id)
        if call.has_failed:
            failure = _failure(call.history.place, call.history.said)
            remember(self._failed, failure, turn.owner, self._max)
            self.fresh.append(failure)

    def run(self, run: Run) -> Turn | None:
        """Puts a function that ran into its turn; None for one whose turn nobody knows."""
        call_id = run.fact.call_id
        turn = self._open.get(self._of_call_id.get(call_id or "", -1))
        if turn is None and call_id in self._answered_calls:
            return None
        if turn is None:
            number = None if run.unit is None else self._of_unit.get(run.unit)
            number = self._of_trace.get(run.span[0]) if number is None else number
            turn = self._open.get(-1 if number is None else number) or self._asking(run)
        if turn is None:
            turn = self._begin_with(run)
        function = functions.find_asked(turn.functions, run.fact)
        if function is None:
            function = Function(run.fact.name, call_id, run.fact.arguments, run.end)
            turn.functions.append(function)
            self._name(turn, function)
        function.has_run = True
        function.moment = run.end
        function.runtime = max(0, run.end - run.start) // 1_000_000
        function.name = function.name or run.fact.name
        function.arguments = run.fact.arguments if function.arguments is None else function.arguments
        if function.result is None:
            function.result = run.fact.result
        turn.end = max(turn.end, run.end)
        return turn

    def tell(self, unit: tuple[int, int], text: str | None) -> None:
        """The agent around a turn has ended, and told its answer."""
        turn = self._open.get(self._of_unit.get(unit, -1))
        if turn is not None and text:
            turn.text = text
            self._settle_on(turn, {text.strip()})

    def _settle_on(self, turn: Turn, told: Collection[str]) -> None:
        """What was said is what the call was told whose answer came out, not what one beside it was, of a guard say."""
        for call in reversed(turn.calls):
            if not call.has_failed and (call.answer.text or "").strip() in told:
                turn.text = call.answer.text
                if call.history.said and call.history.said[-1:] != turn.said[-1:]:
                    turn.said, turn.history = self._unfailed(call), call.history
                return

    def frame(self, unit: tuple[int, int], given: object, made: object) -> None:
        """The outermost agent or chain around a turn has ended: what it was given, and what came out of it."""
        turn = self._open.get(self._of_unit.get(unit, -1))
        if turn is not None and len(turn.calls) > 1 and turn.text is None and made is not None:
            self._settle_on(turn, framing.texts(made))
        if turn is not None and given is not None and turn.utterance is not None and turn.answer is not None:
            turn.framed = framing.within(turn.utterance, turn.answer, given, made)

    def _turn_of(self, call: Call) -> Turn | None:
        """The open turn that a call goes on with."""
        past = call.history
        named = [result.call_id for result in past.results] + [request.call_id for request in past.requests]
        for call_id in named:
            turn = self._open.get(self._of_call_id.get(call_id or "", -1))
            if turn is not None and may_be(turn, call):
                return turn
        turn = self._open.get(self._of_answer.get(call.previous_response_id or "", -1))
        if turn is not None and not turn.is_answered and (past.results or not past.said):
            return turn
        if call.unit is not None:
            turn = self._open.get(self._of_unit.get(call.unit, -1))
            if turn is not None and not goes_beyond(turn, call):
                return turn
        turn = self._open.get(self._of_trace.get(call.span[0], -1))
        if turn is not None and (is_same_moment(turn, call) or is_beside(turn, call)):
            return turn
        if call.owner is not None:
            for number in self._of_session.get(call.owner.session_id, {}):
                turn = self._open[number]
                if may_be(turn, call) and is_same_moment(turn, call):
                    return turn
        return self._asked_without_ids(call) or self._unanswered_there(call)

    def _unanswered_there(self, call: Call) -> Turn | None:
        """The open turn that waits at the very words of a call, where the library shows no functions, or no ids."""
        past = call.history
        if call.owner is not None or not past.said or call.has_failed:
            return None
        turn = self._open.get(self._unanswered.get(_moment(past.place, past.said[-1]), -1))
        if turn is None or turn.owner.is_joined or turn.is_answered or turn.has_failed:
            return None
        if past.place != history.BEGINNING or past.requests:
            return turn
        # Somebody else may begin with the same words, but then functions would be asked for again.
        has_served = call.answer.text is not None and bool(turn.functions) and past.system == turn.history.system
        return turn if has_served else None

    def _is_told(self, call: Call) -> bool:
        """Whether a call had the answer of another at the same time: what makes answers may use an id again later."""
        known = self._told.get(call.response_id or "")
        if known is None or call.start >= known[1] or call.end <= known[0]:
            return False
        return not call.has_content or call.answer.text == known[2]

    def _renew(self, call: Call) -> None:
        """An exchange that a function answered, as with structured output, is over when the user speaks again."""
        past = call.history
        if not past.later or any(request.call_id is None for request in past.requests):
            return
        asked = [request.call_id or "" for request in past.requests]
        if any(self._of_call_id.get(call_id, -1) in self._open for call_id in asked):
            return
        owner = next((owner for each in asked if (owner := self._answered_calls.get(each)) is not None), None)
        if call.owner is None and owner is not None and call.alone.user_id in (None, owner.user_id):
            call.owner = replace(owner, user_id=call.alone.user_id or owner.user_id)
        call.history = replace(past, said=past.later, later=(), requests=(), results=())

    def _silent_before(self, call: Call) -> Turn | None:
        """The open turn of the exchange before, of whose answer nothing was seen: the history tells it."""
        before = call.history.before
        if before is None or not before[2]:
            return None
        turn = self._open.get(self._unanswered.get(_moment(before[0], before[1]), -1))
        if turn is None or turn.functions or turn.is_answered or turn.has_failed or not may_be(turn, call):
            return None
        return turn

    def _asked_without_ids(self, call: Call) -> Turn | None:
        """The open turn whose functions' results a call brings, where nobody names the calls, as with Google's API."""
        past = call.history
        if call.owner is not None or not past.requests or any(request.call_id for request in past.requests):
            return None
        names = {request.name for request in past.requests}
        for turn in islice(reversed(self._open.values()), _MAX_ASKING):
            asked = {function.name for function in turn.functions if not (function.call_id or function.has_result)}
            is_alike = turn.said[-1:] == past.said[-1:] and turn.history.place == past.place
            if names & asked and is_alike and not turn.owner.is_joined:
                return turn
        return None

    def _begin(self, call: Call) -> Turn:
        owner = self._known_owner(call)
        said = self._unfailed(call)
        turn = Turn(self._serial, owner or call.alone, call.unit, call.history, said, call.start, call.end)
        turn.is_alone = owner is None
        return self._opened(turn)

    def _begin_with(self, run: Run) -> Turn:
        turn = Turn(self._serial, run.owner or run.alone, run.unit, History(), (), run.start, run.end)
        turn.is_alone = run.owner is None
        if run.unit is not None:
            remember(self._of_unit, run.unit, turn.number, self._max)
        remember(self._of_trace, run.span[0], turn.number, self._max)
        return self._opened(turn)

    def _opened(self, turn: Turn) -> Turn:
        self._serial += 1
        self._open[turn.number] = turn
        self._of_session.setdefault(turn.owner.session_id, {})[turn.number] = None
        if len(self._open) > self._max:
            self._given_up.append(self._closed(next(iter(self._open.values()))))
        return turn

    def _move(self, turn: Turn, owner: Owner) -> None:
        """A later call of a turn tells whose it is."""
        self._leave_session(turn)
        turn.owner, turn.is_alone = owner, False
        self._of_session.setdefault(owner.session_id, {})[turn.number] = None
        for call in turn.calls:
            if call.response_id is not None:
                remember(self._answers, call.response_id, owner, self._max)

    def _leave_session(self, turn: Turn) -> None:
        others = self._of_session[turn.owner.session_id]
        del others[turn.number]
        if not others:
            del self._of_session[turn.owner.session_id]

    def _unfailed(self, call: Call) -> tuple[str, ...]:
        """What the user said; of several in a row without those that were answered by a failure."""
        said = call.history.said
        return said[self._failures_in(call.history) :]

    def _failures_in(self, past: History) -> int:
        """How many of the things that the user said have failed before, and stayed in the history."""
        for count in range(len(past.said) - 1, 0, -1):
            if _failure(past.place, past.said[:count]) in self._failed:
                return count
        return 0

    def _known_owner(self, call: Call) -> Owner | None:
        """Whose a call is by its ids, or by what it goes on from."""
        if call.owner is not None:
            return call.owner
        past = call.history
        found = self._answers.get(call.previous_response_id or "")
        if found is None and past.place != history.BEGINNING:
            found = self._going_on(past, call.alone.user_id)
        if found is None and (failures := self._failures_in(past)):
            found = self._failed[_failure(past.place, past.said[:failures])]
        if found is None:
            return None
        return replace(
            found,
            user_id=call.alone.user_id or found.user_id,
            device_id=call.alone.device_id or found.device_id,
        )

    def _going_on(self, past: History, user_id: str | None) -> Owner | None:
        """The conversation that has come to where a history ends; each of several that are alike goes on once."""
        found = self._at(past.place, user_id) or (self._at(past.recent, user_id) if past.recent else None)
        if found is None:
            return None
        for place in filter(None, (past.place, past.recent)):
            owners = self._places.pop(place, [])
            stay = [owner for owner in owners if owner.session_id != found.session_id]
            if stay:
                self._places[place] = stay
            if len(stay) < len(owners):
                remember(self._left, place, found, self._max)
        return found

    def _at(self, place: int, user_id: str | None) -> Owner | None:
        """A conversation that is at a place, or else was; nobody's but this user's, where it is known."""
        owners = self._places.get(place) or [owner for owner in (self._left.get(place),) if owner is not None]
        owners = [owner for owner in owners if user_id is None or owner.user_id in (None, user_id)]
        if len({owner.user_id for owner in owners}) > 1 and user_id is None:
            return None  # two users, and nothing tells which of them
        return min(owners, key=lambda owner: owner.user_id is None, default=None)

    # -- functions ----------------------------------------------------------------------------------------------------

    def _pair(self, turn: Turn, call: Call) -> None:
        past = call.history
        named = {request.call_id for request in past.requests if request.call_id is not None}
        unnamed: list[Function] = [function for function in turn.functions if function.call_id is None]
        for request in past.requests:
            function = functions.by_id(turn.functions, request.call_id)
            if function is None:
                function = functions.find_alike(unnamed if request.call_id is None else turn.functions, request, named)
                if function is None:
                    if request.call_id is not None and request.call_id in self._answered_calls:
                        continue
                    function = Function(request.name, request.call_id, request.arguments, call.start)
                    turn.functions.append(function)
                function.call_id = request.call_id
                self._name(turn, function)
            if function in unnamed:
                unnamed.remove(function)
            function.arguments = request.arguments if function.arguments is None else function.arguments
        self._results(turn, past.results)
        for request in call.answer.requests:
            if request.call_id is None or functions.by_id(turn.functions, request.call_id) is None:
                function = Function(request.name, request.call_id, request.arguments, call.end)
                turn.functions.append(function)
                self._name(turn, function)
        self._results(turn, call.answer.results)

    def _results(self, turn: Turn, results: Sequence[ToolResult]) -> None:
        left = [result for result in results if not self._result(turn, result)]
        if not left:
            return
        # Some libraries name request and result differently; results come in the order of the requests.
        waiting = [function for function in turn.functions if not function.has_result]
        if len(waiting) == len(left) and not any(result.call_id in self._answered_calls for result in left):
            for function, result in zip(waiting, left, strict=True):
                functions.give(function, result)

    @staticmethod
    def _result(turn: Turn, result: ToolResult) -> bool:
        """Gives a function its result; False if there is none that it belongs to."""
        function = functions.by_id(turn.functions, result.call_id)
        if function is None:
            waiting = [function for function in turn.functions if not function.has_result]
            named = [function for function in waiting if result.name is not None and function.name == result.name]
            without = [function for function in waiting if result.call_id is None or function.call_id is None]
            function = next(iter(named or without), None)
        if function is not None and not function.has_result:
            functions.give(function, result)
        return function is not None

    def _name(self, turn: Turn, function: Function) -> None:
        if function.call_id is not None:
            remember(self._of_call_id, function.call_id, turn.number, self._max)
            self.fresh.append(function.call_id)

    def _asking(self, run: Run) -> Turn | None:
        """The open turn of the same session that has asked for a function without naming the call."""
        if run.fact.call_id is not None or run.owner is None:
            return None
        for number in self._of_session.get(run.owner.session_id, {}):
            turn = self._open[number]
            if any(function.name == run.fact.name and not function.has_run for function in turn.functions):
                return turn
        return None

    # -- what is known to be complete ---------------------------------------------------------------------------------

    def finish(self, numbers: Iterable[int], *, is_last: bool = False) -> Iterator[Turn]:
        """Those of some turns that need not wait any longer.

        Args:
            numbers: Turns, by number.
            is_last: Nothing more will come for any of them.
        """
        for number in sorted(numbers):
            turn = self._open.get(number)
            if turn is not None and (is_last or turn.is_answered or has_nothing_to_wait_for(turn)):
                yield self._closed(turn)

    def overflow(self) -> list[Turn]:
        """Those that were given up because there were too many."""
        found, self._given_up = self._given_up, []
        return found

    def of_session(self, session_id: str) -> list[int]:
        """The open turns of a session."""
        return list(self._of_session.get(session_id, ()))

    def all_open(self) -> list[int]:
        """The open turns."""
        return list(self._open)

    def _closed(self, turn: Turn) -> Turn:
        del self._open[turn.number]
        self._leave_session(turn)
        for function in turn.functions:
            if function.call_id is not None:
                remember(self._answered_calls, function.call_id, turn.owner, self._max)
        answering = turn.answering
        if answering is not None and turn.said:
            if answering.history.said[-1:] == turn.said[-1:]:
                turn.history = answering.history  # a guard is told less of what was before
            self._arrive(turn, turn.said[-1], answering.answer.text or turn.text or "")
            if turn.framed is not None:
                # Which of them is sent again is the application's choice.
                self._arrive(turn, turn.framed[0], answering.answer.text or "")
                if turn.framed[1] != answering.answer.text:
                    self._arrive(turn, *turn.framed)
        return turn

    def _arrive(self, turn: Turn, said: str, answer: str) -> None:
        """The conversation of a turn is at the place after it."""
        past = turn.history
        done = history.exchange(said, answer)
        for place in filter(None, (history.after(past.place, done), history.both(past.last, done))):
            owners = self._places.get(place, [])
            if turn.owner.session_id not in [owner.session_id for owner in owners]:
                owners = [*owners, turn.owner][-_MAX_ALIKE:]
            remember(self._places, place, owners, self._max)
            self.fresh.append(place)

    def sizes(self) -> Sequence[int]:
        """How many of each kind of thing are held."""
        held = (
            self._open,
            self._of_call_id,
            self._of_unit,
            self._of_trace,
            self._places,
            self._left,
            self._answers,
            self._told,
            self._answered_calls,
            self._of_answer,
            self._failed,
            self._places_of_asking,
            self._unanswered,
        )
        return [len(memory) for memory in held]


def _asking(past: History) -> int:
    """Stands for functions that were asked for at a place, of which no call has an id."""
    return hash(("asked", past.place, past.said))


def _moment(place: int, said: str) -> int:
    """Stands for words at a place."""
    return hash(("said", place, said.strip()))


def _failure(place: int, said: tuple[str, ...]) -> int:
    """Stands for words that had no answer at a place."""
    return hash(("failed", place, said))
