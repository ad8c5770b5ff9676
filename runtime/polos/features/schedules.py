"""Schedules made at run time."""

from __future__ import annotations

from typing import Any

from polos import ambient
from polos.ambient import Client
from polos.core import cron as cron_expressions
from polos.core.identity import schedule_id
from polos.errors import InvalidPayloadError, WorkflowDefinitionError
from polos.ports import Recurring
from polos.types.types import SchedulePayload
from polos.workflow import Workflow, find_workflow

__all__ = ["SchedulePayload", "create"]


async def create(
    client: Client | None,
    workflow: Workflow[Any, Any] | str,
    cron: str,
    timezone: str = "UTC",
    key: str = "global",
) -> str:
    """Run a workflow at the times of a five-field cron expression; returns the schedule's id.

    One schedule for each workflow and key: creating it again changes it. Raises `InvalidPayloadError` if the workflow
    is not declared with `schedule=`, or if the expression or the time zone is wrong.
    """
    found = find_workflow(workflow)
    if not found.schedulable:
        raise InvalidPayloadError(f"Workflow {found.id!r} can't be scheduled: declare it with schedule=True.")
    try:
        cron_expressions.parse(cron, timezone)
    except WorkflowDefinitionError as error:
        raise InvalidPayloadError(str(error)) from None
    await ambient.client(client).apply_schedule(Recurring(found.id, key, cron, timezone))
    return schedule_id(found.id, key)
