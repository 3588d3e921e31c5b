"""The ports that services listen on: one that was free is given out once, and a closed one is kept for its service."""

import asyncio
import os
import socket
from collections.abc import Collection
from typing import Final

_BACKLOG: Final = 512
_MOST_TRIES: Final = 100

given: Final[set[int]] = set()
"""Ports of services of this process. What sends to an address knows it for good, the queue and the outage included: a
later service at the same address would be sent what was meant for an earlier one."""


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 picks a free one that no service of this process had.

    Raises:
        OSError: The port is taken.
    """
    found = _listen(host, port)
    # After thousands of services one that was had before is better than none.
    for _ in range(_MOST_TRIES):
        if port or _number(found) not in given:
            break
        found.close()
        found = _listen(host, port)
    given.add(_number(found))
    return found


def _listen(host: str, port: int) -> socket.socket:
    return socket.create_server((host, port), family=_family(host), backlog=_BACKLOG)


def _number(listening_socket: socket.socket) -> int:
    return int(listening_socket.getsockname()[1])


def kept(host: str, port: int) -> socket.socket:
    """A socket that keeps the port for later without listening: whoever connects is refused.

    Raises:
        OSError: The port is taken.
    """
    found = socket.socket(_family(host), socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # as for one that listens: connections that have just ended do not matter
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
    except OSError:
        found.close()
        raise
    return found


async def end(servers: Collection[asyncio.Server]) -> None:
    """Stop listening; connections that were accepted so far are made, and are the caller's to close.

    asyncio never closes one that it has accepted but not yet made when its server is closed.
    """
    loop = asyncio.get_running_loop()
    for server in servers:
        for listening_socket in server.sockets:
            loop.remove_reader(listening_socket.fileno())  # nothing more is accepted
    await asyncio.sleep(0)  # what was accepted gets its transport
    await asyncio.sleep(0)  # and that its protocol
    for server in servers:
        server.close()


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
