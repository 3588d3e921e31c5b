"""What OpenTelemetry's tools find in the metadata, and what the hook does that they call last."""

from __future__ import annotations

import json
import sys
from importlib import metadata

import pytest
from support import child

from mlsdk.local import LocalMindlytics

GROUPS = {
    "opentelemetry_traces_exporter": {"mindlytics": "mlsdk_otel.exporter:MindlyticsSpanExporter"},
    "opentelemetry_logs_exporter": {"mindlytics": "mlsdk_otel.exporter:MindlyticsLogRecordExporter"},
    "opentelemetry_instrumentor": {"mlsdk": "mlsdk_otel.instrumentation.instrumentor:MindlyticsInstrumentor"},
    "opentelemetry_post_instrument": {"mlsdk": "mlsdk_otel.entry_points:finish"},
}


@pytest.mark.wheel
def test_the_metadata_names_these_and_no_others() -> None:
    """No distro and no configurator: of several, the first one found would win."""
    found: dict[str, dict[str, str]] = {}
    for point in metadata.distribution("mlsdk-otel").entry_points:
        if point.group == "console_scripts":
            continue
        found.setdefault(point.group, {})[point.name] = point.value
    assert found == GROUPS


@pytest.mark.wheel
@pytest.mark.parametrize("group", GROUPS)
def test_each_can_be_loaded(group: str) -> None:
    for point in metadata.distribution("mlsdk-otel").entry_points.select(group=group):
        assert callable(point.load())


@pytest.mark.wheel
def test_the_instrumentation_needs_nothing_that_could_be_missing() -> None:
    """The tools look for an extra of this name before they load an instrumentation."""
    distribution = metadata.distribution("mlsdk-otel")
    assert "instruments" in (distribution.metadata.get_all("Provides-Extra") or [])
    assert [text for text in distribution.requires or [] if 'extra == "instruments"' in text] == []


# In a process of its own: a provider can be set once, and a signal's handler would be the test's own.
HOOK = """
    import json, signal, sys
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from mlsdk_otel import MindlyticsSpanExporter, entry_points

    class Provider(TracerProvider):
        added = []

        def add_span_processor(self, processor):
            self.added.append(type(processor).__name__)

    before = {before}
    if {is_set}:
        trace.set_tracer_provider(Provider())
    exporter = {exporter}
    entry_points.finish()
    handler = signal.getsignal(signal.SIGTERM)
    print(json.dumps([Provider.added, getattr(handler, "__module__", str(handler))]))
"""
OURS = "mlsdk_otel.entry_points"


def after_the_hook(
    service: LocalMindlytics,
    env: dict[str, str],
    *,
    before: str = "None",
    is_set: bool = True,
    exporter: str = "None",
) -> tuple[list[str], str, str]:
    """The processors that were added, whose SIGTERM's handler is, and what was said."""
    program = HOOK.format(before=before, is_set=is_set, exporter=exporter)
    result = child.run(program, env={**service.environment, **env})
    assert result.returncode == 0, result.stderr
    added, handler = json.loads(result.stdout)
    return added, handler, result.stderr.strip()


@pytest.fixture(scope="module")
def service() -> object:
    with LocalMindlytics() as running:
        yield running


@pytest.mark.parametrize("value", ["true", "1", "Yes"])
def test_the_processor_is_added_when_asked_for(service: LocalMindlytics, value: str) -> None:
    added, handler, said = after_the_hook(service, {"MLSDK_OTEL_PROCESSOR": value})
    assert (added, said) == (["MindlyticsSpanProcessor"], "")
    assert handler == OURS or sys.platform == "win32"


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"MLSDK_OTEL_PROCESSOR": ""},
        {"MLSDK_OTEL_PROCESSOR": "false"},
        {"MLSDK_OTEL_PROCESSOR": "true", "MLSDK_DISABLED": "true"},
        {"MLSDK_OTEL_PROCESSOR": "true", "OTEL_SDK_DISABLED": "true"},
    ],
)
def test_otherwise_nothing_is_touched(service: LocalMindlytics, env: dict[str, str]) -> None:
    assert after_the_hook(service, env) == ([], "signal", "")  # SIG_DFL


def test_a_value_that_makes_no_sense_is_one_line(service: LocalMindlytics) -> None:
    added, _, said = after_the_hook(service, {"MLSDK_OTEL_PROCESSOR": "maybe"})
    assert added == []
    assert said == "no processor was added: MLSDK_OTEL_PROCESSOR: must be true or false, not 'maybe'"


def test_a_provider_of_another_kind_is_one_line(service: LocalMindlytics) -> None:
    added, _, said = after_the_hook(service, {"MLSDK_OTEL_PROCESSOR": "true"}, is_set=False)
    assert added == []
    assert said == "no processor was added: the tracer provider is none of the OpenTelemetry SDK's"


@pytest.mark.skipif(sys.platform == "win32", reason="nobody sends SIGTERM there")
def test_an_exporter_is_reason_enough_to_mind_sigterm(service: LocalMindlytics) -> None:
    assert after_the_hook(service, {}, exporter="MindlyticsSpanExporter()")[1] == OURS


@pytest.mark.skipif(sys.platform == "win32", reason="nobody sends SIGTERM there")
@pytest.mark.parametrize("before", ["signal.signal(15, signal.SIG_IGN)", "signal.signal(15, print)"])
def test_a_handler_that_is_there_stays(service: LocalMindlytics, before: str) -> None:
    assert after_the_hook(service, {}, before=before, exporter="MindlyticsSpanExporter()")[1] != OURS


def test_nothing_escapes(service: LocalMindlytics) -> None:
    broken = "setattr(entry_points, 'add_processor', lambda: 1 / 0)"
    added, _, said = after_the_hook(service, {}, before=broken)
    assert added == []
    assert "the set-up could not be finished: ZeroDivisionError" in said
