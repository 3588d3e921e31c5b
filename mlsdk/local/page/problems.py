"""What did not go as clients asked, and what is likely a mistake of theirs, as HTML. Pure."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from mlsdk.local.faults import ACTION_ANSWER, ACTION_GO_ON
from mlsdk.local.page.html import Child, Markup, element, join
from mlsdk.local.page.parts import clock_time, counted

if TYPE_CHECKING:
    from mlsdk.local.state import RecordedRequest

SHOWN: Final = 200
"""Requests that are shown, the newest."""


def problems_page(requests: Iterable["RecordedRequest"], *, count: int, unknown_fields: Mapping[str, int]) -> Markup:
    """The content of the page of problems.

    Args:
        requests: that were not answered as asked, newest first, `SHOWN` at most.
        count: how many there were.
        unknown_fields: fields that no description of the service names, and how often each came.
    """
    rows = [_row(each) for each in requests]
    if not rows and not unknown_fields:
        return element(
            "section",
            element("h1", "No problems"),
            element("p", "Every request was answered as it was asked."),
            element("p", element("a", "All sessions", href="/", data_up=True)),
            class_="empty",
        )
    return join(element("h1", "Problems"), _requests(rows, count), _fields(unknown_fields))


def _requests(rows: list[Markup], count: int) -> Child:
    if not rows:
        return None
    told = counted(count, "request") + (" was" if count == 1 else " were")
    newest = f", the newest {len(rows)} are shown" if count > len(rows) else ""
    return (
        element("h2", "Requests that failed"),
        element("p", f"{told} not answered as asked{newest}. The events of a refused request were not taken."),
        element("ul", rows, class_="problems"),
    )


def _fields(unknown_fields: Mapping[str, int]) -> Child:
    if not unknown_fields:
        return None
    rows = (
        element("li", element("code", name, dir="auto"), element("span", counted(count, "time"), class_="quiet"))
        for name, count in unknown_fields.items()
    )
    return (
        element("h2", "Fields that nobody reads"),
        element("p", "Events came with these fields beside the known ones. They are kept, but likely mistakes."),
        element("ul", rows, class_="fields"),
    )


def _row(request: "RecordedRequest") -> Markup:
    return element(
        "li",
        element(
            "p", _verdict(request), element("code", f"{request.method} {request.path}", dir="auto"), _when(request)
        ),
        element("p", request.refusal, class_="error", dir="auto") if request.refusal else None,
        element(
            "p", f"{counted(request.events, 'event')}, {counted(request.size, 'byte')}{_cause(request)}", class_="quiet"
        ),
        data_key=str(request.number),
    )


def _verdict(request: "RecordedRequest") -> Markup:
    return element("span", "cut" if request.status is None else str(request.status), class_="badge wrong")


def _when(request: "RecordedRequest") -> Child:
    return clock_time(request.at) if request.at is not None else None


def _cause(request: "RecordedRequest") -> str:
    fault = request.fault
    if fault is None or fault.action == ACTION_GO_ON:
        return ""
    return ", a fault on request: " + ("this answer" if fault.action == ACTION_ANSWER else fault.action)
