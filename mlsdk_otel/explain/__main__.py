"""``python -m mlsdk_otel explain FILE...``: what would be made of recorded spans, and why."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mlsdk_otel.explain.report import report
from mlsdk_otel.translation import recordings

_FORMATS = """\
Read are OTLP in JSON (of the collector's file exporter, one document a line, or of an HTTP body), what the SDK's
console exporter prints, and recordings ({"spans": [...], "logs": [...]}). Texts are shown cut; look before you send
the report to somebody.
"""


class _UnreadableError(Exception):
    """A file cannot be read, or holds something else."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mlsdk-otel explain",
        description="Says what would be made of recorded spans, and why.",
        epilog=_FORMATS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", metavar="FILE", nargs="+", help="a file with spans; - for standard input")
    return parser


def _documents(name: str) -> list[recordings.Document]:
    try:
        return recordings.documents(sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes())
    except OSError as problem:
        raise _UnreadableError(f"{name}: {problem.strerror}") from None
    except ValueError as problem:
        raise _UnreadableError(f"{name}: no JSON: {problem}") from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Explains files; returns the exit status: 2 for a file that holds no spans."""
    options = _parser().parse_args(arguments)
    try:
        views = recordings.views([found for name in options.files for found in _documents(name)])
    except _UnreadableError as problem:
        print(problem, file=sys.stderr)
        return 2
    if not views:
        print(f"no spans in {', '.join(options.files)}", file=sys.stderr)
        return 2
    for line in report(views):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
