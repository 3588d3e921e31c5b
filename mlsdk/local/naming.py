"""Whether a reader asks for the service by one of its own names. Pure.

A web page of somebody else's can have its own host name lead to this machine after it was loaded, and then read what
the service shows as if it were its own. Such requests still carry the foreign name.
"""

from ipaddress import ip_address
from urllib.parse import urlsplit


def is_own_name(asked: str | None, *, listening: str) -> bool:
    """Whether a service that listens on ``listening`` is meant by a request whose Host header is ``asked``.

    One that listens to more than this machine may have any name. A request without the header is no browser's.
    """
    if asked is None or not _is_this_machine(listening):
        return True
    try:
        name = urlsplit(f"//{asked}").hostname
    except ValueError:
        return False
    return name is not None and (name == listening.lower() or _is_this_machine(name))


def _is_this_machine(name: str) -> bool:
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
