"""The Inbox, Timers, Topics and Payloads ports on SQLite, and receiving from the inbox."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from polos.core import items
from polos.core.conditions import Change, Equals
from polos.core.identity import message_tag
from polos.engine.commands import event, millis
from polos.local.database import Database
from polos.local.table import LocalTable
from polos.ports import Clock, ConditionFailed, Event, Message, Outgoing

VISIBILITY_MS = 30_000
_LANES = {"wake": 0, "start": 1}


@dataclass(frozen=True, slots=True)
class Received:
    """A message in the hands of this process; `row` names it in the database."""

    row: int
    message: Message


class LocalInbox:
    """Messages as rows. `origin` marks what this process sends, `changed` is set when something was sent."""

    def __init__(self, database: Database, clock: Clock, origin: str) -> None:
        self._database, self._clock, self._origin = database, clock, origin
        self.changed = threading.Event()

    # ---- ports

    def send(self, messages: Sequence[Outgoing]) -> None:
        now = millis(self._clock.now())
        with self._database.transaction() as cursor:
            cursor.executemany(
                "INSERT INTO messages (body, workflow, lane, visible_at, origin) VALUES (?, ?, ?, ?, ?)",
                [
                    (json.dumps(m.body), m.body.get("wf", ""), _LANES[m.lane], now + int(m.delay * 1000), self._origin)
                    for m in messages
                ],
            )
        self.changed.set()

    def schedule(self, name: str, due: datetime, body: Mapping[str, Any]) -> None:
        """The Timers port: a message that is visible from `due` on, once for each name."""
        with self._database.transaction() as cursor:
            cursor.execute(
                "INSERT OR IGNORE INTO messages (body, workflow, lane, visible_at, origin, name) "
                "VALUES (?, ?, 0, ?, ?, ?)",
                (json.dumps(body), body.get("wf", ""), millis(due), self._origin, name),
            )
        self.changed.set()

    def publish(self, events: Sequence[Event]) -> None:
        """The Topics port."""
        self.send([Outgoing(event(one)) for one in events])

    # ---- receiving

    def receive(self, workflows: Collection[str], *, own: bool = False) -> Received | None:
        """The next due message for these workflows (or for none in particular); only of this process with `own`."""
        now = millis(self._clock.now())
        known = json.dumps(["", *workflows])
        where = "visible_at <= ? AND workflow IN (SELECT value FROM json_each(?))"
        parameters: list[object] = [now, known]
        if own:
            where += " AND origin = ?"
            parameters.append(self._origin)
        if not self._database.read(f"SELECT 1 FROM messages WHERE {where} LIMIT 1", *parameters):
            return None
        with self._database.transaction() as cursor:
            found = cursor.execute(
                f"SELECT id, body, received FROM messages WHERE {where} ORDER BY lane, visible_at, id LIMIT 1",
                parameters,
            ).fetchone()
            if found is None:
                return None
            row, body, received = found
            cursor.execute(
                "UPDATE messages SET visible_at = ?, received = received + 1, holder = ?, origin = ? WHERE id = ?",
                (now + VISIBILITY_MS, self._origin, self._origin, row),
            )
        message = Message(str(row), json.loads(body), received + 1, lambda seconds: self.extend(row, seconds))
        return Received(row, message)

    def extend(self, row: int, seconds: float) -> None:
        """Have a message come again after this many seconds."""
        visible = millis(self._clock.now()) + int(seconds * 1000)
        with self._database.transaction() as cursor:
            cursor.execute("UPDATE messages SET visible_at = ? WHERE id = ?", (visible, row))

    def put_back(self, row: int) -> None:
        """Let go of a message; it comes again when its visibility says so."""
        with self._database.transaction() as cursor:
            cursor.execute("UPDATE messages SET holder = NULL WHERE id = ?", (row,))
        self.changed.set()

    def delete(self, row: int) -> None:
        with self._database.transaction() as cursor:
            cursor.execute("DELETE FROM messages WHERE id = ?", (row,))

    def bury(self, row: int, reason: str) -> None:
        """Keep a message that can never be handled, with the reason, where it blocks nobody."""
        with self._database.transaction() as cursor:
            cursor.execute("INSERT OR REPLACE INTO dead SELECT id, body, ? FROM messages WHERE id = ?", (reason, row))
            cursor.execute("DELETE FROM messages WHERE id = ?", (row,))

    def next_due(self, workflows: Collection[str], *, own: bool = False) -> int | None:
        """When the next message for these workflows becomes visible (ms); None: there is none."""
        where = "workflow IN (SELECT value FROM json_each(?))" + (" AND origin = ?" if own else "")
        parameters = [json.dumps(["", *workflows]), *([self._origin] if own else [])]
        found = self._database.read(f"SELECT min(visible_at) FROM messages WHERE {where}", *parameters)
        value = found[0][0]
        return value if isinstance(value, int) else None

    def holders(self) -> list[str]:
        """The processes that hold messages, except this one."""
        rows = self._database.read(
            "SELECT DISTINCT holder FROM messages WHERE holder IS NOT NULL AND holder != ?", self._origin
        )
        return [str(row[0]) for row in rows]

    def take_over(self, dead: str, table: LocalTable) -> int:
        """Free what a process held that has provably ended: its messages, and the leases it took with them.

        Returns how many messages that were.
        """
        rows = self._database.read("SELECT id, body FROM messages WHERE holder = ?", dead)
        for row, body in rows:
            execution_id = json.loads(str(body)).get("x")
            if isinstance(execution_id, str):
                mine = Equals(items.LEASE_MESSAGE, message_tag(str(row)))
                with contextlib.suppress(ConditionFailed):
                    table.update(items.execution(execution_id), Change(set={items.LEASE_UNTIL: 0}), mine)
        now = millis(self._clock.now())
        with self._database.transaction() as cursor:
            cursor.execute(
                "UPDATE messages SET visible_at = min(visible_at, ?), holder = NULL WHERE holder = ?", (now, dead)
            )
        self.changed.set()
        return len(rows)


class LocalPayloads:
    """The Payloads port."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, key: str, data: bytes) -> None:
        with self._database.transaction() as cursor:
            cursor.execute("INSERT OR IGNORE INTO payloads (key, data) VALUES (?, ?)", (key, data))

    def get(self, key: str) -> bytes:
        found = self._database.read("SELECT data FROM payloads WHERE key = ?", key)
        if not found:
            raise KeyError(key)
        data = found[0][0]
        assert isinstance(data, bytes)
        return data
