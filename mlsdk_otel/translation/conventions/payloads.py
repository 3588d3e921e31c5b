"""Messages in a whole request or a whole answer, for libraries that give only that."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from mlsdk_otel.translation.conventions import messages
from mlsdk_otel.translation.facts import Message

REDACTED: Final = "__REDACTED__"
_OBJECT: Final = re.compile(r"<[\w.]+(\[.*\])? object [\w.<>]*\s?at 0x[0-9a-fA-F]+>")
"""How Python shows an object that nobody has read, such as a stream."""


def said(raw: object, *, role: str) -> tuple[Message, ...]:
    """Messages in the whole request or answer, for libraries that only give that."""
    if raw is None or raw == REDACTED:
        return ()
    found = messages.loaded(raw)
    if isinstance(found, str) and (found.startswith('{"') or _OBJECT.fullmatch(found.strip())):
        return ()  # a payload that a limit of the length of attributes has cut is no text either
    if not isinstance(found, Mapping):
        return messages.history(found, role=role)
    system = messages.system(found.get("system") or found.get("instructions"))
    for key in (
        "messages",
        "choices",
        "output",
        "input",
        "contents",
        "candidates",
        "generations",
        "content",
        "response",
    ):
        inner = found.get(key)
        if isinstance(inner, list) and inner and all(isinstance(each, str) for each in inner):
            continue  # how Python would show objects; no texts
        if inner is not None and (read := messages.history(inner, role=role)):
            return (*system, *read)
    if (one := messages.one(found, role=role)) is not None and messages.says_anything((one,)):
        return (one,)
    return ()
