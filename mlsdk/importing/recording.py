"""Records imported sessions through the SDK, never more at a time than its bounded queue can hold."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from mlsdk.client import Client
from mlsdk.importing.rows import Turn

AT_ONCE: Final = 16
"""Sessions side by side: with each at most `FLUSH_TURNS` turns ahead, far below the queue's 10,000 events."""
FLUSH_TURNS: Final = 100
FLUSH_CHARACTERS: Final = 256 * 1024


async def record(
    client: Client, sessions: Iterable[Sequence[Turn]], *, on_turns: Callable[[int], object] = lambda count: None
) -> list[str]:
    """Records the sessions, each turn at its own time, and returns when they are delivered or refused.

    Args:
        client: Best with a long `flush_timeout`: an outage is sat out.
        sessions: The turns of each, in order of time.
        on_turns: Called with the number of turns that were settled since the last call.

    Returns:
        What the service or the client had against it.
    """
    problems: dict[str, None] = {}
    rest = iter(sessions)

    async def work() -> None:
        for turns in rest:
            for told in await _record_one(client, turns, on_turns):
                problems[told] = None

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return list(problems)


async def _record_one(client: Client, turns: Sequence[Turn], on_turns: Callable[[int], object]) -> list[str]:
    first = turns[0]
    last_of = {turn.conversation_id: turn.line for turn in turns}
    session = client.create_session(id=first.user_id, device_id=first.device_id)
    await session.start_session(session_id=first.session_id, timestamp=first.timestamp)
    waiting = size = 0
    started = set()
    for turn in turns:
        session.id, session.device_id = turn.user_id or session.id, turn.device_id or session.device_id
        if turn.conversation_id not in started:
            started.add(turn.conversation_id)
            await session.start_conversation(conversation_id=turn.conversation_id, timestamp=turn.timestamp)
        await session.track_conversation_turn(
            user=turn.user,
            assistant=turn.assistant,
            timestamp=turn.timestamp,
            conversation_id=turn.conversation_id,
            assistant_id=turn.assistant_id,
            usage=turn.usage,
            properties=turn.properties,
        )
        if last_of[turn.conversation_id] == turn.line:
            await session.end_conversation(conversation_id=turn.conversation_id, timestamp=turn.timestamp)
        waiting += 1
        size += len(turn.user) + len(turn.assistant)
        if waiting == FLUSH_TURNS or size >= FLUSH_CHARACTERS:
            await session.flush()
            on_turns(waiting)
            waiting = size = 0
    await session.end_session(timestamp=turns[-1].timestamp)
    on_turns(waiting)
    return [f"{error.status}: {error.message}" for error in session.get_errors()]
