"""What a check has to say: one line, and what cures it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

_SECRET: Final = 5
"""Characters from which a key is worth hiding; `any`, which a local Mindlytics takes, is a word like any other."""
_LONGEST: Final = 400
"""Characters of a text or a cure that are shown: what a service answers may be a whole page."""


class Level(Enum):
    """How bad it is."""

    FINE = "ok"
    WARNING = "warning"
    """It works, but not as well as it could, or not always; does not fail a build."""
    PROBLEM = "PROBLEM"
    """Events are lost, refused or wrong."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        level: How bad it is.
        check: What was looked at, in a word or two: `key`, say.
        text: What was seen.
        cure: What to do about it; empty if nothing need be done.
    """

    level: Level
    check: str
    text: str
    cure: str = ""


def fine(check: str, text: str) -> Finding:
    """All is well."""
    return Finding(Level.FINE, check, text)


def warning(check: str, text: str, cure: str) -> Finding:
    """Could be better."""
    return Finding(Level.WARNING, check, text, cure)


def problem(check: str, text: str, cure: str) -> Finding:
    """Is wrong."""
    return Finding(Level.PROBLEM, check, text, cure)


def line(finding: Finding, *, secrets: Collection[str] = ()) -> str:
    """The finding as one line of text.

    Args:
        finding: What to show.
        secrets: What must not be shown, whoever has put it into a text.
    """
    told = f"{finding.level.value:<8} {finding.check}: {_one_line(finding.text)}"
    if finding.cure:
        told += f" -> {_one_line(finding.cure)}"
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SECRET:
            told = told.replace(secret, "***")
    return told


def summary(findings: Iterable[Finding]) -> str:
    """The number of problems and warnings, in words."""
    levels = [finding.level for finding in findings]
    problems, warnings = levels.count(Level.PROBLEM), levels.count(Level.WARNING)
    return f"{_count(problems, 'problem')}, {_count(warnings, 'warning')}"


def exit_code(findings: Iterable[Finding]) -> int:
    """0, or 1 if there is a problem; warnings fail no build."""
    return int(any(finding.level is Level.PROBLEM for finding in findings))


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _one_line(text: str) -> str:
    joined = " ".join(text.split())
    return joined if len(joined) <= _LONGEST else f"{joined[:_LONGEST]}..."
