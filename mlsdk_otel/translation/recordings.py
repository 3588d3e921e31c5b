"""Spans and log records that were written to a file, as views.

Read are the documents of OpenTelemetry's file and HTTP exporters (OTLP in JSON), what the SDK's console exporter
prints, and this project's own recordings (`{"spans": [...], "logs": [...]}`, with the fields of the SDK). Reading is
tolerant: what cannot be understood is left out.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Final

import orjson

from mlsdk_otel.translation.spanview import EventView, SpanView

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND: Final = timedelta(microseconds=1)
_MAX_DEPTH: Final = 50
_OBJECT: Final = re.compile(r"\{(?=\s*\")")

Document = Mapping[str, object]


def documents(text: str | bytes) -> list[Document]:
    """The JSON objects in a text: one, a list of them, one a line, or one after the other, with other text in between.

    Raises:
        ValueError: It holds no JSON.
    """
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return list(_one_after_the_other(text.decode("utf-8", "replace") if isinstance(text, bytes) else text))
    return [one for one in (found if isinstance(found, list) else [found]) if isinstance(one, Mapping)]


def views(found: Iterable[Document]) -> list[SpanView]:
    """The spans in documents, in their order, each with the log records that carry its ids."""
    spans: list[SpanView] = []
    logs: defaultdict[tuple[int, int], list[EventView]] = defaultdict(list)
    for document in found:
        spans += _spans(document)
        for ids, event in _logs(document):
            logs[ids].append(event)
    return [replace(span, logs=tuple(logs.pop((span.trace_id, span.span_id), ()))) for span in spans]


def _one_after_the_other(text: str) -> Iterator[Document]:
    decoder = json.JSONDecoder()
    place, is_any_json, problem = 0, False, None
    while (place := _next(text, place)) < len(text):
        try:
            found, place = decoder.raw_decode(text, place)
        except json.JSONDecodeError as error:
            # What a program prints is among what the console exporter prints.
            problem, place = problem or error, _next_object(text, place + 1)
            continue
        is_any_json = True
        if isinstance(found, Mapping):
            yield found
    if problem is not None and not is_any_json:
        raise problem


def _next(text: str, place: int) -> int:
    while place < len(text) and text[place] in " \t\r\n,":
        place += 1
    return place


def _next_object(text: str, place: int) -> int:
    found = _OBJECT.search(text, place)
    return len(text) if found is None else found.start()


def _spans(document: Document) -> Iterator[SpanView]:
    for scope, span in _within(document, "resourceSpans", ("scopeSpans", "instrumentationLibrarySpans"), "spans"):
        yield _view(span, scope)
    listed = document.get("spans")
    for span in _mappings(listed) if listed is not None else _mappings([document]):
        if listed is not None or ("name" in span and "context" in span):
            yield _view(span, _mapping(span.get("scope") or span.get("instrumentation_scope")))


def _logs(document: Document) -> Iterator[tuple[tuple[int, int], EventView]]:
    for _, record in _within(document, "resourceLogs", ("scopeLogs",), "logRecords"):
        yield _log(record)
    for record in _mappings(document.get("logs")):
        yield _log(record)


def _within(document: Document, outer: str, middles: Sequence[str], inner: str) -> Iterator[tuple[Document, Document]]:
    for resource in _mappings(document.get(outer)):
        for middle in middles:
            for scoped in _mappings(resource.get(middle)):
                for found in _mappings(scoped.get(inner)):
                    yield _mapping(scoped.get("scope") or scoped.get("instrumentationLibrary")), found


def _view(span: Document, scope: Document) -> SpanView:
    context = _mapping(span.get("context")) or span
    start = _time(_first(span, "start_time", "startTimeUnixNano", "start_time_unix_nano"))
    parent = _first(span, "parent_span_id", "parentSpanId", "parent_id")
    parent_id = _hexadecimal(parent.get("span_id") if isinstance(parent, Mapping) else parent)
    status = _mapping(span.get("status"))
    named = scope.get("name")
    return SpanView(
        name=str(span.get("name") or ""),
        trace_id=_hexadecimal(_first(context, "trace_id", "traceId")),
        span_id=_hexadecimal(_first(context, "span_id", "spanId")),
        parent_id=parent_id or None,
        has_remote_parent=False,
        start=start,
        end=max(start, _time(_first(span, "end_time", "endTimeUnixNano", "end_time_unix_nano"))),
        attributes=_attributes(span.get("attributes")),
        events=tuple(
            EventView(
                name=str(event.get("name") or ""),
                time=_time(_first(event, "timestamp", "timeUnixNano", "time_unix_nano")),
                attributes=_attributes(event.get("attributes")),
            )
            for event in _mappings(span.get("events"))
        ),
        is_error=_first(status, "code", "status_code") in (2, "2", "ERROR", "STATUS_CODE_ERROR", "StatusCode.ERROR"),
        scope=named if isinstance(named, str) and named else None,
    )


def _log(record: Document) -> tuple[tuple[int, int], EventView]:
    ids = (
        _hexadecimal(_first(record, "trace_id", "traceId")),
        _hexadecimal(_first(record, "span_id", "spanId")),
    )
    attributes = _attributes(record.get("attributes"))
    event = EventView(
        name=str(_first(record, "event_name", "eventName") or attributes.get("event.name") or ""),
        time=_time(_first(record, "timestamp", "timeUnixNano", "observedTimeUnixNano")),
        attributes=attributes,
        body=_value(record.get("body"), _MAX_DEPTH),
    )
    return ids, event


def _attributes(raw: object) -> dict[str, object]:
    if isinstance(raw, Mapping):
        return {str(key): value for key, value in raw.items()}
    return {str(pair["key"]): _value(pair.get("value"), _MAX_DEPTH) for pair in _mappings(raw) if "key" in pair}


def _value(raw: object, depth: int) -> object:
    """OTLP's `AnyValue`, which names its type; anything else is what it is."""
    if not isinstance(raw, Mapping) or len(raw) != 1 or not depth:
        return raw
    [(kind, held)] = raw.items()
    if kind in ("stringValue", "boolValue", "doubleValue", "bytesValue"):
        return held
    if kind == "intValue":
        return _integer(held)
    if kind == "arrayValue":
        return [_value(inner, depth - 1) for inner in _mappings(_mapping(held).get("values"))]
    if kind == "kvlistValue":
        pairs = _mappings(_mapping(held).get("values"))
        return {str(pair["key"]): _value(pair.get("value"), depth - 1) for pair in pairs if "key" in pair}
    return raw


def _time(raw: object) -> int:
    """Nanoseconds since 1970, from a number of them or from a date."""
    if isinstance(raw, str) and not raw.strip().isdecimal():
        try:
            moment = datetime.fromisoformat(raw.replace("Z", "+00:00"))
        except ValueError:
            return 0
        if moment.utcoffset() is None:
            return 0
        return (moment - _EPOCH) // _MICROSECOND * 1000
    return _integer(raw)


def _integer(raw: object) -> int:
    if isinstance(raw, str) and raw.strip().isdecimal() and raw.isascii():
        return int(raw[:30])
    return raw if isinstance(raw, int) and not isinstance(raw, bool) else 0


def _hexadecimal(raw: object) -> int:
    if isinstance(raw, int) and not isinstance(raw, bool):
        return raw
    try:
        return int(raw[:34], 16) if isinstance(raw, str) else 0
    except ValueError:
        return 0


def _first(raw: Document, *keys: str) -> object:
    return next((raw[key] for key in keys if raw.get(key) is not None), None)


def _mapping(raw: object) -> Document:
    return raw if isinstance(raw, Mapping) else {}


def _mappings(raw: object) -> list[Document]:
    if not isinstance(raw, Sequence) or isinstance(raw, str | bytes):
        return []
    return [one for one in raw if isinstance(one, Mapping)]
