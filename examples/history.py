"""Records dialogues of the past through the SDK: fast, and never more than its bounded queue can hold.

The SDK never makes a caller wait, so a program that records faster than the network delivers would fill the queue
(10,000 events, 32 MiB), and what does not fit is dropped. An importer has all the time in the world. So this one waits,
in two places, and the most that can be in the queue follows from that:

- it records `AT_ONCE` sessions side by side, and goes on to the next when one is delivered: `end_session` waits for it;
- within a session it waits (`flush`) after `FLUSH_TURNS` turns or `FLUSH_BYTES` of text.

That is at most 64 x (100 + 4) = 6,656 events, and 64 x 128 KiB = 8 MiB of text, with each session's last turn on top.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Final

from chitchat import Dialogue, Turn, dialogues

from mlsdk import APIResponse, Client, Session

AT_ONCE: Final = 64
FLUSH_TURNS: Final = 100
FLUSH_BYTES: Final = 128 * 1024
PATIENCE: Final = 600.0
"""Seconds to sit out an outage: give it to the client as `flush_timeout`, or the waits end after 30."""
OTHER_EVENTS: Final = 4
"""The events of a session that are not turns: two starts and two ends."""


@dataclass(slots=True)
class Recorded:
    """What was recorded, and what the service or the client had against it."""

    sessions: int = 0
    turns: int = 0
    events: int = 0
    errors: list[APIResponse] = field(default_factory=list)


class StandstillError(Exception):
    """Events are no longer delivered; the import stopped before the queue was full."""


def read(file: Path | None = None) -> list[Dialogue]:
    """The dialogues of the dataset, or of another file like it."""
    source = resources.files("chitchat_dataset") / "dataset.json" if file is None else file
    with source.open(encoding="utf-8") as text:
        return list(dialogues(json.load(text)))


async def record(
    client: Client,
    history: Iterable[Dialogue],
    *,
    at_once: int = AT_ONCE,
    flush_turns: int = FLUSH_TURNS,
    on_turns: Callable[[int], object] = lambda count: None,
) -> Recorded:
    """Records the dialogues, a session each, with their own times; returns when all of it is delivered.

    Args:
        client: Best made with `flush_timeout=PATIENCE`.
        history: The dialogues.
        at_once: Sessions side by side.
        flush_turns: Turns of a session to record before waiting for their delivery.
        on_turns: Called with the number of turns that were delivered since the last call.

    Raises:
        StandstillError: Waiting did not help: the service refuses the key, or does not answer for too long.
    """
    recorded = Recorded()
    most_queued = at_once * (flush_turns + OTHER_EVENTS)
    rest = iter(history)

    async def work() -> None:
        for dialogue in rest:
            session = client.create_session(id=dialogue.user)
            try:
                await _record_one(session, dialogue, flush_turns=flush_turns, on_turns=on_turns)
            finally:
                recorded.errors += session.get_errors()
            recorded.sessions += 1
            recorded.turns += len(dialogue.turns)
            recorded.events += len(dialogue.turns) + OTHER_EVENTS
            # More than this is in the queue only if some wait ended with nothing delivered.
            _check_progress(client, recorded, most_queued=most_queued)

    workers = [asyncio.ensure_future(work()) for _ in range(at_once)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
    _check_progress(client, recorded, most_queued=0)
    return recorded


async def _record_one(
    session: Session, dialogue: Dialogue, *, flush_turns: int, on_turns: Callable[[int], object]
) -> None:
    await session.start_session(session_id=session_id_of(dialogue), timestamp=dialogue.started_at)
    await session.start_conversation(
        conversation_id=dialogue.id,
        timestamp=dialogue.started_at,
        properties={} if dialogue.prompt is None else {"prompt": dialogue.prompt},
    )
    turns = size = 0
    for turn in dialogue.turns:
        if turns == flush_turns or size >= FLUSH_BYTES:
            await session.flush()
            on_turns(turns)
            turns = size = 0
        await session.track_conversation_turn(
            user=turn.user,
            assistant=turn.assistant,
            assistant_id=dialogue.partner,
            timestamp=turn.at,
            properties=properties_of(turn),
        )
        turns += 1
        size += len(turn.user.encode()) + len(turn.assistant.encode())
    await session.end_conversation(timestamp=dialogue.ended_at, properties=dialogue.ratings)
    await session.end_session(timestamp=dialogue.ended_at)
    on_turns(turns)


def _check_progress(client: Client, recorded: Recorded, *, most_queued: int) -> None:
    queued = client.stats()["queued"]
    if queued > most_queued:
        why = f": {recorded.errors[-1].message}" if recorded.errors else ""
        raise StandstillError(f"{queued:,} events wait for delivery, and waiting does not help{why}")


def properties_of(turn: Turn) -> dict[str, str | bool]:
    """What is kept with a turn beside its texts and its time."""
    kept: dict[str, str | bool] = {"asked_at": turn.asked_at.isoformat()}
    return kept if turn.is_answered else {**kept, "unanswered": True}


def session_id_of(dialogue: Dialogue) -> str:
    """The same in each run, so that it can be found again."""
    return f"chitchat-{dialogue.id}"
