"""Keeps what a local service accepted in one SQLite file, and gives it back in order.

It stores the input, not the state: the state follows from the input, so the file needs no second truth to agree with.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from mlsdk.local.records import Values

_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE service (instance TEXT NOT NULL);
CREATE TABLE accepted (
    number INTEGER PRIMARY KEY,  -- order of arrival
    kind TEXT NOT NULL,          -- event, identify or alias
    app_id TEXT NOT NULL,
    at TEXT NOT NULL,            -- time of arrival, ISO 8601 UTC
    request INTEGER NOT NULL,    -- number of the HTTP request
    idempotency_key TEXT,
    body TEXT NOT NULL           -- JSON, as it came
);
"""


class DatabaseError(ValueError):
    """The file cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Row:
    """One accepted body and what was noted of its arrival."""

    kind: str
    app_id: str
    at: str
    request: int
    idempotency_key: str | None
    body: Values


class Database:
    """One open file. Calls may come from any thread, one at a time.

    Args:
        path: the file; made, readable by its owner alone, if it does not exist.
        instance: what a new file calls its service, see `Store`.

    Raises:
        DatabaseError: no database, one of another program or version, or not writable.
    """

    def __init__(self, path: str | Path, *, instance: str) -> None:
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise DatabaseError(f"{path}: {error}") from error
        try:
            self.instance = self._open(instance)
        except (sqlite3.Error, DatabaseError) as error:
            self._connection.close()
            raise DatabaseError(f"{path}: {error}") from error

    def _open(self, instance: str) -> str:
        self._connection.execute("PRAGMA journal_mode = WAL")
        # With WAL, NORMAL loses no committed answer when the process dies; only a power cut may take the last ones.
        self._connection.execute("PRAGMA synchronous = NORMAL")
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        (tables,) = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if version == 0 and tables == 0:
            self._connection.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
            self._connection.execute("INSERT INTO service VALUES (?)", (instance,))
        elif version != _VERSION:
            raise DatabaseError("not a database of this version of the local Mindlytics")
        (known,) = self._connection.execute("SELECT instance FROM service").fetchone()
        return str(known)

    def rows(self) -> Iterator[Row]:
        """Everything accepted, in order of arrival."""
        found = self._connection.execute(
            "SELECT kind, app_id, at, request, idempotency_key, body FROM accepted ORDER BY number"
        )
        for kind, app_id, at, request, idempotency_key, body in found:
            yield Row(kind, app_id, at, request, idempotency_key, orjson.loads(body))

    def append(
        self, kind: str, bodies: Iterable[Values], *, app_id: str, at: str, request: int, idempotency_key: str | None
    ) -> None:
        """Write the bodies of one request, all or none."""
        rows = [(kind, app_id, at, request, idempotency_key, orjson.dumps(body).decode()) for body in bodies]
        self._connection.execute("BEGIN")
        try:
            self._connection.executemany(
                "INSERT INTO accepted (kind, app_id, at, request, idempotency_key, body) VALUES (?, ?, ?, ?, ?, ?)",
                rows,
            )
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def clear(self, *, instance: str) -> None:
        """Forget everything accepted, and begin anew as another instance."""
        self._connection.execute("BEGIN")
        self._connection.execute("DELETE FROM accepted")
        self._connection.execute("UPDATE service SET instance = ?", (instance,))
        self._connection.execute("COMMIT")

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
