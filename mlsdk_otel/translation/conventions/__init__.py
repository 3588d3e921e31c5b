"""What spans say, one module for each way of saying it.

A convention is a module with `MARKERS` (a span without any of these attributes is none of its own), `claims(view)` and
`read(view)`; its place in `CONVENTIONS` decides where several claim a span. Recognition is by attributes, never by the
name of a library: libraries change their ways between versions, and share them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from mlsdk_otel.translation.conventions import (
    genai,
    genai_legacy,
    google_adk,
    langfuse,
    logfire,
    mlflow,
    openinference,
    openllmetry,
    switches,
    vercel,
)
from mlsdk_otel.translation.facts import Reading
from mlsdk_otel.translation.spanview import SpanView


class Convention(Protocol):
    """What the module of a convention offers."""

    MARKERS: frozenset[str]

    def claims(self, view: SpanView) -> bool:
        """Whether a span is of this convention."""

    def read(self, view: SpanView) -> Reading | None:
        """What it says; None where it is no part of a conversation."""


CONVENTIONS: Final[tuple[Convention, ...]] = (
    openinference,
    vercel,
    logfire,
    langfuse,
    mlflow,
    genai,
    google_adk,
    openllmetry,
    genai_legacy,
)
MARKERS: Final = frozenset().union(*(convention.MARKERS for convention in CONVENTIONS))


def claims_attributes(attributes: Mapping[str, object]) -> bool:
    """Whether a span with these attributes may be an AI span; one set test, for all those that are none."""
    return not MARKERS.isdisjoint(attributes)


def convention_of(view: SpanView) -> Convention | None:
    """The convention that claims a span."""
    if MARKERS.isdisjoint(view.attributes):
        return None
    return next((convention for convention in CONVENTIONS if convention.claims(view)), None)


def read(view: SpanView) -> Reading | None:
    """What a span says; None for one that is not of an AI library, or no part of a conversation."""
    convention = convention_of(view)
    return None if convention is None else convention.read(view)


def content_hint(view: SpanView) -> str | None:
    """What to set so that spans like this one carry texts, as one writes it; None for a span of no known library."""
    return switches.content(view) if convention_of(view) else None
