"""A function that a model asked for, or that ran, and which of several is meant. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from mlsdk_otel.translation.facts import ToolRequest, ToolResult, ToolRun


@dataclass(slots=True)
class Function:
    """A function that a model asked for, or that ran.

    Attributes:
        moment: When it was asked for, or ended; nanoseconds since 1970.
        runtime: Milliseconds, where a span of its own tells it.
    """

    name: str | None
    call_id: str | None
    arguments: str | None
    moment: int
    result: str | None = None
    runtime: int | None = None
    has_run: bool = False
    has_result: bool = False

    @property
    def is_known_to_have_run(self) -> bool:
        """Whether it did more than being asked for."""
        return self.has_run or self.has_result


def give(function: Function, result: ToolResult) -> None:
    """A model was told what a function gave."""
    function.has_result = True
    # What the model was told is the text of it; spans hold it in whatever form a library has.
    function.result = function.result if result.result is None else result.result


def by_id(functions: Iterable[Function], call_id: str | None) -> Function | None:
    """The one of this call; None without an id."""
    if call_id is None:
        return None
    return next((function for function in functions if function.call_id == call_id), None)


def find_alike(functions: Iterable[Function], request: ToolRequest, named: Collection[str]) -> Function | None:
    """The same request, under another id or under none."""
    for function in functions:
        if function.name == request.name and (function.call_id is None or function.call_id not in named):
            same = None in (function.arguments, request.arguments)
            if same or _plain(function.arguments) == _plain(request.arguments):
                return function
    return None


def find_asked(functions: Sequence[Function], run: ToolRun) -> Function | None:
    """The request that a run answers."""
    if (found := by_id(functions, run.call_id)) is not None:
        return found
    left = [
        function
        for function in functions
        if not function.has_run
        and (function.name == run.name or run.name is None)
        and (run.call_id is None or function.call_id is None)
    ]
    exact = [function for function in left if _plain(function.arguments) == _plain(run.arguments)]
    return next(iter(exact or left), None)


def _plain(arguments: str | None) -> str:
    return "".join((arguments or "").split())
