"""Writes `docs/configuration.md` from the code: the arguments of `Client` and of the OpenTelemetry road.

Run it after a change of a setting; a test compares what it would write with what is there.
"""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Final

from mlsdk import Client
from mlsdk_otel import road

PAGE: Final = Path(__file__).with_name("configuration.md")
_BESIDE: Final = {
    "MLSDK_DEVICE_ID": "The device of all sessions that name neither user nor device, for programs with a single user; "
    "without it each such session is an anonymous user of its own.",
    "MLSDK_OTEL_BAGGAGE": "Which ids OpenTelemetry's baggage may bring in and take along, with commas between; none if "
    "it is empty. Default `session.id,gen_ai.conversation.id`; `user.id` and `mindlytics.device.id` may be added.",
    "MLSDK_OTEL_DELIVERY": "`direct` (default): sessions of `mlsdk` are sent by the SDK; `otel`: by their spans.",
    "MLSDK_OTEL_END_ON_SHUTDOWN": "False leaves conversations of sessions from outside open when the process ends: for "
    "rolling deployments; default true.",
    "MLSDK_OTEL_HOLD_SECONDS": "Seconds that spans of AI libraries wait for one another, for the span that all of them "
    "are below, or for a log record with their texts, at most; default 30.",
    "MLSDK_OTEL_PROCESSOR": "True adds the span processor where no code is changed, so that events leave earlier, and "
    "`using_session` and baggage count; default false.",
    "MLSDK_OTEL_SESSION_IDLE_SECONDS": "Seconds without a turn after which the conversations of a session end whose id "
    "came from outside; default 1800. A session that is only its trace ends after 300.",
}
"""The variables of the OpenTelemetry road that are no argument's."""
_VARIABLE: Final = re.compile(r"`(MLSDK_\w+)`")
_HEAD: Final = """\
# Settings

An argument wins over its environment variable, and that over the default. Variables are read once, when a client, an
exporter or a processor is made.

"""
_OTEL: Final = """
## Exporters, processor and `configure()`

"""
_INSTRUMENTATION: Final = """
## By variables alone

"""


def rows() -> list[tuple[str, str, str]]:
    """Argument, variable and meaning of each setting of a client, in the order of its signature."""
    told = inspect.cleandoc(Client.__init__.__doc__ or "").partition("Args:\n")[2].partition("\n\n")[0]
    found = []
    for argument in inspect.signature(Client).parameters:
        match = re.search(rf"^ {{4}}{argument}: (.*(?:\n {{8,}}.*)*)", told, re.MULTILINE)
        if match is None:
            raise LookupError(f"the docstring of Client does not tell what {argument} is")
        found.append((argument, *_split(match[1])))
    return found


def otel_rows() -> list[tuple[str, str, str]]:
    """The same of what exporters, the processor and `configure()` take."""
    same = {argument: text for argument, _, text in rows()}
    tree = ast.parse(inspect.getsource(road.RoadOptions).strip()).body[0]
    if not isinstance(tree, ast.ClassDef):
        raise TypeError("RoadOptions is no class")
    found = []
    for field, told in zip(tree.body[1::2], tree.body[2::2], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(told, ast.Expr)
            and isinstance(told.value, ast.Constant)
        ):
            variable, text = _split(str(told.value.value))
            found.append((field.target.id, variable, text or same[field.target.id]))
    return found


def _split(text: str) -> tuple[str, str]:
    """The variable that a text names, and the text without it."""
    text = " ".join(text.split())
    variable = _VARIABLE.search(text)
    text = re.sub(r"`MLSDK_\w+`(?=[.,;])[.,;]?\s*", "", text)
    text = re.sub(r"\.\s+(default|as) ", r"; \1 ", text).strip().rstrip(";. ")
    return f"`{variable[1]}`" if variable else "", f"{text[:1].upper()}{text[1:]}." if text else ""


def page() -> str:
    """The whole page."""
    return "".join(
        (
            _HEAD,
            _table(("argument of `Client`", "variable", "what it is"), _marked(rows())),
            _OTEL,
            _table(("argument", "variable", "what it is"), _marked(otel_rows())),
            _INSTRUMENTATION,
            _table(("variable", "what it is"), [(f"`{name}`", text) for name, text in _BESIDE.items()]),
        )
    )


def _marked(found: list[tuple[str, str, str]]) -> list[tuple[str, ...]]:
    return [(f"`{argument}`", *rest) for argument, *rest in found]


def _table(head: tuple[str, ...], body: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *body]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
