"""The file that keeps the input."""

from __future__ import annotations

import sqlite3
import stat
import sys
from pathlib import Path

import pytest

from mlsdk.local.database import Database, DatabaseError, Row

NOTED = {"app_id": "app", "at": "2025-01-01T00:00:00Z", "request": 3, "idempotency_key": "key"}


def rows(path: Path) -> list[Row]:
    database = Database(path, instance="ignored")
    try:
        return list(database.rows())
    finally:
        database.close()


def test_what_was_appended_comes_back_in_order(tmp_path: Path) -> None:
    path = tmp_path / "local.db"
    database = Database(path, instance="first")
    database.append("event", [{"n": 1, "text": "ä\u2028"}, {"n": 2, "flag": True, "ratio": 1.0}], **NOTED)
    database.append("identify", [{"id": "jj"}], **{**NOTED, "idempotency_key": None})
    database.close()

    assert rows(path) == [
        Row("event", body={"n": 1, "text": "ä\u2028"}, **NOTED),
        Row("event", body={"n": 2, "flag": True, "ratio": 1.0}, **NOTED),
        Row("identify", body={"id": "jj"}, **{**NOTED, "idempotency_key": None}),
    ]


def test_the_instance_stays_until_it_is_cleared(tmp_path: Path) -> None:
    path = tmp_path / "local.db"
    for given, known in [("first", "first"), ("second", "first")]:
        database = Database(path, instance=given)
        assert database.instance == known
        database.append("event", [{}], **NOTED)
        database.close()

    database = Database(path, instance="third")
    database.clear(instance="third")
    database.close()

    assert rows(path) == []
    database = Database(path, instance="fourth")
    assert database.instance == "third"
    database.close()


def test_a_request_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "local.db"
    database = Database(path, instance="first")
    with pytest.raises(sqlite3.IntegrityError):
        database.append("event", [{}, {}], **{**NOTED, "app_id": None})  # type: ignore[arg-type]
    database.append("event", [{"n": 1}], **NOTED)
    database.close()

    assert [row.body for row in rows(path)] == [{"n": 1}]


@pytest.mark.skipif(sys.platform == "win32", reason="no file modes")
def test_the_file_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "local.db"
    Database(path, instance="first").close()

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("no database, but long enough to be looked at as if it were one, page by page")
    foreign = tmp_path / "foreign.db"
    connection = sqlite3.connect(foreign)
    connection.execute("CREATE TABLE other (x)")
    connection.close()

    for path, reason in [(text, "file is not a database"), (foreign, "not a database of"), (tmp_path, "directory")]:
        with pytest.raises(DatabaseError) as refused:
            Database(path, instance="first")
        assert str(path) in str(refused.value)
        assert reason in str(refused.value)
