"""How OpenTelemetry is set up, judged from plain facts; real processes are in `test_collecting`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mlsdk.doctor.findings import Finding, Level
from mlsdk_otel.doctor.facts import Processor, Provider

Complaints = Callable[..., list[Finding]]
OURS = Processor("MindlyticsSpanProcessor", is_ours=True)


def only(found: list[Finding], level: Level, check: str) -> Finding:
    (finding,) = found
    assert (finding.level, finding.check) == (level, check), finding
    assert finding.cure
    return finding


def test_nothing_is_wrong_with_a_good_set_up(complaints: Complaints) -> None:
    assert complaints() == []


def test_opentelemetry_is_switched_off(complaints: Complaints) -> None:
    finding = only(complaints(variables={"OTEL_SDK_DISABLED": "true"}), Level.PROBLEM, "OpenTelemetry")
    assert finding.cure == "unset OTEL_SDK_DISABLED"


@pytest.mark.parametrize(
    ("variable", "value"),
    [("MLSDK_OTEL_DELIVERY", "otlp"), ("MLSDK_OTEL_PROCESSOR", "jes"), ("MLSDK_CAPTURE_CONTENT", "some")],
)
def test_a_setting_that_cannot_be_used(complaints: Complaints, variable: str, value: str) -> None:
    found = [finding for finding in complaints(variables={variable: value}) if finding.check == "settings"]
    assert f"export {variable}=" in only(found, Level.PROBLEM, "settings").cure


# -- zero code --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"OTEL_METRICS_EXPORTER": ""}, "OTEL_METRICS_EXPORTER is not set, which means otlp"),
        ({"OTEL_METRICS_EXPORTER": "otlp"}, "otlp_proto_grpc is not installed"),
        ({"OTEL_METRICS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, "otlp_proto_http is not"),
        ({"OTEL_METRICS_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL": "smoke"}, "otlp by 'smoke' is not"),
        ({"OTEL_METRICS_EXPORTER": "prometheus"}, "OTEL_METRICS_EXPORTER names prometheus"),
    ],
)
def test_an_exporter_that_is_not_there(complaints: Complaints, variables: dict[str, str], told: str) -> None:
    finding = only(complaints(variables=variables), Level.PROBLEM, "exporters")
    assert told in finding.text
    assert finding.cure.startswith("export OTEL_METRICS_EXPORTER=none")


def test_the_traces_exporter_is_ours_by_cure(complaints: Complaints) -> None:
    finding = only(complaints(variables={"OTEL_TRACES_EXPORTER": "mindlytic"}), Level.PROBLEM, "exporters")
    assert finding.cure == "export OTEL_TRACES_EXPORTER=mindlytics"


def test_exporters_are_no_business_of_a_program_that_sets_itself_up(complaints: Complaints) -> None:
    assert complaints(is_zero_code=False, variables={"OTEL_TRACES_EXPORTER": "", "OTEL_METRICS_EXPORTER": ""}) == []


def test_no_distro(complaints: Complaints) -> None:
    finding = only(complaints(distros=()), Level.PROBLEM, "zero code")
    assert finding.cure == "pip install 'mlsdk-otel[otel]'"


def test_several_distros(complaints: Complaints) -> None:
    finding = only(complaints(distros=("aws_distro", "distro")), Level.WARNING, "zero code")
    assert "export OTEL_PYTHON_DISTRO=aws_distro" in finding.cure
    assert complaints(distros=("aws_distro", "distro"), variables={"OTEL_PYTHON_DISTRO": "distro"}) == []


def test_a_configuration_file_that_nobody_reads(complaints: Complaints) -> None:
    finding = only(complaints(variables={"OTEL_CONFIG_FILE": "otel.yaml"}), Level.PROBLEM, "configuration file")
    assert finding.cure == "pip install opentelemetry-configuration"


def test_a_configuration_file_beside_the_variable(complaints: Complaints) -> None:
    found = complaints(variables={"OTEL_CONFIG_FILE": "x"}, installed={"opentelemetry-configuration": "0.66b1"})
    assert "name the exporter mindlytics in the file" in only(found, Level.WARNING, "configuration file").cure


# -- the provider -----------------------------------------------------------------------------------------------------


def provider(**changes: Any) -> dict[str, Provider]:
    return {"provider": Provider("TracerProvider", **{"processors": (OURS,), "sampler": "AlwaysOnSampler", **changes})}


def test_no_provider_yet(complaints: Complaints) -> None:
    found = complaints(provider=Provider("ProxyTracerProvider", is_set=False, is_sdk=False, processors=None))
    assert "opentelemetry-instrument python -m mlsdk_otel doctor" in only(found, Level.WARNING, "provider").cure


def test_a_provider_of_somebody_else(complaints: Complaints) -> None:
    found = complaints(provider=Provider("TheirProvider", is_sdk=False, processors=None))
    assert "TheirProvider" in only(found, Level.WARNING, "provider").text


def test_a_provider_that_knows_nothing_of_us(complaints: Complaints) -> None:
    others = (Processor("BatchSpanProcessor", "OTLPSpanExporter"),)
    finding = only(complaints(**provider(processors=others)), Level.PROBLEM, "provider")
    assert "it has OTLPSpanExporter" in finding.text
    assert "mlsdk_otel.configure()" in finding.cure


def test_a_processor_that_exports_on_the_callers_thread(complaints: Complaints) -> None:
    simple = Processor("SimpleSpanProcessor", "MindlyticsSpanExporter", is_ours=True, is_simple=True)
    finding = only(complaints(**provider(processors=(simple,))), Level.WARNING, "provider")
    assert "BatchSpanProcessor" in finding.cure


@pytest.mark.parametrize(
    ("description", "level", "told"),
    [
        ("AlwaysOffSampler", Level.PROBLEM, "no span is recorded"),
        ("ParentBased{root:AlwaysOffSampler,remoteParentSampled:AlwaysOnSampler}", Level.PROBLEM, "no span"),
        ("TraceIdRatioBased{0.1}", Level.WARNING, "10.0% of the conversations"),
        ("ParentBased{root:TraceIdRatioBased{0.25},remoteParentSampled:x}", Level.WARNING, "25.0%"),
        ("ParentBased{root:TraceIdRatioBased{1.0},remoteParentNotSampled:AlwaysOffSampler}", None, ""),
        ("ParentBased{root:AlwaysOnSampler,remoteParentNotSampled:AlwaysOffSampler}", None, ""),
        ("TheirSampler", None, ""),
    ],
)
def test_a_sampler(complaints: Complaints, description: str, level: Level | None, told: str) -> None:
    found = complaints(**provider(sampler=description))
    if level is None:
        assert found == []
        return
    finding = only(found, level, "sampler")
    assert told in finding.text
    assert "OTEL_TRACES_SAMPLER=parentbased_always_on" in finding.cure


@pytest.mark.parametrize(
    ("sampler", "argument", "level"),
    [
        ("always_off", "", Level.PROBLEM),
        ("traceidratio", "0.5", Level.WARNING),
        ("parentbased_traceidratio", "", None),
        ("parentbased_traceidratio", "half", None),
        ("always_on", "", None),
    ],
)
def test_a_sampler_that_a_variable_names(
    complaints: Complaints, sampler: str, argument: str, level: Level | None
) -> None:
    found = complaints(
        provider=Provider("ProxyTracerProvider", is_set=False, is_sdk=False, processors=None),
        variables={"OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": argument},
    )
    assert [finding.level for finding in found if finding.check == "sampler"] == ([] if level is None else [level])


@pytest.mark.parametrize("value", ["-1", "many"])
def test_a_limit_that_no_provider_can_be_made_with(complaints: Complaints, value: str) -> None:
    finding = only(complaints(variables={"OTEL_SPAN_EVENT_COUNT_LIMIT": value}), Level.PROBLEM, "limits")
    assert finding.cure == "export OTEL_SPAN_EVENT_COUNT_LIMIT=<a number>, or unset"


def test_texts_that_are_shortened(complaints: Complaints) -> None:
    for found in (
        complaints(variables={"OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "1000"}),
        complaints(**provider(cuts="the provider's max_attribute_length")),
    ):
        assert "unset OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT" in only(found, Level.PROBLEM, "limits").cure


@pytest.mark.parametrize(
    ("limit", "variable"),
    [
        ("events", "OTEL_SPAN_EVENT_COUNT_LIMIT"),
        ("attributes", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT"),
        ("event_attributes", "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT"),
    ],
)
def test_limits_that_are_too_low(complaints: Complaints, limit: str, variable: str) -> None:
    assert only(complaints(**provider(**{limit: 10})), Level.WARNING, "limits").cure == f"export {variable}=128"
    assert complaints(**provider(**{limit: None})) == []


# -- processes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("installed", "cure"),
    [
        ({"uwsgi": "2.0.28"}, "--enable-threads"),
        ({"eventlet": "0.40", "gunicorn": "23.0"}, "gthread"),
        ({"opentelemetry-instrumentation": "0.60b1"}, "opentelemetry-instrumentation>=0.63b0"),
    ],
)
def test_workers_that_need_something(complaints: Complaints, installed: dict[str, str], cure: str) -> None:
    assert cure in only(complaints(installed=installed), Level.WARNING, "workers").cure
    assert complaints(installed=installed, has_fork=False) == []
