"""Programs in an interpreter of their own: what ends a process can only be seen from outside.

A child imports the same installed distribution as the tests, and ``support`` too; it never sees the source tree, and no
variable of this machine that configures what is under test.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from support.environment import is_ours

TESTS: Final = Path(__file__).resolve().parents[1]


def command(program: str | Path, arguments: Sequence[str] = (), *, flags: Sequence[str] = ()) -> list[str]:
    """Return the command line: a ``Path`` is a script, a ``str`` is source text."""
    source = [str(program)] if isinstance(program, Path) else ["-c", textwrap.dedent(program)]
    return [sys.executable, *flags, *source, *arguments]


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return a clean environment with ``support`` importable and output that is never held back."""
    kept = {name: value for name, value in os.environ.items() if not is_ours(name)}
    return {**kept, "PYTHONPATH": str(TESTS), "PYTHONUNBUFFERED": "1", **(extra or {})}


def run(
    program: str | Path,
    *arguments: str,
    flags: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    timeout: float = 60.0,
) -> subprocess.CompletedProcess[str]:
    """Run to the end and return output and exit code; after ``timeout`` seconds kill the child and raise."""
    return subprocess.run(
        command(program, arguments, flags=flags),
        env=environment(env),
        cwd=sys.prefix,  # `python -c` imports from the working directory first: not from the tree
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def line(running: subprocess.Popen[str]) -> str:
    """The next line of a program's output, and nothing after it: `communicate` knows of nothing that was read ahead."""
    assert running.stdout is not None
    found = b""
    while not found.endswith(b"\n") and (byte := os.read(running.stdout.fileno(), 1)):
        found += byte
    return found.decode()


@contextlib.contextmanager
def started(
    program: str | Path, *arguments: str, flags: Sequence[str] = (), env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Start a child to talk to or to signal; it is gone, and its pipes are closed, when the block is left."""
    with subprocess.Popen(
        command(program, arguments, flags=flags),
        env=environment(env),
        cwd=sys.prefix,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            yield child
        finally:
            child.kill()
