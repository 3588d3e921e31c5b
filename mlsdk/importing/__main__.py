"""``python -m mlsdk import FILE``: conversations of the past, with the times at which they were held."""

import argparse
import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from mlsdk.client import Client
from mlsdk.errors import ConfigurationError
from mlsdk.importing.recording import record
from mlsdk.importing.rows import RowError, Turn, rows_of_csv, rows_of_json, sessions_of, turn_of

_SHOWN = 20
_FORMAT = """\
JSON Lines, or CSV with a header (by the name: .csv); a line is a turn:
  timestamp            ISO 8601 with Z or an offset
  user, assistant      the texts
  session_id, conversation_id    one is needed; the other follows from it, in each run the same
  user_id, device_id   one is needed
  assistant_id, model with prompt_tokens and completion_tokens, or cost    where known
Any other field becomes a property of the turn. An import is not idempotent: a second one adds every turn once more.
"""


def read(file: Path) -> tuple[list[Turn], list[RowError]]:
    """The turns of a file, and what is wrong with others."""
    turns, errors = [], []
    rows = rows_of_csv if file.suffix.lower() == ".csv" else rows_of_json
    with file.open(encoding="utf-8-sig", newline="") as lines:
        for number, row in rows(lines):
            try:
                if isinstance(row, RowError):
                    raise row
                turns.append(turn_of(number, row))
            except RowError as error:  # noqa: PERF203 - all that is wrong is told at once
                errors.append(error)
    return turns, errors


def _progress(total: int) -> Callable[[int], None]:
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        before, done = done, done + count
        if done * 10 // total > before * 10 // total:
            print(f"{done:,} of {total:,} turns", file=sys.stderr)

    return advance


def main(arguments: Sequence[str] | None = None) -> int:
    """Import what the command line says; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="mlsdk-otel import",
        description="Imports conversations of the past; key, project and service come from the environment.",
        epilog=_FORMAT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, metavar="FILE")
    parser.add_argument("--dry-run", action="store_true", help="check the file, send nothing")
    options = parser.parse_args(arguments)
    try:
        turns, errors = read(options.file)
    except UnicodeDecodeError:
        print(f"{options.file}: not UTF-8 text", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"{options.file}: {error.strerror}", file=sys.stderr)
        return 1
    for wrong in errors[:_SHOWN]:
        print(f"{options.file}: {wrong}", file=sys.stderr)
    if errors:
        print(f"nothing was imported; lines that are wrong: {len(errors):,}", file=sys.stderr)
        return 1
    sessions = sessions_of(turns)
    print(f"turns: {len(turns):,}, sessions: {len(sessions):,}")
    if options.dry_run or not turns:
        return 0
    return _send(sessions, len(turns))


def _send(sessions: Sequence[Sequence[Turn]], total: int) -> int:
    try:
        client = Client(flush_timeout=600.0)
    except ConfigurationError as error:
        print(error.message, file=sys.stderr)
        return 1
    if not client.enabled:
        print("MLSDK_DISABLED is true: nothing was imported", file=sys.stderr)
        return 1
    try:
        problems = asyncio.run(record(client, sessions, on_turns=_progress(total)))
    except KeyboardInterrupt:
        # What the end of the process cannot deliver is told by the sender, which tries until then.
        stats = client.stats()
        print(f"interrupted: {stats['delivered']:,} of {stats['accepted']:,} events were delivered by then")
        return 130
    stats = client.stats()
    print(f"{stats['delivered']:,} of {stats['accepted']:,} events were delivered")
    for problem in problems[:_SHOWN]:
        print(problem, file=sys.stderr)
    return int(stats["delivered"] != stats["accepted"])


if __name__ == "__main__":
    sys.exit(main())
