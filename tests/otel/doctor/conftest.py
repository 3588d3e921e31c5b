"""A set-up in order, to be spoilt in one place by each test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mlsdk.doctor.findings import Finding, Level
from mlsdk_otel.doctor.checks import examine
from mlsdk_otel.doctor.facts import Facts, Processor, Provider

GOOD = Facts(
    variables={
        "OTEL_TRACES_EXPORTER": "mindlytics",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
    },
    installed={"opentelemetry-instrumentation": "0.66b1", "uvicorn": "0.30"},
    exporters={"traces": frozenset({"mindlytics"}), "metrics": frozenset(), "logs": frozenset({"mindlytics"})},
    distros=("distro",),
    conflicts=(),
    provider=Provider(
        "TracerProvider",
        sampler="ParentBased{root:AlwaysOnSampler,...}",
        processors=(Processor("BatchSpanProcessor", "MindlyticsSpanExporter", is_ours=True),),
    ),
    is_zero_code=True,
)

Complaints = Callable[..., list[Finding]]


@pytest.fixture
def complaints() -> Complaints:
    """What is not fine when some facts are others; `variables` and `installed` come on top of the good ones."""

    def complaints(**changes: Any) -> list[Finding]:
        merged = {
            name: {**getattr(GOOD, name), **value} if name in ("variables", "installed") else value
            for name, value in changes.items()
        }
        return [finding for finding in examine(replace(GOOD, **merged)) if finding.level is not Level.FINE]

    return complaints
