"""Events for a spool, and what is left of one on disk."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path

from mlsdk import events
from mlsdk.delivery.buffer import Entry
from mlsdk.delivery.spool import Spool
from mlsdk.events import Event

_numbers = itertools.count(1)


def turn(session_id: str, text: str = "") -> Event:
    """A turn of a user who says this."""
    who = events.common(session_id=session_id, user_id="u")
    return events.turn(who, 1_000_000, conversation_id="c", user=text, assistant="")


def start(session_id: str) -> Event:
    return events.start_session(events.common(session_id=session_id, user_id="u"), 1_000_000)


def entry(event: Event) -> Entry:
    """An event on its way, with a number higher than any before."""
    made = Entry(events.encode(event), str(event["session_id"]), is_essential=events.is_essential(event))
    made.number = next(_numbers)
    return made


def turns(session_id: str, texts: Iterable[object]) -> list[Entry]:
    return [entry(turn(session_id, str(text))) for text in texts]


def bodies(entries: Iterable[Entry]) -> list[bytes]:
    return [each.body for each in entries]


def spool_at(folder: Path, *, max_bytes: int = 1 << 30, syncs: bool = False) -> Spool:
    return Spool(str(folder), scope="scope", max_bytes=max_bytes, syncs=syncs)


def read_all(spool: Spool) -> list[Entry]:
    """Everything absent, at once."""
    return spool.read(max_events=1 << 30, max_bytes=1 << 30)


def files(folder: Path) -> list[str]:
    """The files below a folder that hold something of a process, without the process's name."""
    return sorted("/".join(path.relative_to(folder).parts[2:]) for path in folder.rglob("*") if path.is_file())


def segments(folder: Path) -> list[Path]:
    """The files of events below a folder."""
    return sorted(folder.rglob("*.events"))


def size_of(folder: Path) -> int:
    """The bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
