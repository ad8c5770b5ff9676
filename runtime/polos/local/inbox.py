"""The Inbox, Timers, Topics and Payloads ports on SQLite, and receiving from the inbox."""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from polos.core.identity import message_tag
from polos.engine.commands import event, millis
from polos.local.database import Database
from polos.local.presence import Presence
from polos.local.table import end_lease
from polos.ports import Clock, Event, Message, Outgoing

VISIBILITY_MS = 30_000
_LANES = {"wake": 0, "start": 1}
_INSERT = (
    "INSERT OR IGNORE INTO messages (body, workflow, lane, visible_at, root, origin, name) VALUES (?, ?, ?, ?, ?, ?, ?)"
)


@dataclass(frozen=True, slots=True)
class Received:
    """A message in the hands of this process; `row` names it in the database."""

    row: int
    message: Message


class LocalInbox:
    """Messages as rows. `changed` is set when something was sent.

    A process that runs only its own executions takes the messages of those that it has started (and of their
    children), and events, which any process can deliver. `homes` says which process started an execution.
    """

    def __init__(self, database: Database, clock: Clock, presence: Presence) -> None:
        self._database, self._clock, self._presence = database, clock, presence
        self._origin = presence.name
        self.changed = threading.Event()

    # ---- ports

    def send(self, messages: Sequence[Outgoing]) -> None:
        now = millis(self._clock.now())
        started = [str(m.body.get("x", "")) for m in messages if m.body.get("t") == "start"]
        self._move_in([execution_id for execution_id in started if "/" not in execution_id])
        rows = [self._row(m.body, _LANES[m.lane], now + int(m.delay * 1000), None) for m in messages]
        with self._database.transaction() as cursor:
            cursor.executemany(_INSERT, rows)
        self.changed.set()

    def schedule(self, name: str, due: datetime, body: Mapping[str, Any]) -> None:
        """The Timers port: a message that is visible from `due` on, once for each name."""
        with self._database.transaction() as cursor:
            cursor.execute(_INSERT, self._row(body, _LANES["wake"], millis(due), name))
        self.changed.set()

    def publish(self, events: Sequence[Event]) -> None:
        """The Topics port. A message of its own for each workflow that the topic is known to trigger."""
        bodies = [event(one) for one in events]
        for body in list(bodies):
            rows = self._database.read("SELECT workflow FROM triggers WHERE topic = ?", body["tp"])
            bodies += [{**body, "wf": str(row[0])} for row in rows]
        self.send([Outgoing(body) for body in bodies])

    def _row(self, body: Mapping[str, Any], lane: int, visible_at: int, name: str | None) -> tuple[object, ...]:
        root = str(body.get("x", "")).split("/", 1)[0]
        return json.dumps(body), body.get("wf", ""), lane, visible_at, root, self._origin, name

    def _move_in(self, roots: Sequence[str]) -> None:
        """Make this process the home of what it starts, unless another one that lives is it already."""
        for root in roots:
            found = self._database.read("SELECT process FROM homes WHERE root = ?", root)
            if not found or self._presence.is_dead(str(found[0][0])):
                with self._database.transaction() as cursor:
                    cursor.execute("INSERT OR REPLACE INTO homes (root, process) VALUES (?, ?)", (root, self._origin))

    def declare_triggers(self, triggers: Mapping[str, str]) -> None:
        """Remember which workflow (id) is triggered by which topic, for publishers that don't have its code."""
        with self._database.transaction() as cursor:
            for workflow_id, topic in triggers.items():
                cursor.execute("DELETE FROM triggers WHERE workflow = ?", (workflow_id,))
                cursor.execute("INSERT INTO triggers (topic, workflow) VALUES (?, ?)", (topic, workflow_id))

    # ---- receiving

    def _mine(self, workflows: Collection[str], own: bool) -> tuple[str, list[object]]:
        where = "workflow IN (SELECT value FROM json_each(?))"
        parameters: list[object] = [json.dumps(["", *workflows])]
        if own:
            where += (
                " AND (root IN (SELECT root FROM homes WHERE process = ?)"
                " OR (root = '' AND (workflow = '' OR origin = ?)))"
            )
            parameters += [self._origin, self._origin]
        return where, parameters

    def receive(self, workflows: Collection[str], *, own: bool = False) -> Received | None:
        """The next due message for these workflows (or for none in particular); only this process's with `own`."""
        now = millis(self._clock.now())
        mine, rest = self._mine(workflows, own)
        where, parameters = f"visible_at <= ? AND {mine}", [now, *rest]
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
                "UPDATE messages SET visible_at = ?, received = received + 1, holder = ? WHERE id = ?",
                (now + VISIBILITY_MS, self._origin, row),
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
        where, parameters = self._mine(workflows, own)
        found = self._database.read(f"SELECT min(visible_at) FROM messages WHERE {where}", *parameters)
        value = found[0][0]
        return value if isinstance(value, int) else None

    def holders(self) -> list[str]:
        """The processes that hold messages, except this one."""
        rows = self._database.read(
            "SELECT DISTINCT holder FROM messages WHERE holder IS NOT NULL AND holder != ?", self._origin
        )
        return [str(row[0]) for row in rows]

    def take_over(self, dead: str) -> int:
        """Free what a process held that has provably ended: its messages, and the leases it took with them.

        Returns how many messages that were. One transaction: whoever else looks finds nothing left to free, and ends
        no lease that somebody has taken since with one of these messages.
        """
        now = millis(self._clock.now())
        with self._database.transaction() as cursor:
            rows = cursor.execute("SELECT id, body FROM messages WHERE holder = ?", (dead,)).fetchall()
            for row, body in rows:
                execution_id = json.loads(body).get("x")
                if isinstance(execution_id, str):
                    end_lease(cursor, execution_id, message_tag(str(row)))
            cursor.execute(
                "UPDATE messages SET visible_at = min(visible_at, ?), holder = NULL WHERE holder = ?", (now, dead)
            )
        self.changed.set()
        return len(rows)


class LocalPayloads:
    """The Payloads port."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database, self._clock = database, clock

    def put(self, key: str, data: bytes) -> None:
        with self._database.transaction() as cursor:
            cursor.execute(
                "INSERT INTO payloads (key, data, stored_at) VALUES (?, ?, ?) "
                "ON CONFLICT (key) DO UPDATE SET stored_at = excluded.stored_at",
                (key, data, millis(self._clock.now())),
            )

    def get(self, key: str) -> bytes:
        found = self._database.read("SELECT data FROM payloads WHERE key = ?", key)
        if not found:
            raise KeyError(key)
        data = found[0][0]
        assert isinstance(data, bytes)
        return data

    def renew(self, key: str) -> None:
        """A payload goes with its execution, and that of an event with the last that names it."""
