"""Who owns a folder of the spool: the process that holds the lock on its file `lease`.

The operating system gives a lock back when its owner dies, however that happens, so a folder whose lease can be taken
is nobody's. Nothing is ever judged by a process id or by a clock.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Final

NAME: Final = "lease"
_CLOEXEC: Final = getattr(os, "O_CLOEXEC", 0)
_NOFOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)

if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int) -> None:
        # One byte of the file; Windows gives it back when the process ends, if not always at once.
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(handle: int) -> None:
        # Not `lockf`: that one is given back when any handle of the file is closed, and does not keep out other
        # deliveries of the same process.
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


_handles: Final[set[int]] = set()
"""Of all leases of this process, those included of which only a thread knows that is about to take them."""


def _close(handle: int) -> None:
    if handle in _handles:  # else this is a child, where it was closed already
        _handles.discard(handle)
        os.close(handle)


def _after_fork_in_child() -> None:
    # A fork may come while the sender's thread adopts a folder, which takes as long as reading it does.
    for handle in list(_handles):
        _close(handle)


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_after_fork_in_child)


class Lease:
    """A folder that is ours until `release`, or until the process dies."""

    def __init__(self, folder: Path, handle: int) -> None:
        """See `take`."""
        self._path = folder / NAME
        self._handle: int | None = handle

    @classmethod
    def take(cls, folder: Path, *, is_new: bool = False) -> Lease | None:
        """The lease on a folder; None when another owner has it, or the folder is gone.

        Args:
            folder: An existing folder.
            is_new: It was just made, and has no file of the lease yet.

        Raises:
            OSError: The folder cannot be used.
        """
        flags = os.O_RDWR | _CLOEXEC | _NOFOLLOW | (os.O_CREAT if is_new else 0)
        try:
            handle = os.open(folder / NAME, flags, 0o600)
        except FileNotFoundError:
            return None
        _handles.add(handle)
        try:
            _lock(handle)
            # An earlier owner may have removed the file between the two steps; a lock on it is worth nothing then.
            if os.path.samestat(os.fstat(handle), os.stat(folder / NAME)):
                return cls(folder, handle)
        except OSError:
            pass
        _close(handle)
        return None

    def release(self, *, removes: bool) -> None:
        """Gives the folder up; with `removes` its file goes too, while nobody else can have it."""
        if self._handle is None:
            return
        if removes and sys.platform != "win32":
            with contextlib.suppress(OSError):
                self._path.unlink()
        _close(self._handle)
        self._handle = None
        if removes and sys.platform == "win32":  # an open file cannot be removed there
            with contextlib.suppress(OSError):
                self._path.unlink()

    def forget(self) -> None:
        """In a forked child: the lease is the parent's, and must end with it rather than with its last child."""
        if self._handle is not None:
            _close(self._handle)
            self._handle = None
