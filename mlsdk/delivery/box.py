"""One folder of the spool: the files of one process, and what becomes of them when it is dead.

    spool_dir/<address and project, hashed>/<process>/lease           who owns the folder
                                                      NNNNNNNN.events  frames of events; the newest is written to
                                                      NNNNNNNN.settled frames of the numbers of those that are done
                                                      sessions         frames of what is known of each open session
                                           /damaged/                   files with damage, for a person to look at

No name and no file holds a key; the folders are for their owner alone. A segment goes when all of it is settled. What
a dead process left is adopted by whoever gets its lease, and belongs to the adopter from then on.

For one thread, the sender's. Every method may raise OSError; then nothing of what it was to do has been done, or it
will be done again without harm.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson

from mlsdk import events
from mlsdk.delivery import frames
from mlsdk.delivery.lease import Lease
from mlsdk.delivery.recovery import OpenSessions
from mlsdk.logs import logger_for

logger = logger_for(__name__)

SEGMENT_BYTES: Final = 1024 * 1024
"""A segment that has reached so many bytes gets no more events."""
DAMAGED: Final = "damaged"
_DAMAGED_KEPT: Final = 16
"""Damaged files that are kept, at most; the newest."""
_SESSIONS: Final = "sessions"
_SEGMENT_NAME: Final = re.compile(r"(\d{8})\.events")
_COMPACT_FROM: Final = 64 * 1024
"""Bytes of the file `sessions` from which on it is written anew when most of it is outdated."""
_WRITE: Final = (
    os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
) | getattr(os, "O_BINARY", 0)


class _File:
    """A file that frames are appended to; what a failed write left of one is cut off again."""

    def __init__(self, path: Path, *, syncs: bool = False) -> None:
        self._handle = os.open(path, _WRITE, 0o600)
        self._syncs = syncs
        try:
            self.size = os.fstat(self._handle).st_size
            if syncs:
                _sync_folder(path.parent)
        except OSError:
            os.close(self._handle)
            raise

    def append(self, data: bytes) -> None:
        try:
            written = 0
            while written < len(data):
                written += os.write(self._handle, data[written:])
            if self._syncs:
                _sync(self._handle)
        except OSError:
            with contextlib.suppress(OSError):  # else a reader sees a damaged stretch, and what comes after it
                os.ftruncate(self._handle, self.size)
            raise
        self.size += len(data)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._handle)


@dataclass(eq=False, slots=True)
class Segment:
    """One file of events. By number: those in memory (with the bytes that each takes), and those that are done; the
    others are `absent`.

    It `is_thin` when no ordinary event is left in it that could make room.
    """

    path: Path
    size: int = 0
    absent: int = 0
    is_thin: bool = False
    loaded: dict[int, int] = field(default_factory=dict)
    settled: set[int] = field(default_factory=set)

    @property
    def settled_path(self) -> Path:
        return self.path.with_suffix(".settled")

    @property
    def is_done(self) -> bool:
        return not (self.absent or self.loaded)


@dataclass(slots=True)
class Found:
    """What an adoption brought.

    Attributes:
        session_ids: Of each event that is to be sent, in order.
        damage: Damaged stretches.
        ends: How many of the events were made to end what a dead process left open.
    """

    session_ids: list[str] = field(default_factory=list)
    damage: int = 0
    ends: int = 0


class Box:
    """The folder of one process."""

    def __init__(self, folder: Path, lease: Lease, *, syncs: bool) -> None:
        self.folder = folder
        self.segments: list[Segment] = []
        self.open = OpenSessions()
        self._lease = lease
        self._syncs = syncs
        self._active: _File | None = None
        self._settled: dict[Segment, _File] = {}
        self._sessions: _File | None = None
        self._next = 1

    # -- writing ------------------------------------------------------------------------------------------------------

    def append(self, written: Sequence[tuple[int, bytes]]) -> Segment:
        """Writes events; they count as loaded."""
        if self._active is None or self._active.size >= SEGMENT_BYTES:
            self.seal()
            path = self.folder / f"{self._next:08d}.events"
            self._active = _File(path, syncs=self._syncs)
            self._next += 1
            self.segments.append(Segment(path))
        segment = self.segments[-1]
        self._active.append(b"".join([frames.event_frame(number, body) for number, body in written]))
        segment.size = self._active.size
        segment.loaded.update((number, len(body) + frames.OVERHEAD) for number, body in written)
        return segment

    def seal(self) -> None:
        """The segment that is written to gets no more, so that it can be read, or removed."""
        if self._active is not None:
            self._active.close()
            self._active = None
            self._remove_if_done(self.segments[-1])

    def settle(self, segment: Segment, numbers: Iterable[int]) -> None:
        """Writes down that events are done, and removes the segment if that was all of it."""
        done = set(numbers)
        for number in done:
            segment.loaded.pop(number, None)
        segment.settled |= done
        if segment.is_done and not self._is_active(segment):
            self._remove(segment)
            return
        file = self._settled.get(segment)
        if file is None:
            file = self._settled[segment] = _File(segment.settled_path)
        file.append(frames.numbers_frame(sorted(done)))

    def _is_active(self, segment: Segment) -> bool:
        return self._active is not None and segment is self.segments[-1]

    def _remove_if_done(self, segment: Segment) -> None:
        if segment.is_done:
            self._remove(segment)

    def _remove(self, segment: Segment) -> None:
        if segment in self.segments:
            self.segments.remove(segment)
        if (file := self._settled.pop(segment, None)) is not None:
            file.close()
        segment.path.unlink(missing_ok=True)  # first: numbers without events mean nothing
        segment.settled_path.unlink(missing_ok=True)

    def note(self, session_ids: Iterable[str]) -> None:
        """Writes down what is known of sessions now."""
        if self._sessions is None:
            self._sessions = _File(self.folder / _SESSIONS)
        marks = [frames.frame(self.open.mark(session_id)) for session_id in session_ids]
        self._sessions.append(b"".join(marks))
        if self._sessions.size > _COMPACT_FROM + 1024 * len(self.open):
            self._compact()

    def _compact(self) -> None:
        if self._sessions is not None:
            self._sessions.close()
            self._sessions = None
        marks = [frames.frame(self.open.mark(session.session_id)) for session in self.open]
        replace_file(self.folder / _SESSIONS, b"".join(marks), syncs=self._syncs)
        self._sessions = _File(self.folder / _SESSIONS)

    # -- reading ------------------------------------------------------------------------------------------------------

    def read(self, segment: Segment) -> list[tuple[int, bytes]]:
        """The absent events of a segment, in order."""
        known = segment.loaded.keys() | segment.settled
        found = {}
        for content in frames.scan(segment.path.read_bytes()).contents:
            event = frames.read_event(content)
            if event is not None and event[0] not in known:
                found[event[0]] = event[1]
        return list(found.items())

    def take_over(self) -> Found:
        """Looks through what a dead process left; all of it counts as absent."""
        found = Found()
        marks = _scan_if_there(self.folder / _SESSIONS)
        found.damage += marks.damage + self.open.read(marks.contents)
        for numbers in self.folder.glob("*.settled"):  # their owner died between the two steps of removing a segment
            if not numbers.with_suffix(".events").exists():
                numbers.unlink(missing_ok=True)
        for path in sorted(self.folder.glob("*.events")):
            if (name := _SEGMENT_NAME.fullmatch(path.name)) is not None:
                self._next = max(self._next, int(name[1]) + 1)
                self._take_over(Segment(path), found)
        with contextlib.suppress(OSError):  # a full disk is the more reason to deliver what is on it
            self.end_sessions(found)
        return found

    def _take_over(self, segment: Segment, found: Found) -> None:
        settled = _scan_if_there(segment.settled_path)
        for content in settled.contents:
            segment.settled.update(frames.read_numbers(content))
        scan = frames.scan(segment.path.read_bytes())
        good: dict[int, bytes] = {}
        for content in scan.contents:
            read = frames.read_event(content)
            event = None if read is None else as_event(read[1])
            if read is None or event is None:
                scan.damage += 1
            elif read[0] not in good:
                good[read[0]] = read[1]
                # What is settled is older than the marks: a conversation that ended since would be open again.
                if read[0] not in segment.settled:
                    self.open.note(event)
                    found.session_ids.append(event["session_id"])
                    segment.absent += 1
        found.damage += scan.damage + settled.damage
        if scan.damage:
            self._set_aside(segment, good)
        segment.size = segment.path.stat().st_size
        if segment.is_done:
            self._remove(segment)
        else:
            self.segments.append(segment)

    def _set_aside(self, segment: Segment, good: Mapping[int, bytes]) -> None:
        """Keeps a damaged file for a person to look at; what is good of it goes into a new one."""
        damaged = self.folder.parent / DAMAGED
        try:
            damaged.mkdir(mode=0o700, exist_ok=True)
            aside = damaged / f"{self.folder.name}-{segment.path.name}"
            shutil.copyfile(segment.path, aside)
            aside.chmod(0o600)
            body = b"".join([frames.event_frame(number, event) for number, event in good.items()])
            replace_file(segment.path, body, syncs=True)
            for old in sorted(damaged.iterdir())[:-_DAMAGED_KEPT]:
                old.unlink(missing_ok=True)
        except OSError as problem:
            logger.warning("a damaged file of the spool could not be set aside (%s)", why(problem))

    def end_sessions(self, found: Found) -> None:
        """Writes the ends of what was left open, so that they are made once, whoever dies meanwhile."""
        left_open = list(self.open)
        if not left_open:
            return
        ends = [event for session in left_open for event in session.ends()]
        number = frames.MAX_NUMBER - len(ends) - self._next * 1_000_000
        bodies = [(number + place, events.encode(event)) for place, event in enumerate(ends)]
        segment = self.append(bodies)
        segment.absent += len(bodies)
        segment.loaded.clear()
        for event in ends:
            self.open.note(event)
        found.session_ids += [str(event["session_id"]) for event in ends]
        found.ends += len(ends)
        with contextlib.suppress(OSError):  # the ends themselves say it as well, for as long as they are there
            self.note([session.session_id for session in left_open])

    # -- the end ------------------------------------------------------------------------------------------------------

    @property
    def is_empty(self) -> bool:
        """Whether nothing in it is worth keeping."""
        return not self.open and all(segment.is_done for segment in self.segments)

    @property
    def size(self) -> int:
        return sum(segment.size for segment in self.segments)

    def remove(self) -> None:
        """Removes the folder, which must be empty in that sense, and gives up the lease."""
        self.seal()
        for segment in list(self.segments):
            self._remove(segment)
        if self._sessions is not None:
            self._sessions.close()
            self._sessions = None
        (self.folder / _SESSIONS).unlink(missing_ok=True)
        for unfinished in self.folder.glob("*.new"):
            unfinished.unlink(missing_ok=True)
        self._lease.release(removes=True)
        with contextlib.suppress(OSError):  # something of somebody else's is in it
            self.folder.rmdir()

    def close(self) -> None:
        """Gives up the lease; whoever takes it next finds all that is left."""
        self._close_files()
        self._lease.release(removes=False)

    def forget(self) -> None:
        """In a forked child: all of it is the parent's."""
        self._close_files()
        self._lease.forget()

    def _close_files(self) -> None:
        for file in (self._active, self._sessions, *self._settled.values()):
            if file is not None:
                file.close()
        self._active = self._sessions = None
        self._settled.clear()


def as_event(body: bytes) -> dict[str, Any] | None:
    """The event that a JSON text is; None when it is none."""
    try:
        event = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(event, dict) or not isinstance(event.get("session_id"), str) or "type" not in event:
        return None
    return event if event["type"] != events.TRACK or "event" in event else None


def _scan_if_there(path: Path) -> frames.Scan:
    try:
        return frames.scan(path.read_bytes())
    except FileNotFoundError:
        return frames.Scan()


def replace_file(path: Path, content: bytes, *, syncs: bool) -> None:
    """Puts a file in the place of another, whole or not at all."""
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    file = _File(new, syncs=syncs)
    try:
        file.append(content)
    finally:
        file.close()
    new.replace(path)


def _sync(handle: int) -> None:
    getattr(os, "fdatasync", os.fsync)(handle)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # a folder cannot be opened there
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def why(problem: OSError) -> str:
    """What the system says of a problem, without a path."""
    return problem.strerror or type(problem).__name__
