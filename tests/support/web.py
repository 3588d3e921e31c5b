"""A web server of an example, in a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from support import child

PATIENCE: Final = 60.0
"""Seconds that a server may take to start or to stop; the machine may be busy."""
_ADDRESS: Final = re.compile(r"http://127\.0\.0\.1:\d+")


@contextmanager
def serving(command: Sequence[str], *, folder: Path, env: Mapping[str, str]) -> Iterator[str]:
    """Runs `python -m command` in a folder until the block is left, and then stops it as a system does.

    Yields:
        The server's address, as it tells it.
    """
    with tempfile.TemporaryDirectory() as place, (Path(place) / "output").open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=folder,
            env=child.environment(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        try:
            yield _address(process, Path(output.name))
            process.terminate()
            process.wait(PATIENCE)
        finally:
            process.kill()
            process.wait()


def _address(process: subprocess.Popen[bytes], output: Path) -> str:
    end = time.monotonic() + PATIENCE
    while True:
        text = output.read_text(encoding="utf-8")
        if found := _ADDRESS.search(text):
            return found[0]
        if process.poll() is not None or time.monotonic() > end:
            raise AssertionError(f"the server did not start:\n{text}")
        time.sleep(0.05)
