"""The Recurrences port on SQLite. Ticks missed while no process ran fire once, for the latest time missed."""

from __future__ import annotations

import json
from collections.abc import Collection

from polos.core import cron
from polos.engine.commands import millis, moment, tick
from polos.local.database import Database
from polos.local.inbox import LocalInbox
from polos.ports import Clock, Outgoing, Recurring

_LIVE = "paused = 0 AND workflow IN (SELECT value FROM json_each(?))"


def _list(workflows: Collection[str]) -> str:
    return json.dumps([*workflows])


class LocalRecurrences:
    """Schedules as rows, each with its next nominal time."""

    def __init__(self, database: Database, inbox: LocalInbox, clock: Clock) -> None:
        self._database, self._inbox, self._clock = database, inbox, clock

    def apply(self, schedule: Recurring) -> None:
        following = cron.parse(schedule.cron, schedule.timezone).next_after(self._clock.now())
        with self._database.transaction() as cursor:
            cursor.execute(
                "INSERT OR REPLACE INTO schedules (workflow, key, cron, timezone, paused, declared, overlap, "
                "next_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    schedule.workflow_id,
                    schedule.key,
                    schedule.cron,
                    schedule.timezone,
                    int(schedule.paused),
                    int(schedule.declared),
                    schedule.overlap,
                    millis(following),
                ),
            )
        self._inbox.changed.set()

    def remove(self, workflow_id: str, key: str) -> None:
        with self._database.transaction() as cursor:
            cursor.execute("DELETE FROM schedules WHERE workflow = ? AND key = ?", (workflow_id, key))

    def list(self) -> list[Recurring]:
        rows = self._database.read(
            "SELECT workflow, key, cron, timezone, paused, declared, overlap FROM schedules ORDER BY 1, 2"
        )
        return [Recurring(str(w), str(k), str(c), str(t), bool(p), bool(d), str(o)) for w, k, c, t, p, d, o in rows]

    def next_due(self, workflows: Collection[str]) -> int | None:
        """The next nominal time (ms) of a schedule of these workflows that is not paused."""
        found = self._database.read(f"SELECT min(next_at) FROM schedules WHERE {_LIVE}", _list(workflows))
        value = found[0][0]
        return value if isinstance(value, int) else None

    def fire_due(self, workflows: Collection[str]) -> None:
        """Send the ticks of these workflows that are due, each before its schedule moves on.

        A tick that is sent twice starts one execution.
        """
        now = self._clock.now()
        rows = self._database.read(
            f"SELECT workflow, key, cron, timezone, overlap, next_at FROM schedules WHERE {_LIVE} AND next_at <= ?",
            _list(workflows),
            millis(now),
        )
        for workflow_id, key, expression, timezone, overlap, next_at in rows:
            schedule = Recurring(str(workflow_id), str(key), str(expression), str(timezone), overlap=str(overlap))
            parsed = cron.parse(schedule.cron, schedule.timezone)
            latest = parsed.previous_at_or_before(now) or moment(int(str(next_at)))
            self._inbox.send([Outgoing(tick(schedule, millis(latest)))])
            with self._database.transaction() as cursor:
                cursor.execute(
                    "UPDATE schedules SET next_at = ? WHERE workflow = ? AND key = ? AND next_at = ?",
                    (millis(parsed.next_after(now)), workflow_id, key, next_at),
                )
