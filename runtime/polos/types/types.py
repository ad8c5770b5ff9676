"""Payloads, results and details: plain pydantic models, no behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class EventPayload(BaseModel):
    """One event, as a wait returns it and a triggered workflow receives it.

    `sequence_id` orders events by publisher time; `created_at` is the publisher's time (aware, UTC).
    """

    id: str
    sequence_id: int
    topic: str
    event_type: str | None = None
    data: Any = None
    created_at: datetime


class BatchEventPayload(BaseModel):
    """The events of one batch, in order."""

    events: list[EventPayload]


@dataclass(frozen=True, slots=True)
class EventPattern:
    """Which native events of EventBridge trigger a workflow: `@workflow(trigger_on_event=EventPattern({...}))`.

    `pattern` is an event pattern as EventBridge takes it, for the events of the account's default bus, for example
    `{"source": ["aws.s3"], "detail-type": ["Object Created"]}`. The decorator checks it.
    """

    pattern: Mapping[str, Any]


class SchedulePayload(BaseModel):
    """What a scheduled workflow receives.

    `timestamp` is the nominal time of the tick (aware, UTC), `last_timestamp` that of the last tick that started an
    execution, `upcoming` the next nominal time, `timezone` an IANA name.
    """

    timestamp: datetime
    last_timestamp: datetime | None = None
    timezone: str = "UTC"
    schedule_id: str
    key: str
    upcoming: datetime


class StreamEvent(EventPayload):
    """One event of a stream."""


class BatchWorkflowInput(BaseModel):
    """One item of a batch: `id` is the workflow's id."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    id: str
    payload: Any = None
    initial_state: Any = None
    run_timeout_seconds: float | None = None


class BatchStepResult(BaseModel):
    """The outcome of one item of a batch, in the order of the inputs."""

    workflow_id: str
    success: bool
    result: Any = None
    error: str | None = None


class Paused(BaseModel):
    """A queue or a workflow that is paused: `kind` is "queue" or "workflow"."""

    kind: str
    name: str
    since: datetime


class ErrorDetail(BaseModel):
    """A failure: class name, message and the original traceback as text."""

    type: str
    message: str
    traceback: str | None = None


class StepDetail(BaseModel):
    """One step of an execution, in the order in which the steps began.

    `kind` is "step", "timer", "event", "suspend", "child", "invoke", "publish", "resume", "uuid", "now", "random" …;
    `status` is "completed", "failed", "retrying", "waiting" or "started". `detail` says what a wait is for.
    """

    key: str
    kind: str
    status: str
    attempts: int = 0
    started_at: datetime | None = None
    ended_at: datetime | None = None
    result: Any = None
    error: ErrorDetail | None = None
    detail: dict[str, Any] = Field(default_factory=dict)


class ExecutionSummary(BaseModel):
    """One line of a listing."""

    id: str
    workflow_id: str
    status: str
    created_at: datetime
    started_at: datetime | None = None
    completed_at: datetime | None = None
    parent_execution_id: str | None = None
    tags: dict[str, str] = Field(default_factory=dict)


class PlaceInLine(BaseModel):
    """Where an execution waits for a queue that has its limit running.

    `running` are the ids of those that hold the slots, `ahead` counts who stands before it (at most 200 are counted).
    `resumes`: it has run before.
    """

    queue: str
    concurrency_key: str | None = None
    limit: int
    running: list[str]
    ahead: int
    resumes: bool


class ExecutionDetail(ExecutionSummary):
    """Everything that is known of one execution.

    `invocations` counts the invocations that advanced it, `deaths` those in a row that ended without saying so.
    `waiting_for` are the steps that it waits for, `in_line` the full queue. `next_try_at` is when it runs again after a
    failure of the whole execution, or after its invocations died. `held_by` is the
    pause of its queue or workflow, `paused_at` that of itself alone. `timeout` is the time that the whole may take; it
    counts from the start, or from the last retry by hand, until `timeout_at`.
    """

    payload: Any = None
    result: Any = None
    error: ErrorDetail | None = None
    steps: list[StepDetail] = Field(default_factory=list[StepDetail])
    waiting_for: list[StepDetail] = Field(default_factory=list[StepDetail])
    children: list[str] = Field(default_factory=list[str])
    invocations: int = 0
    deaths: int = 0
    retry_count: int = 0
    root_execution_id: str = ""
    root_workflow_id: str = ""
    session_id: str | None = None
    user_id: str | None = None
    timeout: timedelta | None = None
    timeout_at: datetime | None = None
    paused_at: datetime | None = None
    held_by: Paused | None = None
    next_try_at: datetime | None = None
    in_line: PlaceInLine | None = None
    final_state: Any = None
