"""The DefaultBus port on SQLite: what EventBridge does on AWS, for `put_event` on a laptop and in tests."""

from __future__ import annotations

import json
import uuid
from typing import Any

from polos.clock import new_token
from polos.core import patterns
from polos.core.identity import digest
from polos.local.database import Database
from polos.local.inbox import LocalInbox
from polos.ports import Clock, Outgoing, PatternRule

_ACCOUNT, _REGION = "000000000000", "local"


class LocalDefaultBus:
    """Rules as rows, so that a publisher needs not have the code of what it triggers."""

    def __init__(self, database: Database, inbox: LocalInbox, clock: Clock) -> None:
        self._database, self._inbox, self._clock = database, inbox, clock

    def apply(self, rule: PatternRule) -> None:
        with self._database.transaction() as cursor:
            cursor.execute(
                "INSERT OR REPLACE INTO patterns (workflow, pattern) VALUES (?, ?)", (rule.workflow_id, rule.pattern)
            )

    def remove(self, workflow_id: str) -> None:
        with self._database.transaction() as cursor:
            cursor.execute("DELETE FROM patterns WHERE workflow = ?", (workflow_id,))

    def list(self) -> list[PatternRule]:
        rows = self._database.read("SELECT workflow, pattern FROM patterns ORDER BY workflow")
        return [PatternRule(str(workflow), str(pattern)) for workflow, pattern in rows]

    def put(self, source: str, detail_type: str, detail: str, event_id: str | None = None) -> str:
        """The event in EventBridge's envelope, to each workflow whose rule it matches."""
        envelope: dict[str, Any] = {
            "version": "0",
            "id": event_id if event_id is not None else str(uuid.UUID(digest("event", new_token(), length=32))),
            "detail-type": detail_type,
            "source": source,
            "account": _ACCOUNT,
            "time": f"{self._clock.now():%Y-%m-%dT%H:%M:%SZ}",
            "region": _REGION,
            "resources": [],
            "detail": json.loads(detail),
        }
        matched = [rule for rule in self.list() if patterns.matches(json.loads(rule.pattern), envelope)]
        if matched:
            self._inbox.send([Outgoing({"t": "native", "wf": one.workflow_id, "event": envelope}) for one in matched])
        return str(envelope["id"])
