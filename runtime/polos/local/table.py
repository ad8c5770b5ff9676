"""The Table port on SQLite: a row an item, conditions evaluated inside a write transaction."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Sequence
from typing import Any, Final

from polos.core import items
from polos.core.conditions import Change, Condition, Item, Value, holds
from polos.core.identity import prefixes_of_descendants
from polos.core.items import Key
from polos.local.database import Database
from polos.ports import ConditionFailed

_HIGHEST = "\U0010ffff"
_DAY: Final = 86_400


class LocalTable:
    """Every call is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, key: Key) -> Item | None:
        found = self._database.read("SELECT body FROM items WHERE pk = ? AND sk = ?", key.pk, key.sk)
        return _load(found[0][0]) if found else None

    def get_many(self, keys: Sequence[Key]) -> list[Item]:
        return [item for key in keys if (item := self.get(key)) is not None]

    def put(self, item: Item, condition: Condition | None = None) -> None:
        with self._database.transaction() as cursor:
            if condition is not None:
                stored = _select(cursor, Key(str(item[items.PK]), str(item[items.SK])))
                if not holds(condition, stored):
                    raise ConditionFailed(stored)
            _write(cursor, item)

    def update(self, key: Key, change: Change, condition: Condition | None = None) -> Item:
        with self._database.transaction() as cursor:
            stored = _select(cursor, key)
            if condition is not None and not holds(condition, stored):
                raise ConditionFailed(stored)
            item = change.apply(stored if stored is not None else items.keyed(key, {}))
            _write(cursor, item)
        return item

    def delete(self, key: Key, condition: Condition | None = None) -> None:
        with self._database.transaction() as cursor:
            if condition is not None:
                stored = _select(cursor, key)
                if stored is not None and not holds(condition, stored):
                    raise ConditionFailed(stored)
            cursor.execute("DELETE FROM items WHERE pk = ? AND sk = ?", key)

    def query(
        self,
        pk: str,
        *,
        prefix: str = "",
        after: str = "",
        limit: int | None = None,
        reverse: bool = False,
    ) -> list[Item]:
        rows = self._database.read(
            "SELECT body FROM items WHERE pk = ? AND sk >= ? AND sk < ? AND sk > ? "
            f"ORDER BY sk {'DESC' if reverse else 'ASC'} LIMIT ?",
            pk,
            prefix,
            prefix + _HIGHEST,
            "" if reverse else after,
            -1 if limit is None else limit,
        )
        return [_load(row[0]) for row in rows]

    def renew(self, execution_id: str) -> list[Item]:
        """Nothing of an open execution expires here: whole partitions go, after their end."""
        return []

    def by_start(
        self, bucket: str, *, since: str = "", until: str = "~", limit: int = 100, reverse: bool = True
    ) -> list[Item]:
        rows = self._database.read(
            "SELECT pk, body FROM items WHERE bucket = ? AND started > ? AND started < ? "
            f"ORDER BY started {'DESC' if reverse else 'ASC'} LIMIT ?",
            bucket,
            since,
            until,
            limit,
        )
        kept = (items.PK, items.SK, items.WORKFLOW, items.BUCKET, items.BUCKET_SORT)
        return [{name: value for name, value in _load(row[1]).items() if name in kept} for row in rows]

    def expire(self, now_seconds: int) -> int:
        """Remove executions (with all that was kept for them) and other items whose time has passed; how many.

        An execution stays as long as what it started, which a new run of its id would take for its own; slots stay as
        long as one of them is held. The payload of an event goes a day after nothing names it any more.
        """
        with self._database.transaction() as cursor:
            removed = 0
            gone = cursor.execute("SELECT pk, sk, body FROM items WHERE expires < ?", (now_seconds,)).fetchall()
            for pk, sk, body in gone:
                if sk == items.EXECUTION:
                    if _has_family(cursor, pk, now_seconds):
                        continue
                    cursor.execute("DELETE FROM items WHERE pk = ?", (pk,))
                    cursor.execute("DELETE FROM payloads WHERE key >= ? AND key < ?", (f"{pk}#", f"{pk}$"))
                    cursor.execute("DELETE FROM homes WHERE root = ?", (pk,))
                elif sk == items.SLOTS and items.number(_load(body), items.LIMIT_COUNT) > 0:
                    continue
                else:
                    cursor.execute("DELETE FROM items WHERE pk = ? AND sk = ?", (pk, sk))
                removed += 1
            _remove_payloads_of_events(cursor, now_seconds)
        return removed


def _remove_payloads_of_events(cursor: sqlite3.Cursor, now_seconds: int) -> None:
    """Equal events share one. Until its message is sent, nothing names that of a new one: hence the day."""
    old = cursor.execute(
        "SELECT key FROM payloads WHERE key >= '#events#' AND key < '#events$' AND stored_at < ?",
        ((now_seconds - _DAY) * 1000,),
    ).fetchall()
    if not old:
        return
    naming = "SELECT body FROM {} WHERE instr(body, '#events#') > 0"
    bodies = [row[0] for table in ("items", "messages", "dead") for row in cursor.execute(naming.format(table))]
    for (key,) in old:
        if not any(key in body for body in bodies):
            cursor.execute("DELETE FROM payloads WHERE key = ?", (key,))


def _has_family(cursor: sqlite3.Cursor, execution_id: str, now_seconds: int) -> bool:
    """Whether a descendant of an execution is open, or has ended and is kept for longer than it."""
    query = "SELECT 1 FROM items WHERE pk >= ? AND pk < ? AND sk = ? AND (expires IS NULL OR expires >= ?) LIMIT 1"
    return any(
        cursor.execute(query, (begin, begin + _HIGHEST, items.EXECUTION, now_seconds)).fetchone() is not None
        for begin in prefixes_of_descendants(execution_id)
    )


def end_lease(cursor: sqlite3.Cursor, execution_id: str, tag: str) -> None:
    """Within a transaction: let a lease run out that was taken with this message."""
    stored = _select(cursor, items.execution(execution_id))
    if stored is not None and stored.get(items.LEASE_MESSAGE) == tag:
        _write(cursor, {**stored, items.LEASE_UNTIL: 0})


def _select(cursor: sqlite3.Cursor, key: Key) -> Item | None:
    row = cursor.execute("SELECT body FROM items WHERE pk = ? AND sk = ?", key).fetchone()
    return None if row is None else _load(row[0])


def _write(cursor: sqlite3.Cursor, item: Item) -> None:
    cursor.execute(
        "INSERT OR REPLACE INTO items (pk, sk, body, bucket, started, expires) VALUES (?, ?, ?, ?, ?, ?)",
        (
            item[items.PK],
            item[items.SK],
            _dump(item),
            item.get(items.BUCKET),
            item.get(items.BUCKET_SORT),
            item.get(items.TTL),
        ),
    )


def _pack(value: Value) -> dict[str, Any]:
    """What JSON lacks, as an object; no attribute is an object otherwise."""
    if isinstance(value, bytes):
        return {"b": base64.b85encode(value).decode()}
    if isinstance(value, frozenset):
        return {"s": sorted(value)}
    raise TypeError(f"{type(value).__name__} is no attribute value")


def _load(body: Any) -> Item:
    return _read(body)


def _unpack(found: dict[str, Any]) -> Any:
    if len(found) == 1:
        if "b" in found:
            return base64.b85decode(found["b"])
        if "s" in found:
            return frozenset(found["s"])
    return found


_dump: Final = json.JSONEncoder(default=_pack, ensure_ascii=False, separators=(",", ":")).encode
_read: Final = json.JSONDecoder(object_hook=_unpack).decode
