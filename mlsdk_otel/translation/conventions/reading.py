"""Reads attribute values tolerantly: whatever an instrumentation put there, a value of the wire or nothing comes out.

OpenTelemetry's values may be text, numbers, booleans, bytes, sequences, nested mappings and None; older versions turned
structures into text, newer ones keep them. The wire takes text, numbers and booleans alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Final

import orjson

from mlsdk.events import MAX_NAME, Value

_MIN_INT, _MAX_INT = -(2**63), 2**63 - 1
_ENCODED: Final = orjson.OPT_NON_STR_KEYS


def value(raw: object) -> Value | None:
    """The nearest value of the wire: structures become JSON text; None where there is nothing to say (None, NaN)."""
    if isinstance(raw, str | bool):
        return raw
    if isinstance(raw, int):
        return raw if _MIN_INT <= raw <= _MAX_INT else str(raw)
    if isinstance(raw, float):
        return raw if isfinite(raw) else None
    return text(raw)


def text(raw: object) -> str | None:
    """Anything as text, None for None."""
    if raw is None or isinstance(raw, str):
        return raw
    if isinstance(raw, bytes | bytearray):
        return bytes(raw).decode("utf-8", "replace")
    try:
        return orjson.dumps(raw, default=_plain, option=_ENCODED).decode()
    except (orjson.JSONEncodeError, RecursionError):
        return str(raw)


def _plain(raw: object) -> object:
    if isinstance(raw, Mapping):
        return dict(raw)
    if isinstance(raw, bytes | bytearray):
        return bytes(raw).decode("utf-8", "replace")
    return list(raw) if isinstance(raw, Sequence) else str(raw)


def name(raw: object) -> str | None:
    """An id or a name of 1 to 100 characters; longer ones are cut, empty ones are none."""
    read = text(raw)
    return read[:MAX_NAME] if read else None


def count(raw: object) -> int | None:
    """A number of tokens or milliseconds: an integer of 0 or more."""
    if isinstance(raw, str) and raw.isascii() and raw.isdecimal():
        raw = int(raw[:20])
    if isinstance(raw, float) and isfinite(raw):
        raw = int(raw)
    if isinstance(raw, bool) or not isinstance(raw, int) or not 0 <= raw <= _MAX_INT:
        return None
    return raw


def number(raw: object) -> float | int | None:
    """A finite number."""
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        return None
    read = value(raw)
    return read if isinstance(read, int | float) else None


def flag(raw: object) -> bool:
    """Whether something is set, as a boolean or as the text of one."""
    return raw is True or (isinstance(raw, str) and raw.lower() == "true")


def mapping(raw: object) -> Mapping[str, object]:
    """A structure, or the JSON text of one; empty if it is neither."""
    if isinstance(raw, str | bytes):
        try:
            raw = orjson.loads(raw)
        except orjson.JSONDecodeError:
            return {}
    return {str(key): inner for key, inner in raw.items()} if isinstance(raw, Mapping) else {}


def values(raw: Mapping[str, object]) -> tuple[dict[str, Value], int]:
    """What of a mapping the wire can hold, and how many of its values it cannot."""
    held: dict[str, Value] = {}
    lost = 0
    for key, inner in raw.items():
        read = value(inner)
        if read is None:
            lost += inner is not None
        else:
            held[key] = read
    return held, lost


def under(attributes: Mapping[str, object], prefix: str, everything: str) -> dict[str, object]:
    """The attributes below a prefix, by what follows it, and those in the JSON object at `prefix + everything`."""
    cut = len(prefix)
    found = {key[cut:]: inner for key, inner in attributes.items() if key.startswith(prefix)}
    found.update(mapping(found.pop(everything, None)))
    return found
