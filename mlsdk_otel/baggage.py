"""Ids in OpenTelemetry's baggage: how they come from the service that called, and go to those that are called.

Baggage is sent along with every traced request, to strangers too, and what comes in was written by whoever called. So
only allowed names are read and written: `MLSDK_OTEL_BAGGAGE`, by default the session and the conversation, which name
nobody. A person's id goes nowhere unless it is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final, TypeGuard

from opentelemetry import baggage
from opentelemetry.context import Context

from mlsdk.errors import InvalidEventError
from mlsdk.events import check_name
from mlsdk_otel import attributes as names

VARIABLE: Final = "MLSDK_OTEL_BAGGAGE"
KNOWN: Final = (names.SESSION_ID, names.CONVERSATION_ID, names.USER_ID, names.DEVICE_ID)
"""The names that may be allowed; a baggage entry is called as the attribute is."""
DEFAULT: Final = (names.SESSION_ID, names.CONVERSATION_ID)


def allowed(environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """The names that baggage may carry: those of the variable, with commas between; none if it is empty."""
    value = (os.environ if environ is None else environ).get(VARIABLE)
    return DEFAULT if value is None else _listed(value)


@lru_cache(maxsize=8)
def _listed(value: str) -> tuple[str, ...]:
    given = {name.strip() for name in value.split(",")}
    return tuple(name for name in KNOWN if name in given)


def ids_of(surroundings: Context | None = None, *, allow: Iterable[str] | None = None) -> dict[str, str]:
    """The ids that a context's baggage carries, by attribute name.

    Args:
        surroundings: The context; default the current one.
        allow: The names to read; default `allowed()`. A value that is no id is left out: it came from outside.
    """
    entries = baggage.get_all(surroundings)
    if not entries:
        return {}
    found = ((name, entries.get(name)) for name in (allowed() if allow is None else allow))
    return {name: value for name, value in found if is_id(value, name)}


def with_ids(surroundings: Context, ids: Mapping[str, str], *, allow: Iterable[str] | None = None) -> Context:
    """A context whose baggage carries these ids, as far as they are allowed.

    An id that is not given, of another session than the baggage's, is taken out: it would be said of the wrong one.
    """
    names_allowed = tuple(allowed() if allow is None else allow)
    carried = ids_of(surroundings, allow=names_allowed)
    session_id = ids.get(names.SESSION_ID)
    is_another = session_id is not None and session_id != carried.get(names.SESSION_ID, session_id)
    for name in names_allowed:
        if name in ids:
            surroundings = baggage.set_baggage(name, ids[name], surroundings)
        elif is_another and name in carried:
            surroundings = baggage.remove_baggage(name, surroundings)
    return surroundings


def is_id(value: object, name: str) -> TypeGuard[str]:
    """Whether a value that somebody sent can be an id: 1 to 100 characters of text."""
    try:
        check_name(name, value)
    except InvalidEventError:
        return False
    return True
