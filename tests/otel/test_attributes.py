from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from mlsdk_otel import attributes
from mlsdk_otel.translation.conventions import native

DOCUMENT: Final = Path(__file__).resolve().parents[2] / "docs" / "opentelemetry-attributes.md"
NO_NAMES: Final = {"DIRECT", "ALL"}


def names() -> dict[str, str]:
    """All names that `attributes` defines, those that end in a dot being prefixes."""
    return {
        constant: value
        for constant, value in vars(attributes).items()
        if constant.isupper() and isinstance(value, str) and constant not in NO_NAMES
    }


def documented() -> set[str]:
    """What the document's tables name."""
    rows = [line for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    cells = {cell for row in rows for cell in re.findall(r"`([a-z_]+\.[a-z_.]+(?:<k>)?)`", row)}
    return {cell.removesuffix("<k>") for cell in cells}


def test_the_document_names_what_is_written_and_read_and_nothing_else() -> None:
    assert documented() == set(names().values())


def test_the_document_tells_spans_events_and_attributes_apart() -> None:
    lines = DOCUMENT.read_text(encoding="utf-8").splitlines()
    second = {match[1] for line in lines if (match := re.match(r"\| [^|]+ \| `([^`]+)` \| `", line))}
    assert second == set(native.SPAN_NAMES | native.EVENT_NAMES)


def test_no_two_names_are_the_same() -> None:
    assert len(set(names().values())) == len(names())


def test_names_are_opentelemetrys_or_our_own() -> None:
    assert {name.partition(".")[0] for name in names().values()} == {"error", "gen_ai", "mindlytics", "session", "user"}


def test_no_prefix_begins_another_name() -> None:
    prefixes = [name for name in names().values() if name.endswith(".")]
    assert {"mindlytics.property.", "mindlytics.user.trait."} < set(prefixes)
    for prefix in prefixes:
        assert [name for name in names().values() if name.startswith(prefix)] == [prefix]
