"""The SQLite database of the embedded backend: connection, schema, transactions. Knows nothing of executions.

A file is opened in WAL mode with full synchronisation, so that what was written survives `kill -9` and a power cut.
Several processes may use one file.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Generator
from pathlib import Path

from polos.errors import BackendError

_SCHEMA_VERSION = 3
_PATIENCE = 30.0  # seconds to wait for another process's transaction
_SCHEMA = """
CREATE TABLE IF NOT EXISTS items (
    pk TEXT NOT NULL, sk TEXT NOT NULL, body TEXT NOT NULL, bucket TEXT, started TEXT, expires INTEGER,
    PRIMARY KEY (pk, sk)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS items_by_start ON items (bucket, started) WHERE bucket IS NOT NULL;
CREATE INDEX IF NOT EXISTS items_by_expiry ON items (expires) WHERE expires IS NOT NULL;
CREATE TABLE IF NOT EXISTS messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL, workflow TEXT NOT NULL, lane INTEGER NOT NULL,
    visible_at INTEGER NOT NULL, received INTEGER NOT NULL DEFAULT 0, root TEXT NOT NULL, origin TEXT NOT NULL,
    holder TEXT, name TEXT UNIQUE
);
CREATE INDEX IF NOT EXISTS messages_due ON messages (visible_at);
CREATE INDEX IF NOT EXISTS messages_held ON messages (holder) WHERE holder IS NOT NULL;
CREATE TABLE IF NOT EXISTS homes (root TEXT PRIMARY KEY, process TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS triggers (topic TEXT NOT NULL, workflow TEXT NOT NULL, PRIMARY KEY (topic, workflow));
CREATE TABLE IF NOT EXISTS payloads (key TEXT PRIMARY KEY, data BLOB NOT NULL, stored_at INTEGER NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS schedules (
    workflow TEXT NOT NULL, key TEXT NOT NULL, cron TEXT NOT NULL, timezone TEXT NOT NULL, paused INTEGER NOT NULL,
    declared INTEGER NOT NULL, next_at INTEGER NOT NULL, overlap TEXT NOT NULL DEFAULT 'skip',
    PRIMARY KEY (workflow, key)
);
CREATE TABLE IF NOT EXISTS patterns (workflow TEXT PRIMARY KEY, pattern TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS dead (id INTEGER PRIMARY KEY, body TEXT NOT NULL, reason TEXT NOT NULL);
"""
_UPGRADES = {
    1: """
CREATE TABLE patterns (workflow TEXT PRIMARY KEY, pattern TEXT NOT NULL);
ALTER TABLE schedules ADD COLUMN overlap TEXT NOT NULL DEFAULT 'skip';
""",
    2: """
ALTER TABLE payloads ADD COLUMN stored_at INTEGER NOT NULL DEFAULT 0;
UPDATE payloads SET stored_at = strftime('%s', 'now') * 1000;
CREATE INDEX IF NOT EXISTS messages_held ON messages (holder) WHERE holder IS NOT NULL;
DELETE FROM homes WHERE root NOT IN (SELECT pk FROM items WHERE sk = 'x') AND root NOT IN (SELECT root FROM messages);
""",
}
"""What makes of a database of this version one of the next."""


class Database:
    """One connection, used by all threads of this process in turn. `path` is a file, or ":memory:"."""

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        self._lock = threading.RLock()
        try:
            if not self.in_memory:
                Path(path).expanduser().resolve().parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                str(Path(path).expanduser()) if not self.in_memory else ":memory:",
                timeout=_PATIENCE,
                isolation_level=None,
                check_same_thread=False,
            )
            if self._version() > _SCHEMA_VERSION:
                self._connection.close()
                raise BackendError(f"The database {self.path} was written by a newer version of polos.")
            if not self.in_memory:
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute("PRAGMA synchronous = FULL")
            with self.transaction() as cursor:
                before = self._version()
                self.is_new = not before
                steps = [_UPGRADES[one] for one in range(before, _SCHEMA_VERSION)] if before else [_SCHEMA]
                for statement in ";".join(steps).split(";"):
                    cursor.execute(statement)
                cursor.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
        except (sqlite3.DatabaseError, OSError) as error:
            raise BackendError(f"The database {self.path} cannot be opened: {error}.") from error

    def _version(self) -> int:
        return self._connection.execute("PRAGMA user_version").fetchone()[0]

    @property
    def in_memory(self) -> bool:
        return self.path == ":memory:"

    @contextlib.contextmanager
    def transaction(self) -> Generator[sqlite3.Cursor]:
        """A write transaction; what raises is rolled back."""
        with self._lock, self._explained():
            cursor = self._connection.cursor()
            cursor.execute("BEGIN IMMEDIATE")
            try:
                yield cursor
                cursor.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # where the disk is full, SQLite has rolled back already
                    cursor.execute("ROLLBACK")
                raise
            finally:
                cursor.close()

    def read(self, sql: str, *parameters: object) -> list[tuple[object, ...]]:
        with self._lock, self._explained():
            return self._connection.execute(sql, parameters).fetchall()

    @contextlib.contextmanager
    def _explained(self) -> Generator[None]:
        """What can go wrong with a file that others use, as a sentence."""
        try:
            yield
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                why = f"another process has held it for over {_PATIENCE:g} s; is one stopped?"
                raise BackendError(f"The database {self.path} is locked: {why}") from error
            raise BackendError(f"The database {self.path} cannot be used: {error}.") from error

    def close(self) -> None:
        with self._lock:
            self._connection.close()
