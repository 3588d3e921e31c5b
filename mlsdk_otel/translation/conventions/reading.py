"""Reads attribute values tolerantly: whatever an instrumentation put there, a value of the wire or nothing comes out.

OpenTelemetry's values may be text, numbers, booleans, bytes, sequences, nested mappings and None; older versions turned
structures into text, newer ones keep them. The wire takes text, numbers and booleans alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from math import isfinite
from typing import Final

import orjson

from mlsdk.events import MAX_NAME, Value

_MIN_INT, _MAX_INT = -(2**63), 2**63 - 1
_ENCODED: Final = orjson.OPT_NON_STR_KEYS
_MAX_DEPTH: Final = 50
_NO_JSON: Final = re.compile(r"\\u|NaN|Infinity|[\ud800-\udfff]")
"""What makes a text JSON that only some read."""
_HASH: Final = 16


def value(raw: object) -> Value | None:
    """The nearest value of the wire: structures become JSON text; None where there is nothing to say (None, NaN)."""
    if isinstance(raw, bool):
        return raw
    # Subclasses (enums, numpy's float64) become the plain value: not everybody can encode them.
    if isinstance(raw, int):
        return int(raw) if _MIN_INT <= raw <= _MAX_INT else _digits(raw)
    if isinstance(raw, float):
        return float(raw) if isfinite(raw) else None
    return text(raw)


def text(raw: object) -> str | None:
    """Anything as text; None for None and for numbers that are none."""
    if isinstance(raw, str):
        return str.__str__(raw)
    if raw is None or (isinstance(raw, float) and not isfinite(raw)):
        return None
    if isinstance(raw, bytes | bytearray):
        return bytes(raw).decode("utf-8", "replace")
    if isinstance(raw, Mapping | Sequence):
        return _json(raw)
    return _number(raw) if isinstance(raw, int | float) else _described(raw)


def _number(raw: int | float) -> str:
    if isinstance(raw, bool):
        return "true" if raw else "false"
    return _digits(raw) if isinstance(raw, int) else float.__repr__(raw)


def _digits(raw: int) -> str:
    try:
        return int.__repr__(raw)
    except ValueError:  # thousands of digits, for which Python's time would grow with the square
        return hex(raw)


def _json(raw: object) -> str:
    try:
        return orjson.dumps(raw, default=_structure, option=_ENCODED).decode()
    except (orjson.JSONEncodeError, RecursionError):  # lone surrogates, huge integers, odd keys, great depth
        return orjson.dumps(_plain(raw, _MAX_DEPTH)).decode()


def _structure(raw: object) -> object:
    if isinstance(raw, Mapping):
        return dict(raw)
    if isinstance(raw, Sequence) and not isinstance(raw, bytes | bytearray):
        return list(raw)
    return value(raw)


def _plain(raw: object, depth: int) -> object:
    if isinstance(raw, str):
        return str.__str__(raw).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if depth and isinstance(raw, Mapping):
        return {str(_plain(_key(key), 0)): _plain(inner, depth - 1) for key, inner in raw.items()}
    if depth and isinstance(raw, Sequence) and not isinstance(raw, bytes | bytearray):
        return [_plain(inner, depth - 1) for inner in raw]
    if isinstance(raw, Mapping | Sequence) and not isinstance(raw, bytes | bytearray):
        return "..."
    held = value(raw)
    return _plain(held, 0) if isinstance(held, str) else held


def _key(raw: object) -> str:
    return str.__str__(raw) if isinstance(raw, str) else _described(raw)


def _described(raw: object) -> str:
    try:
        return str(raw)
    except Exception:  # somebody else's __str__
        return type(raw).__name__


def name(raw: object) -> str | None:
    """A name of 1 to 100 characters; longer ones are cut, empty ones are none."""
    read = text(raw)
    return read[:MAX_NAME] if read else None


def identifier(raw: object) -> str | None:
    """An id of 1 to 100 characters; of longer ones the end is replaced, so that different ids stay different."""
    read = text(raw)
    if not read:
        return None
    if len(read) <= MAX_NAME:
        return read
    return f"{read[: MAX_NAME - _HASH - 1]}-{sha256(read.encode('utf-8', 'replace')).hexdigest()[:_HASH]}"


def count(raw: object) -> int | None:
    """A number of tokens or milliseconds: an integer of 0 or more."""
    if type(raw) is int and 0 <= raw <= _MAX_INT:  # nearly always
        return raw
    if isinstance(raw, str) and raw.isascii() and raw.isdecimal():
        raw = int(raw[:20])
    if isinstance(raw, float) and isfinite(raw):
        raw = int(raw)
    if isinstance(raw, bool) or not isinstance(raw, int) or not 0 <= raw <= _MAX_INT:
        return None
    return int(raw)


def number(raw: object) -> float | int | None:
    """A finite number."""
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        return None
    read = value(raw)
    return read if isinstance(read, int | float) else None


def flag(raw: object) -> bool:
    """Whether something is set, as a boolean or as the text of one."""
    return raw is True or (isinstance(raw, str) and raw.lower() == "true")


def parsed(raw: str | bytes | bytearray) -> object:
    """What JSON text holds, Python's and JavaScript's own too: lone surrogates and NaN, which JSON does not know.

    Raises:
        ValueError: It is no JSON.
    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        held = raw if isinstance(raw, str) else bytes(raw).decode("utf-8", "replace")
        if _NO_JSON.search(held) is None:
            raise
    try:
        return json.loads(held)
    except RecursionError as problem:
        raise ValueError("too deep") from problem


def mapping(raw: object) -> Mapping[str, object] | None:
    """A structure, or the JSON text of one; None if it is neither."""
    if isinstance(raw, str | bytes):
        try:
            raw = parsed(raw)
        except ValueError:
            return None
    return {_key(key): inner for key, inner in raw.items()} if isinstance(raw, Mapping) else None


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
    if (rest := mapping(found.get(everything))) is not None:  # else it is an attribute that is called so
        del found[everything]
        found.update(rest)
    return found
