"""Judges how OpenTelemetry is set up in a process: exporters, provider, sampler, limits, ways to fork. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from mlsdk.doctor.findings import Finding, fine, problem, warning
from mlsdk_otel.attributes import MAX_SINGLE_VALUES
from mlsdk_otel.doctor import clients
from mlsdk_otel.doctor.facts import Facts

NAME: Final = "mindlytics"
"""By which OpenTelemetry finds our exporters."""
SIGNALS: Final = {"traces": "OTEL_TRACES_EXPORTER", "metrics": "OTEL_METRICS_EXPORTER", "logs": "OTEL_LOGS_EXPORTER"}
_PROTOCOLS: Final = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}
_OTLP_PACKAGES: Final = {
    "otlp_proto_grpc": "opentelemetry-exporter-otlp-proto-grpc",
    "otlp_proto_http": "opentelemetry-exporter-otlp-proto-http",
}
_LIMITS: Final = (
    "OTEL_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT",
    "OTEL_SPAN_EVENT_COUNT_LIMIT",
    "OTEL_SPAN_LINK_COUNT_LIMIT",
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT",
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT",
)
_LENGTHS: Final = tuple(name for name in _LIMITS if name.endswith("LENGTH_LIMIT"))
_OWN_ATTRIBUTES: Final = MAX_SINGLE_VALUES + 16
"""That a span or event of ours may have: the values of the caller, and ours beside them."""
_EVENTS: Final = 16
"""Below so many events a span is hardly worth its own cost."""

Check = Callable[[Facts], Iterator[Finding]]


def examine(facts: Facts) -> list[Finding]:
    """All findings, in the order in which they are best cured."""
    return [finding for check in CHECKS for finding in check(facts)]


# -- variables --------------------------------------------------------------------------------------------------------


def switch(facts: Facts) -> Iterator[Finding]:
    """OpenTelemetry as a whole."""
    if facts.text("OTEL_SDK_DISABLED").lower() == "true":
        yield problem("OpenTelemetry", "OTEL_SDK_DISABLED is true: there are no spans", "unset OTEL_SDK_DISABLED")


def own_variables(facts: Facts) -> Iterator[Finding]:
    """Ours that only this road reads."""
    delivery = facts.text("MLSDK_OTEL_DELIVERY")
    if delivery and delivery not in ("direct", "otel"):
        yield problem("settings", f"MLSDK_OTEL_DELIVERY is {delivery!r}", "export MLSDK_OTEL_DELIVERY=direct, or =otel")
    for variable in ("MLSDK_OTEL_PROCESSOR", "MLSDK_CAPTURE_CONTENT"):
        value = facts.text(variable).lower()
        if value and not facts.is_true(variable) and value not in ("false", "0", "no", "off"):
            yield problem("settings", f"{variable} is {value!r}", f"export {variable}=true, or =false")


def _is_configured_by_file(facts: Facts) -> bool:
    return bool(facts.text("OTEL_CONFIG_FILE"))


def file(facts: Facts) -> Iterator[Finding]:
    """A declarative configuration file."""
    if not _is_configured_by_file(facts):
        return
    if "opentelemetry-configuration" not in facts.installed:
        yield problem(
            "configuration file",
            "OTEL_CONFIG_FILE is set, and what reads it is not installed: nothing is set up",
            "pip install opentelemetry-configuration",
        )
    elif NAME in facts.names("OTEL_TRACES_EXPORTER"):
        yield warning(
            "configuration file",
            "OTEL_TRACES_EXPORTER is not read where OTEL_CONFIG_FILE is set",
            f"name the exporter {NAME} in the file, under tracer_provider.processors",
        )


def distro(facts: Facts) -> Iterator[Finding]:
    """Who configures OpenTelemetry in zero code."""
    if NAME in facts.names("OTEL_TRACES_EXPORTER") + facts.names("OTEL_LOGS_EXPORTER") and not facts.distros:
        yield problem(
            "zero code",
            "no distro of OpenTelemetry is installed, so `opentelemetry-instrument` sets nothing up",
            "pip install 'mlsdk-otel[otel]'",
        )
    elif len(facts.distros) > 1 and not facts.text("OTEL_PYTHON_DISTRO"):
        yield warning(
            "zero code",
            f"several distros are installed ({', '.join(facts.distros)}); which one works is a matter of luck",
            f"export OTEL_PYTHON_DISTRO={facts.distros[0]}, or another of them",
        )


def exporters(facts: Facts) -> Iterator[Finding]:
    """Exporters that are named and not there: one of them missing, and zero code sets up nothing at all."""
    is_meant = facts.is_zero_code or bool(facts.text("OTEL_TRACES_EXPORTER"))
    if not is_meant or _is_configured_by_file(facts):
        return
    for signal, variable in SIGNALS.items():
        # opentelemetry-distro exports what nobody named to a collector, by gRPC.
        names = facts.names(variable) or (["otlp"] if facts.distros else [])
        is_default = not facts.names(variable)
        for name in names:
            looked_for = _entry_point(facts, name, signal)
            if name == "none" or looked_for in facts.exporters.get(signal, frozenset()):
                continue
            told = f"{variable} is not set, which means otlp," if is_default else f"{variable} names {name},"
            package = _OTLP_PACKAGES.get(looked_for)
            cure = f"export {variable}={NAME if signal == 'traces' else 'none'}"
            if package is not None:
                cure += f", or pip install {package}"
            yield problem(
                "exporters",
                f"{told} and {looked_for} is not installed: nothing at all is set up under opentelemetry-instrument",
                cure,
            )


def _entry_point(facts: Facts, name: str, signal: str) -> str:
    if name != "otlp":
        return name
    protocol = facts.text(f"OTEL_EXPORTER_OTLP_{signal.upper()}_PROTOCOL") or facts.text("OTEL_EXPORTER_OTLP_PROTOCOL")
    return _PROTOCOLS.get(protocol or "grpc", f"otlp by {protocol!r}")


# -- the provider -----------------------------------------------------------------------------------------------------


def provider(facts: Facts) -> Iterator[Finding]:
    """Whether spans come to us."""
    found = facts.provider
    if not found.is_set:
        yield warning(
            "provider",
            "no tracer provider is set in this process, so the rest of this check is about variables and packages",
            "run `opentelemetry-instrument python -m mlsdk_otel doctor`, or name the module that sets your provider: "
            "--import MODULE",
        )
        return
    if not found.is_sdk or found.processors is None:
        yield warning(
            "provider",
            f"the tracer provider is a {found.kind}, which cannot be looked into",
            "see to it that it has a MindlyticsSpanProcessor",
        )
        return
    if not any(processor.is_ours for processor in found.processors):
        others = ", ".join(processor.exporter or processor.kind for processor in found.processors) or "nothing"
        yield problem(
            "provider",
            f"the tracer provider has no processor or exporter of Mindlytics (it has {others})",
            "call mlsdk_otel.configure() once the provider is set, or export OTEL_TRACES_EXPORTER=mindlytics",
        )
        return
    yield fine("provider", f"{found.kind} with {_shown(facts)}")
    if any(processor.is_ours and processor.is_simple for processor in found.processors):
        yield warning(
            "provider",
            "a SimpleSpanProcessor exports on the thread of your program, in its event loop too",
            "call mlsdk_otel.configure(), or use a BatchSpanProcessor",
        )


def _shown(facts: Facts) -> str:
    processors = facts.provider.processors or ()
    return ", ".join(each.exporter or each.kind for each in processors if each.is_ours)


_RATIO: Final = re.compile(r"TraceIdRatioBased\{([\d.e-]+)\}")


def sampler(facts: Facts) -> Iterator[Finding]:
    """Whether every conversation is sampled."""
    told = facts.provider.sampler if facts.provider.is_set else facts.text("OTEL_TRACES_SAMPLER")
    cure = "export OTEL_TRACES_SAMPLER=parentbased_always_on; a sampler of your own must return RECORD_AND_SAMPLE"
    ratio = _RATIO.search(told)
    share = float(ratio[1]) if ratio is not None else _share(facts, told)
    if told.startswith(("AlwaysOffSampler", "ParentBased{root:AlwaysOffSampler")) or told in (
        "always_off",
        "parentbased_always_off",
    ):
        yield problem("sampler", f"{told}: no span is recorded", cure)
    elif share is not None and share < 1:
        yield warning("sampler", f"{told}: {share:.1%} of the conversations are recorded", cure)
    elif told:
        yield fine("sampler", told)


def _share(facts: Facts, sampler: str) -> float | None:
    if sampler not in ("traceidratio", "parentbased_traceidratio"):
        return None
    try:
        return float(facts.text("OTEL_TRACES_SAMPLER_ARG") or "1")
    except ValueError:
        return 1.0  # OpenTelemetry warns, and takes all


def limits(facts: Facts) -> Iterator[Finding]:
    """What spans lose silently."""
    for variable in _LIMITS:
        value = facts.text(variable)
        if value and not value.isdecimal():
            yield problem(
                "limits", f"{variable} is {value!r}: no provider can be made", f"export {variable}=<a number>, or unset"
            )
    found = facts.provider
    cuts = found.cuts or next((name for name in _LENGTHS if facts.text(name).isdecimal()), "")
    if cuts:
        yield problem(
            "limits",
            f"{cuts} shortens texts, and nobody is told",
            "unset OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT and OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT, "
            "and give SpanLimits no max_attribute_length",
        )
    for what, limit, least, variable in (
        ("events of a span", found.events, _EVENTS, "OTEL_SPAN_EVENT_COUNT_LIMIT"),
        ("attributes of a span", found.attributes, _OWN_ATTRIBUTES, "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"),
        ("attributes of an event", found.event_attributes, _OWN_ATTRIBUTES, "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT"),
    ):
        if found.is_set and limit is not None and limit < least:
            yield warning("limits", f"{what}: {limit} are kept, the rest is dropped silently", f"export {variable}=128")


# -- processes --------------------------------------------------------------------------------------------------------


def processes(facts: Facts) -> Iterator[Finding]:
    """Servers whose workers need something."""
    if not facts.has_fork:
        return
    for name in ("uwsgi", "pyuwsgi"):
        if name in facts.installed:
            yield warning(
                "workers",
                f"{name} {facts.installed[name]} is installed: its workers run no threads by default, and events are "
                "sent by one",
                "start uwsgi with --enable-threads (and --lazy-apps)",
            )
    if "eventlet" in facts.installed and "gunicorn" in facts.installed:
        yield warning(
            "workers",
            "eventlet is installed: under its patches the sender's thread is none",
            "use gunicorn's gthread, gevent or uvicorn workers",
        )
    version = facts.installed.get("opentelemetry-instrumentation", "")
    minor = re.match(r"0\.(\d+)", version)
    if "uvicorn" in facts.installed and minor is not None and int(minor[1]) < 63:
        yield warning(
            "workers",
            f"opentelemetry-instrumentation {version} does not reach the workers that uvicorn starts",
            "pip install 'opentelemetry-instrumentation>=0.63b0', or run uvicorn below gunicorn",
        )


CHECKS: Final[tuple[Check, ...]] = (
    switch,
    own_variables,
    file,
    distro,
    exporters,
    provider,
    sampler,
    limits,
    clients.conflicts,
    clients.switched_off,
    clients.instrumentations,
    clients.content,
    processes,
)
