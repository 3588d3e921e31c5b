"""A local Mindlytics in a process of its own, as `python -m mlsdk.local` starts it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def local_mindlytics() -> Iterator[str]:
    """Starts the service on a free port, yields its address, and stops it in the end.

    Raises:
        RuntimeError: It did not start; it says why on stderr.
    """
    _go_direct()
    # `python -m` looks into the working directory first: there must be no mlsdk, so that the installed one is run.
    process = subprocess.Popen(
        [sys.executable, "-m", "mlsdk.local", "--port", "0"],
        cwd=Path(__file__).resolve().parent,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield _address(process)
        finally:
            process.terminate()


def _address(process: subprocess.Popen[str]) -> str:
    first_line = process.stdout.readline() if process.stdout is not None else ""
    found = re.search(r"http://\S+", first_line)
    if found is None:
        raise RuntimeError("the local Mindlytics did not start")
    return found[0]


def _go_direct() -> None:
    """Where the environment names a proxy, what is on this machine shall not be asked for there."""
    for name in ("no_proxy", "NO_PROXY"):
        os.environ[name] = ",".join(filter(None, [os.environ.get(name), "127.0.0.1"]))
