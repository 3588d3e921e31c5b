"""Metrics of our own: spans by what the service took, and the ledger."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from support import child, lifecycle

from mlsdk.config import Connection
from mlsdk.local import LocalMindlytics
from mlsdk_otel.metrics import Component, Instruments, Tally, server_of

CONNECTION = Connection(api_key="k", project_id="p", server_endpoint="https://host", wss_endpoint="wss://host")


def points(reader: InMemoryMetricReader) -> dict[str, list[tuple[Any, dict[str, Any]]]]:
    data = reader.get_metrics_data()
    return {
        metric.name: [(point.value, dict(point.attributes or {})) for point in metric.data.data_points]  # type: ignore[union-attr]
        for resource in (data.resource_metrics if data else [])
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def test_spans_are_counted_when_they_have_arrived() -> None:
    reader = InMemoryMetricReader()
    instruments = Instruments(MeterProvider([reader]).get_meter("test"))
    component = Component(instruments, "mindlytics_span_exporter", CONNECTION)
    second = Component(instruments, "mindlytics_span_exporter", CONNECTION)
    for _ in range(3):
        component.begin()
    component.end(True)
    component.end(False)
    where = {
        "otel.component.type": "mindlytics_span_exporter",
        "otel.component.name": "mindlytics_span_exporter/0",
        "server.address": "host",
        "server.port": 443,
    }
    found = points(reader)
    assert found["otel.sdk.exporter.span.inflight"] == [(1, where)]
    assert found["otel.sdk.exporter.span.exported"] == [(1, where), (1, {**where, "error.type": "rejected"})]
    second.begin()
    assert "mindlytics_span_exporter/1" in str(points(reader))


def test_the_ledger_is_observed_by_reason_and_project() -> None:
    reader = InMemoryMetricReader()
    instruments = Instruments(MeterProvider([reader]).get_meter("test"))

    class Ledger:
        def stats(self) -> Any:
            return {"accepted": 7, "delivered": 4, "queued": 1, "dropped": {"refused": 2}, "span_dropped_events": 5}

    instruments.watch(CONNECTION, Ledger())
    instruments.watch_also(CONNECTION, Ledger())  # one project at one address is one ledger
    where = {"mindlytics.project.id": "p", "server.address": "host", "server.port": 443}
    found = points(reader)
    assert found["mindlytics.delivery.accepted"] == [(7, where)]
    assert found["mindlytics.delivery.delivered"] == [(4, where)]
    assert found["mindlytics.delivery.queued"] == [(1, where)]
    assert found["mindlytics.delivery.dropped"] == [(2, {**where, "reason": "refused"})]
    assert found["mindlytics.translation.span_dropped_events"] == [(5, where)]


@pytest.mark.parametrize(
    ("address", "server", "port"),
    [("http://h", "h", 80), ("https://h:1234/x", "h", 1234), ("https://[::1]", "::1", 443)],
)
def test_where_a_connection_leads(address: str, server: str, port: int) -> None:
    found = server_of(Connection(api_key="", project_id="", server_endpoint=address, wss_endpoint=""))
    assert found == {"server.address": server, "server.port": port}


@pytest.mark.parametrize(("outcomes", "verdict"), [([], True), ([True, True], True), ([True, False, True], False)])
def test_a_tally_tells_once(outcomes: list[bool], verdict: bool) -> None:
    told: list[bool] = []
    tally = Tally(len(outcomes), told.append)
    for outcome in outcomes:
        assert told == []
        tally(outcome)
    assert told == [verdict]


def test_a_tally_tells_once_whatever_the_threads() -> None:
    told: list[bool] = []
    tally = Tally(4000, told.append)
    threads = [threading.Thread(target=lambda: [tally(True) for _ in range(1000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == [True]


@pytest.mark.parametrize("reader", ["exporter", "processor"])
def test_a_meter_provider_that_is_set_later_sees_all_of_it(shared_service: LocalMindlytics, reader: str) -> None:
    done = child.run(
        """
        import sys, time
        from mlsdk_otel import MindlyticsSpanExporter, MindlyticsSpanProcessor
        from opentelemetry import metrics
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        provider = TracerProvider()
        if sys.argv[1] == "exporter":
            provider.add_span_processor(BatchSpanProcessor(MindlyticsSpanExporter()))
        else:
            provider.add_span_processor(MindlyticsSpanProcessor())
        reader = InMemoryMetricReader()
        metrics.set_meter_provider(MeterProvider([reader]))
        span = provider.get_tracer("app").start_span("mindlytics.session", attributes={"mindlytics.device.id": "d"})
        span.end()
        provider.force_flush()
        for _ in range(600):  # a flush has waited for delivery, perhaps not for what is counted after it
            found = [
                f"{metric.name} {point.value}"
                for resource in reader.get_metrics_data().resource_metrics
                for scope in resource.scope_metrics
                for metric in scope.metrics
                for point in metric.data.data_points
            ]
            if "otel.sdk.exporter.span.inflight 0" in found:
                break
            time.sleep(0.05)
        print(*found, sep="\\n")
        """,
        reader,
        env=lifecycle.address(shared_service),
        flags=["-W", "error"],
    )
    assert done.stderr == ""
    printed = done.stdout.splitlines()
    for line in (
        "otel.sdk.exporter.span.exported 1",
        "otel.sdk.exporter.span.inflight 0",
        "mindlytics.delivery.accepted 2",
        "mindlytics.delivery.delivered 2",
        "mindlytics.delivery.queued 0",
    ):
        assert line in printed
