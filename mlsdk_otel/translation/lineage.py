"""What stands above a span: the spans around it, anybody's, as far as they have been seen; bounded. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from mlsdk_otel.translation.conventions import identity
from mlsdk_otel.translation.facts import Identity
from mlsdk_otel.translation.spanview import Attributes

MAX_SPANS: Final = 10_000
"""Spans that are remembered; the oldest are forgotten first."""
_MAX_DEPTH: Final = 200
"""Spans above one another, at most: ids may go round in a circle."""


class Link(NamedTuple):
    """What is kept of a span for those below it.

    Attributes:
        is_root: It has no parent in this process.
        attributes: Those that may name ids; None where none does.
        is_native: It is a session or conversation of ours: the application tells its turns itself.
        is_enclosure: It is an agent, a chain, a workflow.
        is_call: It is a model call.
    """

    trace_id: int
    span_id: int
    parent_id: int | None
    is_root: bool
    attributes: Attributes | None = None
    is_native: bool = False
    is_enclosure: bool = False
    is_call: bool = False


class Lineage:
    """Spans by their ids."""

    def __init__(self, max_spans: int = MAX_SPANS) -> None:
        """Knows none."""
        self._max = max_spans
        self._links: OrderedDict[int, Link] = OrderedDict()

    def __len__(self) -> int:
        """How many spans are remembered."""
        return len(self._links)

    def add(self, links: Iterable[Link]) -> None:
        """Remembers spans."""
        for link in links:
            self._links[link.span_id] = link
        while len(self._links) > self._max:
            self._links.popitem(last=False)

    def above(self, trace_id: int, parent_id: int | None) -> Iterator[Link]:
        """The spans around one with this parent, the nearest first."""
        for _ in range(_MAX_DEPTH):
            link = None if parent_id is None else self._links.get(parent_id)
            if link is None or link.trace_id != trace_id:
                return
            yield link
            parent_id = link.parent_id


def filled(said: Identity, further: Iterable[Identity]) -> Identity:
    """Ids, with those that are missing from further ones; of another session nothing is taken."""
    for other in further:
        if other is identity.NOBODY or (
            said.session_id is not None and other.session_id not in (None, said.session_id)
        ):
            continue
        said = Identity(
            said.session_id or other.session_id,
            said.conversation_id or other.conversation_id,
            said.user_id or other.user_id,
            said.device_id or other.device_id,
        )
    return said
