"""Schedules made at run time: create, list, pause, resume, delete."""

from __future__ import annotations

import builtins
from dataclasses import replace
from typing import Any

from pydantic import BaseModel

from polos import ambient
from polos.ambient import Client
from polos.core import cron as cron_expressions
from polos.core.identity import check_queue, schedule_id
from polos.declaration import check_overlap
from polos.errors import InvalidPayloadError, WorkflowDefinitionError
from polos.ports import Recurring
from polos.types.types import SchedulePayload
from polos.workflow import Workflow, find_workflow

__all__ = ["Schedule", "SchedulePayload", "create", "delete", "list", "pause", "resume"]


class Schedule(BaseModel):
    """One schedule: five-field cron, IANA time zone, one for each workflow and key.

    `overlap` says what a tick does that finds the execution before it still open: "skip" or "allow".
    """

    id: str
    workflow_id: str
    key: str
    cron: str
    timezone: str
    paused: bool
    overlap: str = "skip"


async def create(
    client: Client | None,
    workflow: Workflow[Any, Any] | str,
    cron: str,
    timezone: str = "UTC",
    key: str = "global",
    overlap: str = "skip",
) -> str:
    """Run a workflow at the times of a five-field cron expression; returns the schedule's id.

    One schedule for each workflow and key: creating it again changes it, and leaves it paused if it is. A tick that
    finds the execution before it still open is skipped, or with `overlap="allow"` started beside it.
    On AWS: 1 or 2 requests, after a listing of all schedules (1 per 100, and 1 for each) that tells whether it is there
    and paused. Raises `InvalidPayloadError` if the workflow is not declared with `schedule=`, or if the expression, the
    time zone or `overlap` is wrong.
    """
    found = find_workflow(workflow)
    if not found.schedulable:
        raise InvalidPayloadError(f"Workflow {found.id!r} can't be scheduled: declare it with schedule=True.")
    check_queue(key, "schedule key")
    try:
        check_overlap(overlap)
        cron_expressions.parse(cron, timezone)
    except WorkflowDefinitionError as error:
        raise InvalidPayloadError(str(error)) from None
    chosen = ambient.client(client)
    before = next((one for one in await chosen.list_schedules() if (one.workflow_id, one.key) == (found.id, key)), None)
    paused = before is not None and before.paused
    await chosen.apply_schedule(Recurring(found.id, key, cron, timezone, overlap=overlap, paused=paused))
    return schedule_id(found.id, key)


async def list(
    client: Client | None = None, workflow: Workflow[Any, Any] | str | None = None
) -> builtins.list[Schedule]:
    """Every schedule, or those of one workflow, by workflow and key."""
    wanted = workflow.id if isinstance(workflow, Workflow) else workflow
    found = await ambient.client(client).list_schedules()
    return [
        Schedule(
            id=schedule_id(one.workflow_id, one.key),
            workflow_id=one.workflow_id,
            key=one.key,
            cron=one.cron,
            timezone=one.timezone,
            paused=one.paused,
            overlap=one.overlap,
        )
        for one in sorted(found, key=lambda one: (one.workflow_id, one.key))
        if wanted in (None, one.workflow_id)
    ]


async def pause(client: Client | None, workflow: Workflow[Any, Any] | str, key: str = "global") -> None:
    """Start nothing at its times until `resume`. Raises `InvalidPayloadError` if there is no such schedule.

    Here and below, the id that `create` returned may be given in place of workflow and key.
    """
    chosen = ambient.client(client)
    await chosen.apply_schedule(replace(await _find(chosen, workflow, key), paused=True))


async def resume(client: Client | None, workflow: Workflow[Any, Any] | str, key: str = "global") -> None:
    """Go on with a paused schedule; the ticks in between are not made up for."""
    chosen = ambient.client(client)
    await chosen.apply_schedule(replace(await _find(chosen, workflow, key), paused=False))


async def delete(client: Client | None, workflow: Workflow[Any, Any] | str, key: str = "global") -> None:
    """Remove a schedule. One that the code declares comes back at the next deployment."""
    chosen = ambient.client(client)
    found = await _find(chosen, workflow, key)
    await chosen.remove_schedule(found.workflow_id, found.key)


async def _find(client: Client, workflow: Workflow[Any, Any] | str, key: str) -> Recurring:
    wanted = workflow.id if isinstance(workflow, Workflow) else workflow
    for one in await client.list_schedules():
        if (one.workflow_id, one.key) == (wanted, key) or schedule_id(one.workflow_id, one.key) == wanted:
            return one
    if ":" in wanted:  # no workflow is called so
        raise InvalidPayloadError(f"There is no schedule {wanted!r}.")
    raise InvalidPayloadError(f"Workflow {wanted!r} has no schedule with the key {key!r}.")
