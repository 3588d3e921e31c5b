"""The command lines: a first word chooses the command, whose own program takes the rest; only that one is loaded."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    Attributes:
        home: The module with its `main(arguments) -> int`.
        purpose: What it does, in a line.
    """

    home: str
    purpose: str


def run(program: str, commands: Mapping[str, Command], arguments: Sequence[str]) -> int:
    """Runs the command that the arguments name.

    Args:
        program: What the user has typed to get here.
        commands: What there is, by name.
        arguments: What the user typed behind it.

    Returns:
        The exit status.

    Raises:
        SystemExit: Help was asked for, or there is no such command.
    """
    width = max(map(len, commands)) + 2
    parser = argparse.ArgumentParser(
        prog=program,
        epilog="commands:\n" + "\n".join(f"  {name:<{width}}{each.purpose}" for name, each in commands.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=list(commands), metavar="command", help="one of those below")
    parser.add_argument("arguments", nargs="...", metavar="...", help="the command's own; try --help with it")
    # Only the first word is judged here: all that follows, `--help` too, is the command's.
    chosen: str = parser.parse_args(arguments[:1]).command
    main: Callable[[Sequence[str]], int] = import_module(commands[chosen].home).main
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what people say need not fit the encoding of where it goes
            stream.reconfigure(errors="backslashreplace")
    try:
        status = main(arguments[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # Who reads has enough, as `head` has; what Python still holds of it would fail once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return status
