"""What the checks are told of a process: variables, installed packages, the tracer provider. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Processor:
    """A span processor of the provider.

    Attributes:
        kind: The name of its class.
        exporter: The name of its exporter's class; empty where it has none.
        is_ours: It is `MindlyticsSpanProcessor`, or its exporter is `MindlyticsSpanExporter`.
        is_simple: It exports on the thread of whoever ends a span.
    """

    kind: str
    exporter: str = ""
    is_ours: bool = False
    is_simple: bool = False


@dataclass(frozen=True, slots=True)
class Provider:
    """The tracer provider of this process.

    Attributes:
        kind: The name of its class.
        is_set: False for the stand-in that OpenTelemetry gives until somebody sets one.
        is_sdk: It is the OpenTelemetry SDK's, and can be looked into.
        sampler: The sampler's description of itself.
        processors: The processors, in order; None where they cannot be seen.
        cuts: What shortens texts; empty if nothing does.
        events: Events that a span holds, at most; None without limit. Likewise for attributes.
        attributes: Attributes of a span.
        event_attributes: Attributes of an event.
    """

    kind: str
    is_set: bool = True
    is_sdk: bool = True
    sampler: str = ""
    processors: tuple[Processor, ...] | None = ()
    cuts: str = ""
    events: int | None = 128
    attributes: int | None = 128
    event_attributes: int | None = 128


@dataclass(frozen=True, slots=True)
class Conflict:
    """An instrumentation that is skipped, since the library has another version than it wants."""

    instrumentation: str
    wanted: str
    found: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What was gathered.

    Attributes:
        variables: The environment. Secrets among it: judge, do not show.
        installed: Versions of the installed distributions, by normalized name (`-`, lower case).
        exporters: The exporters that can be found by name, by signal: traces, metrics, logs.
        distros: The distributions that would configure OpenTelemetry.
        conflicts: Instrumentations that do not fit.
        provider: The tracer provider.
        is_zero_code: Whether this process runs under `opentelemetry-instrument`.
        has_fork: Whether this system has it.
    """

    variables: Mapping[str, str] = field(repr=False)
    installed: Mapping[str, str]
    exporters: Mapping[str, frozenset[str]]
    distros: tuple[str, ...]
    conflicts: tuple[Conflict, ...]
    provider: Provider
    is_zero_code: bool
    has_fork: bool = True

    def text(self, variable: str) -> str:
        """The variable's value without white space around it; empty if it is not set."""
        return self.variables.get(variable, "").strip()

    def is_true(self, variable: str) -> bool:
        """Whether the variable says yes."""
        return self.text(variable).lower() in ("true", "1", "yes", "on")

    def names(self, variable: str) -> list[str]:
        """The comma-separated parts of a variable."""
        return [part.strip() for part in self.text(variable).split(",") if part.strip()]
