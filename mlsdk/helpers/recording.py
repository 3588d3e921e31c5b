"""Writes what a helper found into a session, and never fails the application that it watches."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from mlsdk.logs import logger_for
from mlsdk.waiting import run_blocking

if TYPE_CHECKING:
    import mlsdk.sync
    from mlsdk.helpers.turns import Found, Usage
    from mlsdk.session import Session

logger = logger_for(__name__)


class Recorder:
    """Records into a session, with or without `await`: recording never waits, so either works from anywhere."""

    def __init__(self, *, conversation_id: str | None = None, assistant_id: str | None = None) -> None:
        """Takes what each event shall carry; see `Session.track_conversation_turn`."""
        self._conversation_id = conversation_id
        self._assistant_id = assistant_id
        self._has_warned = False

    def record(self, session: Session | mlsdk.sync.Session, found: Found) -> None:
        """Records function calls, then the turn, then what other models took. Refusals are logged, once aloud."""
        about = {"turn_id": found.turn_id}
        for call in found.calls:
            self._track(
                session,
                "track_function_call",
                name=call.name,
                args=call.args,
                result=call.result,
                runtime=call.runtime,
                properties={**about, "failed": True} if call.has_failed else about,
            )
        if found.turn is not None:
            self._track(
                session,
                "track_conversation_turn",
                user=found.turn.user,
                assistant=found.turn.assistant,
                assistant_id=self._assistant_id,
                usage=_cost(found.turn.usage),
                properties={**about, "partial": True} if found.turn.is_partial else about,
            )
        for usage in found.usage:
            if (cost := _cost(usage)) is not None:
                self._track(session, "track_conversation_usage", cost=cost)

    def _track(self, session: Session | mlsdk.sync.Session, method: str, **arguments: Any) -> None:
        try:
            work = getattr(session, method)(conversation_id=self._conversation_id, **arguments)
            if work is not None:
                run_blocking(work)
        except Exception as problem:  # whatever it is, the model's answer goes to the user
            level = logging.DEBUG if self._has_warned else logging.WARNING
            self._has_warned = True
            logger.log(level, "%s: not recorded: %s: %s", method, type(problem).__name__, problem)


def _cost(usage: Usage | None) -> dict[str, str | int] | None:
    """Usage as a session takes it; None where no model is known, since then nobody can tell the price."""
    if usage is None or usage.model is None:
        return None
    return {
        "model": usage.model,
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
    }
