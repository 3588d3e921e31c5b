"""Which environment variables could change what a test sees, and how to be rid of them."""

from __future__ import annotations

import os
from typing import Final

_PREFIXES: Final = ("MLSDK_", "OTEL_")
_PROXIES: Final = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "WS_PROXY", "WSS_PROXY"})


def is_ours(name: str) -> bool:
    """Say whether the variable configures what is under test. Proxy variables are read in either case."""
    upper = name.upper()
    return upper.startswith(_PREFIXES) or upper in _PROXIES


def clean() -> None:
    """Remove these variables from this process."""
    for name in [name for name in os.environ if is_ours(name)]:
        del os.environ[name]
