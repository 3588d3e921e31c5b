"""What this package says of itself by OpenTelemetry metrics, wherever a meter provider is.

Instruments are made on the global meter, which may still be without a provider: they begin to record when one is set.
Spans are counted by what the service took, not by what was offered to the sender.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol
from urllib.parse import urlsplit

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Meter, Observation

from mlsdk.config import Connection
from mlsdk.delivery.buffer import Stats

Attributes = Mapping[str, str | int]

_LEDGER_TOTALS: Final = {
    "accepted": "Events handed over for delivery, before before_send.",
    "recovered": "Events read back from a spool.",
    "delivered": "Events that the service took.",
}
_LEDGER_LEVELS: Final = {
    "queued": "Events in memory, in flight included.",
    "spooled": "Events on disk and not in memory.",
    "handed_over": "Events left for another process.",
}
_LOSSES: Final = {
    "late": "Spans that came after the end of their session; their events were sent.",
    "unreadable_spans": "Spans that could not be translated.",
    "unreadable_events": "Events of spans that make no sense.",
    "unreadable_values": "Values that the wire cannot hold.",
    "span_dropped_events": "Events that limits of the OpenTelemetry SDK dropped before they could be read.",
    "span_dropped_attributes": "Attributes likewise.",
}


class Ledger(Protocol):
    """Something with a ledger: a delivery, or a bridge."""

    def stats(self) -> Stats:
        """The ledger at this moment."""


class Tally:
    """Tells when everything that one span stands for is settled. Called from any thread."""

    __slots__ = ("_done", "_has_failed", "_left")

    def __init__(self, pieces: int, done: Callable[[bool], None]) -> None:
        self._done = done
        self._has_failed = False
        self._left = list(range(pieces))
        if not pieces:
            done(True)

    def __call__(self, delivered: bool) -> None:
        """One event is settled."""
        if not delivered:
            self._has_failed = True
        if self._left.pop() == 0:  # exactly one caller gets the last one, without a lock
            self._done(not self._has_failed)


class Component:
    """Counts the spans of one exporter or processor."""

    def __init__(self, instruments: Instruments, kind: str, connection: Connection) -> None:
        self._instruments = instruments
        number = next(instruments.numbers.setdefault(kind, itertools.count()))
        self._attributes: Attributes = {
            "otel.component.type": kind,
            "otel.component.name": f"{kind}/{number}",
            **server_of(connection),
        }

    def begin(self) -> None:
        """A span is on its way."""
        self._instruments.inflight.add(1, self._attributes)

    def end(self, delivered: bool) -> None:
        """It has arrived, or will not."""
        self._instruments.inflight.add(-1, self._attributes)
        failed = {} if delivered else {"error.type": "rejected"}
        self._instruments.exported.add(1, {**self._attributes, **failed})


class Instruments:
    """All instruments of this package, on one meter."""

    def __init__(self, meter: Meter) -> None:
        self.numbers: dict[str, itertools.count[int]] = {}
        self.exported = meter.create_counter(
            "otel.sdk.exporter.span.exported", unit="{span}", description="Spans whose export has finished."
        )
        self.inflight = meter.create_up_down_counter(
            "otel.sdk.exporter.span.inflight", unit="{span}", description="Spans that are being exported."
        )
        self._ledgers: dict[Connection, Ledger] = {}
        for name, description in {**_LEDGER_TOTALS, "dropped": "Events gone for good, by reason."}.items():
            meter.create_observable_counter(
                f"mindlytics.delivery.{name}", [self._observer(name)], unit="{event}", description=description
            )
        for name, description in _LEDGER_LEVELS.items():
            meter.create_observable_up_down_counter(
                f"mindlytics.delivery.{name}", [self._observer(name)], unit="{event}", description=description
            )
        for name, description in _LOSSES.items():
            meter.create_observable_counter(
                f"mindlytics.translation.{name}", [self._observer(name)], unit="1", description=description
            )

    def watch(self, connection: Connection, ledger: Ledger) -> None:
        """Shows a ledger from now on, instead of one of the same connection."""
        self._ledgers[connection] = ledger

    def watch_also(self, connection: Connection, ledger: Ledger) -> None:
        """Shows a ledger unless one of the same connection is shown."""
        self._ledgers.setdefault(connection, ledger)

    def _observer(self, name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(options: CallbackOptions) -> Iterable[Observation]:
            found: list[Observation] = []
            for connection, ledger in list(self._ledgers.items()):
                where: Attributes = {"mindlytics.project.id": connection.project_id, **server_of(connection)}
                value: object = dict(ledger.stats()).get(name)
                if isinstance(value, Mapping):
                    found += [Observation(count, {**where, "reason": reason}) for reason, count in value.items()]
                elif isinstance(value, int):
                    found.append(Observation(value, where))
            return found

        return observe


def server_of(connection: Connection) -> Attributes:
    """Where a connection leads to, as attributes."""
    parts = urlsplit(connection.server_endpoint)
    return {
        "server.address": parts.hostname or "",
        "server.port": parts.port or (443 if parts.scheme == "https" else 80),
    }


_lock: Final = threading.RLock()
_instruments: list[Instruments] = []


def instruments() -> Instruments:
    """Those of this process, on the global meter; made when they are first wanted."""
    if not _instruments:
        with _lock:
            if not _instruments:
                _instruments.append(Instruments(metrics.get_meter("mlsdk_otel")))
    return _instruments[0]
