"""Gathers the facts that the checks judge: packages, variables, the tracer provider. It changes nothing."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from mlsdk_otel.config import what_cuts_texts
from mlsdk_otel.doctor.checks import SIGNALS
from mlsdk_otel.doctor.facts import Conflict, Facts, Processor, Provider
from mlsdk_otel.exporter import MindlyticsSpanExporter
from mlsdk_otel.processor import MindlyticsSpanProcessor

_LAUNCHER: Final = "auto_instrumentation"
"""The folder whose `sitecustomize` the launcher puts before all others."""


def gather(environ: Mapping[str, str], *, tracer_provider: object | None = None) -> Facts:
    """All facts of this process.

    Args:
        environ: The variables to judge.
        tracer_provider: The provider to look at; default the global one.
    """
    return Facts(
        variables=environ,
        installed=_installed(),
        exporters={signal: _names(f"opentelemetry_{signal}_exporter") for signal in SIGNALS},
        distros=tuple(sorted(_names("opentelemetry_distro"))),
        conflicts=tuple(_conflicts()),
        provider=look_at(trace.get_tracer_provider() if tracer_provider is None else tracer_provider),
        is_zero_code=_is_zero_code(),
        has_fork=hasattr(os, "fork"),
    )


def _installed() -> dict[str, str]:
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        # A broken installation may have no name.
        name: str | None = distribution.metadata["Name"]
        if name:
            found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), distribution.version)
    return found


def _names(group: str) -> frozenset[str]:
    return frozenset(each.name for each in metadata.entry_points(group=group))


def _conflicts() -> Iterator[Conflict]:
    """As zero code finds them, by its own function; without that package nothing is instrumented anyway."""
    try:
        from opentelemetry.instrumentation.dependencies import get_dist_dependency_conflicts
    except ImportError:
        return
    for entry in metadata.entry_points(group="opentelemetry_instrumentor"):
        conflict: Any = None if entry.dist is None else get_dist_dependency_conflicts(entry.dist)
        if conflict is None:
            continue
        found = conflict.found or ", ".join(map(str, conflict.found_any or ()))
        wanted = conflict.required or ", ".join(map(str, conflict.required_any or ()))
        if found and entry.dist is not None:  # not there at all: nothing to instrument
            yield Conflict(entry.dist.name, str(wanted).partition(";")[0].strip(), str(found))


def _is_zero_code() -> bool:
    loaded = getattr(sys.modules.get("sitecustomize"), "__file__", None) or ""
    return _LAUNCHER in loaded or _LAUNCHER in os.environ.get("PYTHONPATH", "")


def look_at(provider: object) -> Provider:
    """What a tracer provider is and has."""
    kind = type(provider).__name__
    if isinstance(provider, trace.ProxyTracerProvider):
        return Provider(kind, is_set=False, is_sdk=False, processors=None)
    if not isinstance(provider, TracerProvider):
        return Provider(kind, is_sdk=False, processors=None)
    # The SDK keeps limits and processors in private attributes; without these they are unknown, which is no finding.
    limits: Any = getattr(provider, "_span_limits", None)
    processors = getattr(getattr(provider, "_active_span_processor", None), "_span_processors", None)
    return Provider(
        kind,
        sampler=provider.sampler.get_description(),
        processors=None if processors is None else tuple(map(_processor, processors)),
        cuts=what_cuts_texts(limits),
        events=getattr(limits, "max_events", None),
        attributes=getattr(limits, "max_span_attributes", None),
        event_attributes=getattr(limits, "max_event_attributes", None),
    )


def _processor(processor: object) -> Processor:
    exporter = getattr(processor, "span_exporter", None)
    return Processor(
        kind=type(processor).__name__,
        exporter="" if exporter is None else type(exporter).__name__,
        is_ours=isinstance(processor, MindlyticsSpanProcessor) or isinstance(exporter, MindlyticsSpanExporter),
        is_simple=isinstance(processor, SimpleSpanProcessor),
    )
