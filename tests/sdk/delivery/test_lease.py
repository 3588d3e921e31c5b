"""Leases: one owner at a time, and nobody's when the owner is dead."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from support import child

from mlsdk.delivery.lease import NAME, Lease


def test_one_owner_at_a_time(tmp_path: Path) -> None:
    lease = Lease.take(tmp_path, is_new=True)
    assert lease is not None
    assert Lease.take(tmp_path) is None
    lease.release(removes=False)
    again = Lease.take(tmp_path)
    assert again is not None
    again.release(removes=True)
    again.release(removes=True)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_a_lease_is_nobodys_to_take(tmp_path: Path) -> None:
    assert Lease.take(tmp_path) is None
    assert Lease.take(tmp_path / "gone") is None


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be removed there")
def test_a_lease_on_a_file_that_is_gone_is_worth_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one who had it removed the folder between the opening of the file and the lock."""
    lease = Lease.take(tmp_path, is_new=True)
    assert lease is not None
    real_open = os.open

    def open_then_removed(path: Path, flags: int, mode: int = 0o777) -> int:
        handle = real_open(path, flags, mode)
        lease.release(removes=True)
        return handle

    monkeypatch.setattr(os, "open", open_then_removed)
    assert Lease.take(tmp_path) is None


def test_a_process_that_is_killed_owns_nothing(tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from mlsdk.delivery.lease import Lease
lease = Lease.take(Path(sys.argv[1]), is_new=True)
print("ready", flush=True)
sys.stdin.read()
"""
    with child.started(program, str(tmp_path)) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        assert Lease.take(tmp_path) is None
        running.kill()
        running.wait(30)
    lease = Lease.take(tmp_path)
    assert lease is not None
    lease.release(removes=True)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.parametrize("keeper", ["lease.forget()", "pass  # one that was being taken, of which no keeper knew"])
def test_a_lease_ends_with_the_parent_and_not_with_its_children(tmp_path: Path, keeper: str) -> None:
    program = f"""
import os, signal, sys
from pathlib import Path
from mlsdk.delivery.lease import Lease
lease = Lease.take(Path(sys.argv[1]), is_new=True)
if os.fork() == 0:
    {keeper}
    signal.alarm(50)
    print(os.getpid(), flush=True)
    signal.pause()
sys.stdin.readline()
os._exit(0)
"""
    with child.started(program, str(tmp_path)) as running:
        assert running.stdout is not None
        assert running.stdin is not None
        child_pid = int(running.stdout.readline())
        assert Lease.take(tmp_path) is None  # the child gave up what is the parent's, and the parent has it still
        running.stdin.write("\n")
        running.stdin.flush()
        running.wait(30)
        try:
            lease = Lease.take(tmp_path)
            assert lease is not None
            lease.release(removes=True)
        finally:
            os.kill(child_pid, signal.SIGKILL)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no modes")
def test_the_file_is_the_owners_alone(tmp_path: Path) -> None:
    lease = Lease.take(tmp_path, is_new=True)
    assert lease is not None
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600
    lease.release(removes=True)
