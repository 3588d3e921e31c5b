"""The one disk writer: events that must outlive the process, or the memory that it may take.

Writes to the folder of this process (see `box`), reads back what memory can take again, adopts the folders of dead
processes, and keeps all of it within its bound.

For one thread, the sender's. Every method may raise OSError; then nothing of what it was to do has been done, or it
will be done again without harm.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import logging
import os
import re
import secrets
import shutil
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from mlsdk import events
from mlsdk.delivery import frames
from mlsdk.delivery.box import Box, Found, Segment, as_event, replace_file, why
from mlsdk.delivery.buffer import Entry
from mlsdk.delivery.lease import Lease
from mlsdk.logs import logger_for

logger = logger_for(__name__)

_BOX_NAME: Final = re.compile(r"[0-9a-f]{16}-[0-9a-f]{8}")
_WRITTEN_AT_ONCE: Final = 2000
_TRIES: Final = 5
_NOBODYS_NUMBER: Final = -1
"""For an event of another process, whose number may be that of one of ours, too."""


class NoRoomError(OSError):
    """The spool has reached its bound, and nothing that may go would make room for an event."""


def scope_of(server_endpoint: str, project_id: str) -> str:
    """The folder for a project at an address; any key of it may deliver what is there."""
    return sha256(f"{server_endpoint}\n{project_id}".encode()).hexdigest()[:16]


def _size_of(entry: Entry) -> int:
    return len(entry.body) + frames.OVERHEAD


@dataclass(frozen=True, slots=True)
class Place:
    """Where an event is written."""

    box: Box
    segment: Segment
    number: int


class Spool:
    """The folders of this process: its own, and those that it has adopted. Nothing is opened before it is needed."""

    def __init__(self, directory: str, *, scope: str, max_bytes: int, syncs: bool) -> None:
        """Describes a spool.

        Args:
            directory: Where; it is made if need be.
            scope: See `scope_of`.
            max_bytes: The bytes of events that all processes together may keep there.
            syncs: Whether what is written shall survive that the machine loses power, too.
        """
        self._root = Path(directory)
        self._folder = self._root / scope
        self._max_bytes = max_bytes
        self._syncs = syncs
        self._own: Box | None = None
        self._adopted: list[Box] = []
        self._others_bytes = 0
        self._foreign_numbers = itertools.count(-(2**62))
        self._unreadable: set[str] = set()
        self._gone: list[tuple[int, str]] = []
        # The absent events of a segment that was read; they go to memory one after another.
        self._page: deque[tuple[Box, Segment, int, bytes]] = deque()
        self._page_of: tuple[Box, Segment] | None = None

    # -- in -----------------------------------------------------------------------------------------------------------

    def store(self, entries: Sequence[Entry]) -> None:
        """Writes events, which then know where; those that were written already stay as they are.

        Raises:
            NoRoomError: There is no room for all of them, whatever may go; those before the first too many are written.
            OSError: They cannot be written.
        """
        new = [entry for entry in entries if entry.place is None]
        if not new:
            return
        box = self._own_box()
        fitting = new[: self._fitting(new)]
        if fitting:  # else nothing shall go in vain
            self._make_room(sum(map(_size_of, fitting)))
        for first in range(0, len(fitting), _WRITTEN_AT_ONCE):
            part = fitting[first : first + _WRITTEN_AT_ONCE]
            segment = box.append([(entry.number, entry.body) for entry in part])
            for entry in part:
                entry.place = Place(box, segment, entry.number)
        if len(fitting) < len(new):
            raise NoRoomError(errno.ENOSPC, "it is full")

    def take_gone(self) -> list[tuple[int, str]]:
        """The events that had to go for want of room since this was last asked; all of them were absent.

        Returns:
            The number and session of each.
        """
        gone, self._gone = self._gone, []
        return gone

    def note(self, bodies: Iterable[bytes]) -> None:
        """Follows sessions by events that are about to be sent, or were written."""
        parsed = [event for body in bodies if (event := as_event(body)) is not None]
        if self._own is None and not any(event["type"] == events.START_SESSION for event in parsed):
            return
        box = self._own_box()
        changed = {session_id: None for event in parsed if (session_id := box.open.note(event)) is not None}
        if changed:
            box.note(changed)

    def settle(self, entries: Iterable[Entry]) -> None:
        """Events are done: delivered, or gone for good."""
        done: dict[Segment, tuple[Box, list[int]]] = {}
        for entry in entries:
            if isinstance(place := entry.place, Place):
                done.setdefault(place.segment, (place.box, []))[1].append(place.number)
        for segment, (box, numbers) in done.items():
            box.settle(segment, numbers)

    def leave(self, entries: Iterable[Entry]) -> None:
        """Events that were written are given up in memory."""
        for entry in entries:
            if isinstance(place := entry.place, Place):
                place.segment.loaded.pop(place.number, None)
                place.segment.absent += 1
                self._close_page(place.segment)  # it does not have this event

    def _own_box(self) -> Box:
        if self._own is None:
            self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._folder.mkdir(mode=0o700, exist_ok=True)
            self._own = self._new_box()
            self._measure_others()
        return self._own

    def _new_box(self) -> Box:
        for _ in range(_TRIES):  # another process may take what was made a moment ago
            folder = self._folder / f"{time.time_ns():016x}-{secrets.token_hex(4)}"
            folder.mkdir(mode=0o700)
            if (lease := Lease.take(folder, is_new=True)) is not None:
                return Box(folder, lease, syncs=self._syncs)
            shutil.rmtree(folder, ignore_errors=True)
        raise OSError(errno.ENOLCK, "No locks available")  # an odd file system

    # -- the bound ----------------------------------------------------------------------------------------------------

    def _boxes(self) -> list[Box]:
        """Those that are ours, in the order in which they are read."""
        return [*self._adopted, *([] if self._own is None else [self._own])]

    def _measure_others(self) -> None:
        size = 0
        for name in self._names_of_others():
            with contextlib.suppress(FileNotFoundError):  # its owner has just removed it
                for each in (self._folder / name).glob("*.events"):
                    size += each.stat().st_size
        self._others_bytes = size

    def _names_of_others(self) -> list[str]:
        ours = {box.folder.name for box in self._boxes()}
        with os.scandir(self._folder) as found:
            return sorted(each.name for each in found if _BOX_NAME.fullmatch(each.name) and each.name not in ours)

    def _fitting(self, new: Sequence[Entry]) -> int:
        """How many of these there is room for, from the first on, if everything goes that may."""
        if self._excess(sum(map(_size_of, new))) <= 0:
            return len(new)
        with contextlib.suppress(OSError):
            self._measure_others()
        segments = [segment for box in self._boxes() for segment in box.segments]
        room = self._max_bytes - self._others_bytes - sum(sum(segment.loaded.values()) for segment in segments)
        for count, entry in enumerate(new):
            room -= _size_of(entry)
            if room < 0:
                return count
        return len(new)

    def _make_room(self, size: int) -> None:
        for spares in (True, False):
            for box in self._boxes():
                for segment in list(box.segments):
                    if spares and segment.is_thin:  # else each event that comes would have all files read
                        continue
                    if self._excess(size) <= 0:
                        return
                    self._thin_out(box, segment, spares_essential=spares)

    def _excess(self, size: int) -> int:
        return self._others_bytes + sum(box.size for box in self._boxes()) + size - self._max_bytes

    def _thin_out(self, box: Box, segment: Segment, *, spares_essential: bool) -> None:
        """Writes a segment anew without what is settled, and without absent events."""
        if box.segments and segment is box.segments[-1]:
            box.seal()
        if segment not in box.segments:
            return
        self._close_page(segment)
        kept: list[tuple[int, bytes]] = []
        gone: list[tuple[int, str]] = []
        for content in frames.scan(segment.path.read_bytes()).contents:
            read = frames.read_event(content)
            if read is None or read[0] in segment.settled:
                continue
            event = as_event(read[1])
            if read[0] in segment.loaded or (spares_essential and event is not None and events.is_essential(event)):
                kept.append(read)
            else:
                number = read[0] if box is self._own else _NOBODYS_NUMBER
                gone.append((number, "" if event is None else str(event["session_id"])))
        body = b"".join([frames.event_frame(number, event_body) for number, event_body in kept])
        if len(body) < segment.size:
            replace_file(segment.path, body, syncs=self._syncs)
            segment.size = len(body)
        self._gone += gone
        segment.absent -= len(gone)
        segment.is_thin = True
        if segment.is_done:
            box.settle(segment, ())

    # -- out ----------------------------------------------------------------------------------------------------------

    def read(self, *, max_events: int, max_bytes: int) -> list[Entry]:
        """Brings absent events back to memory, in order: those of dead processes first, then our own.

        Returns:
            The events that fit, and at least one if any is absent and `max_events` is more than 0. Fewer than there
            should be when files are gone or damaged.
        """
        entries: list[Entry] = []
        room = max_bytes
        while len(entries) < max_events and self._turn_page():
            box, segment, number, body = self._page[0]
            if entries and len(body) > room:
                break
            self._page.popleft()
            segment.absent -= 1
            event = as_event(body)
            if event is None:
                continue
            segment.loaded[number] = len(body) + frames.OVERHEAD
            room -= len(body)
            entry = Entry(body, event["session_id"], is_essential=events.is_essential(event))
            # Numbers of other processes may be ours as well; below all of ours they are older than anything.
            entry.number = number if box is self._own else next(self._foreign_numbers)
            entry.place = Place(box, segment, number)
            entries.append(entry)
        return entries

    def is_own(self, entry: Entry) -> bool:
        """Whether an event was recorded by this process."""
        return isinstance(entry.place, Place) and entry.place.box is self._own

    @property
    def has_absent(self) -> bool:
        """Whether there is anything to `read`."""
        return any(segment.absent > 0 for box in self._boxes() for segment in box.segments)

    def _close_page(self, segment: Segment) -> None:
        if self._page_of is not None and self._page_of[1] is segment:
            self._page.clear()
            self._page_of = None

    def _turn_page(self) -> bool:
        """Sees to it that there is an event on the page; False when none is absent any more."""
        while not self._page:
            if self._page_of is not None:
                box, segment = self._page_of
                self._page_of = None
                segment.absent = 0  # what the file no longer has
                if segment.is_done:
                    box.settle(segment, ())
            found = next(
                ((box, segment) for box in self._boxes() for segment in box.segments if segment.absent > 0), None
            )
            if found is None:
                return False
            box, segment = found
            if segment is box.segments[-1]:
                box.seal()
            self._page_of = found
            self._page.extend((box, segment, number, body) for number, body in box.read(segment))
        return True

    # -- other processes ----------------------------------------------------------------------------------------------

    def adopt(self) -> Found:
        """Takes over what dead processes have left, and removes what is empty of it."""
        with contextlib.suppress(OSError):  # tried again at the next time
            self._remove_empty(list(self._adopted))
        all_found = Found()
        for box in self._adopted:
            with contextlib.suppress(OSError):  # the disk is full still
                box.end_sessions(all_found)
        try:
            names = self._names_of_others()
        except FileNotFoundError:
            return all_found
        for name in names:
            folder = self._folder / name
            try:
                found = self._adopt(folder)
            except OSError as problem:
                if name not in self._unreadable:
                    level = logging.DEBUG if self._unreadable else logging.WARNING
                    self._unreadable.add(name)
                    logger.log(level, "a folder of the spool cannot be used (%s); it is left as it is", why(problem))
                continue
            if found is not None:
                all_found.session_ids += found.session_ids
                all_found.damage += found.damage
                all_found.ends += found.ends
        return all_found

    def _adopt(self, folder: Path) -> Found | None:
        lease = Lease.take(folder)
        if lease is None:
            return None
        box = Box(folder, lease, syncs=self._syncs)
        try:
            found = box.take_over()
        except BaseException:
            box.close()
            raise
        if box.is_empty:
            box.remove()
        else:
            self._adopted.append(box)
            self._adopted.sort(key=lambda each: each.folder.name)
        return found

    # -- the end ------------------------------------------------------------------------------------------------------

    def tidy(self) -> None:
        """Removes what is empty."""
        self._remove_empty(self._boxes())

    def _remove_empty(self, boxes: Iterable[Box]) -> None:
        for box in boxes:
            if box.is_empty:
                box.remove()
                if box is self._own:
                    self._own = None
                else:
                    self._adopted.remove(box)

    @property
    def has_folder(self) -> bool:
        """Whether anything of ours is on the disk."""
        return bool(self._boxes())

    def close(self) -> None:
        """Gives everything up to whoever comes next."""
        for box in self._boxes():
            box.close()
        self._own = None
        self._adopted.clear()

    def forget(self) -> None:
        """In a forked child: everything is the parent's."""
        for box in self._boxes():
            box.forget()
