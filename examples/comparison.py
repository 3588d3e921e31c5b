"""What was sent beside what the service holds, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a comparison."""

    what: str
    sent: int
    held: int


def print_table(rows: Sequence[Row]) -> None:
    """Prints the rows under headings."""
    print(f"   {'':36}{'sent':>10}{'service':>10}")
    for row in rows:
        mark = "" if row.sent == row.held else "   <- differs"
        print(f"   {row.what:36}{row.sent:>10,}{row.held:>10,}{mark}")


def differing(rows: Sequence[Row]) -> list[str]:
    """The rows that are not equal, in words."""
    return [f"{row.what.strip()}: {row.sent:,} and {row.held:,}" for row in rows if row.sent != row.held]
