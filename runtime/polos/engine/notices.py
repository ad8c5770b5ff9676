"""What the engine tells of executions: counts and measures for the operator, statuses for other programs.

Decides nothing, and is told after the write that made it true: a process that dies in between tells less, never more.
The statuses for other programs are a duty, repeated until the message is done; their ids say which are the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from polos.core import items
from polos.core.conditions import Item
from polos.core.identity import digest
from polos.engine import commands
from polos.engine.engine import Engine
from polos.engine.lease import Lease
from polos.ports import Message, Notice

_ENDS: Final[Mapping[str, Notice]] = {
    "completed": Notice.COMPLETED,
    "failed": Notice.FAILED,
    "cancelled": Notice.CANCELLED,
    "timed_out": Notice.TIMED_OUT,
}


def owned(engine: Engine, message: Message, item: Item) -> None:
    """A message took the lease. A status for others, if the execution has not got anywhere yet."""
    workflow_id, epoch = items.text(item, items.WORKFLOW), items.number(item, items.EPOCH)
    told = engine.telemetry
    told.owns(workflow_id, epoch)
    if epoch == 1:
        told.note(Notice.STARTED, workflow_id)
    due = message.body.get("due")
    since = due if isinstance(due, int) else message.sent  # a message's own delay counts as waiting
    if since is not None and message.received == 1:
        told.note(Notice.WAKE_TO_RUN, workflow_id, max(0, engine.now() - since))
    if items.PROGRESS not in item:
        tell(engine, item, "running")


def died(engine: Engine, workflow_id: str) -> None:
    """The invocation before this one ended without saying so."""
    engine.telemetry.note(Notice.DEATHS, workflow_id)


def retries(engine: Engine, workflow_id: str) -> None:
    """An attempt of a step failed, and another one follows."""
    engine.telemetry.note(Notice.STEP_RETRIES, workflow_id)


def ended(engine: Engine, item: Item, lease: Lease | None = None) -> None:
    """An execution has ended; nothing if it was somebody else than the owner of this lease who ended it."""
    if lease is not None and item.get(items.FINISHER) != lease.holder.token:
        return
    workflow_id = items.text(item, items.WORKFLOW)
    engine.telemetry.note(_ENDS[items.text(item, items.STATUS)], workflow_id)
    if items.document(item, items.FAILURE).get("type") == "CrashLoopError":
        engine.telemetry.note(Notice.CRASH_LOOPS, workflow_id)


def tell(engine: Engine, item: Item, status: str) -> None:
    """A status for other programs, where the stack was asked for it. 1 request; without payloads, and repeatable."""
    lifecycle = engine.backend.lifecycle
    if lifecycle is None:
        return
    execution_id, generation = items.text(item, items.PK), items.number(item, items.GENERATION)
    root = commands.root_of(item)
    about: dict[str, Any] = {
        "id": digest(execution_id, status, str(generation), length=32),
        "execution_id": execution_id,
        "workflow_id": items.text(item, items.WORKFLOW),
        "status": status,
        "generation": generation,
        "root_execution_id": root["x"],
        "parent_execution_id": commands.parent_of(item).get("x"),
        "next_execution_id": item.get(items.NEXT),
        "error_type": items.document(item, items.FAILURE).get("type"),
        "tags": items.document(item, items.START).get("tags") or {},
    }
    times = {"created_at": items.CREATED, "started_at": items.STARTED, "ended_at": items.ENDED}
    about |= {
        shown: commands.moment(items.number(item, name)).isoformat() for shown, name in times.items() if name in item
    }
    lifecycle.tell({name: value for name, value in about.items() if value is not None})
