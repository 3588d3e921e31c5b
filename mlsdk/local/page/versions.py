"""What tells whether a page would look different now. Pure, and as cheap as a count."""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mlsdk.local.state import State

_MINUTE: Final = len("2025-06-01T12:00")


def version_of(state: "State", *, now: str) -> str:
    """Of pages about everything. It changes with the minute too, since the chart goes on."""
    store = state.store
    return f"{store.instance}-{len(store.received)}-{state.problem_count}-{state.user_changes}-{now[:_MINUTE]}"


def session_version(state: "State", session_id: str, project: str | None) -> str:
    """Of the page of one session, known or not."""
    store = state.store
    try:
        count = len(store.session(session_id, project).received)
    except LookupError:
        count = 0
    return f"{store.instance}-{count}-{state.user_changes}"
