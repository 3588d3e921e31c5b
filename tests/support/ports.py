"""Ports for what is told where to listen, and for what shall find nobody."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def reserved() -> Iterator[int]:
    """A port of the loopback on which nobody listens; only who is told of it can do so.

    A port that is looked for and let go of is given to the next who wants any: tests run side by side.
    """
    with socket.socket() as kept:
        if sys.platform == "linux":  # bound here, it may be bound once more, and listened on
            kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(("127.0.0.1", 0))
        port = int(kept.getsockname()[1])
        if sys.platform != "linux":
            kept.close()
        yield port
