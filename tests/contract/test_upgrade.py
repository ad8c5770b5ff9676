"""A database of an earlier version is opened with everything in it."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

from polos.local.backend import local_backend
from polos.ports import Outgoing, PatternRule, Recurring


def test_a_database_of_version_1_is_brought_up_to_date_once(tmp_path: Path) -> None:
    path, hourly = tmp_path / "polos.db", Recurring("flow", "global", "0 * * * *", "UTC", declared=True)
    before = local_backend(path)
    before.recurrences.apply(hourly)
    before.close()
    with sqlite3.connect(path) as connection:  # what version 1 had
        connection.execute("ALTER TABLE schedules DROP COLUMN overlap")
        connection.execute("DROP TABLE patterns")
        connection.execute("ALTER TABLE payloads DROP COLUMN stored_at")
        connection.execute("DROP INDEX messages_held")
        connection.execute("PRAGMA user_version = 1")
    connection.close()

    for _ in range(2):
        now = local_backend(path)
        try:
            assert now.recurrences.list() == [hourly]
            now.backend.default_bus.apply(PatternRule("flow", '{"source":["aws.s3"]}'))
            assert len(now.backend.default_bus.list()) == 1
        finally:
            now.close()
    now = local_backend(path)
    now.recurrences.apply(replace(hourly, overlap="allow"))
    assert now.recurrences.list() == [replace(hourly, overlap="allow")]
    now.close()


def test_a_database_of_version_2_loses_only_homes_of_what_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "polos.db"
    before = local_backend(path)
    before.backend.inbox.send([Outgoing({"t": "start", "x": "started", "wf": "flow"}, lane="start")])
    before.backend.payloads.put("kept#1.t", b"data")
    with before.database.transaction() as cursor:
        cursor.execute("INSERT INTO homes (root, process) VALUES ('expired', 'long ago')")
    before.close()
    with sqlite3.connect(path) as connection:  # what version 2 had
        connection.execute("ALTER TABLE payloads DROP COLUMN stored_at")
        connection.execute("DROP INDEX messages_held")
        connection.execute("PRAGMA user_version = 2")
    connection.close()

    now = local_backend(path)
    assert now.database.read("SELECT root FROM homes") == [("started",)]
    assert now.backend.payloads.get("kept#1.t") == b"data"
    now.close()
