"""One-time schedules of EventBridge Scheduler as the Timers port: waits of more than 15 minutes.

A schedule fires within the minute after its time, at least once, and deletes itself (Scheduler User Guide, "Schedule
types" and "Deleting a schedule"). It sends its body to the wake queue, as a delayed message would have come.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from polos.aws import faults
from polos.aws.clients import Clients
from polos.aws.settings import Settings
from polos.aws.wire import to_json
from polos.core.identity import digest

PREFIX = "t-"


class SchedulerTimers:
    """1 request a timer (CreateSchedule). Thread-safe."""

    def __init__(self, clients: Clients, settings: Settings) -> None:
        self._clients, self._settings = clients, settings

    def schedule(self, name: str, due: datetime, body: Mapping[str, Any]) -> None:
        try:
            self._clients.scheduler.create_schedule(
                Name=timer_name(name),
                GroupName=self._settings.schedule_group,
                ScheduleExpression=f"at({whole_second(due):%Y-%m-%dT%H:%M:%S})",
                ScheduleExpressionTimezone="UTC",
                FlexibleTimeWindow={"Mode": "OFF"},
                ActionAfterCompletion="DELETE",
                Target=target(self._settings, self._settings.wake_queue_arn, to_json(body)),
            )
        except ClientError as error:
            if faults.code_of(error) != "ConflictException":  # armed before, by an invocation that did not record it
                raise faults.explained(error) from error
        except BotoCoreError as error:
            raise faults.explained(error) from error


def timer_name(name: str) -> str:
    """A schedule's name: 64 characters at most, of a small alphabet (API reference, "CreateSchedule")."""
    return f"{PREFIX}{digest('timer', name, length=40)}"


def whole_second(moment: datetime) -> datetime:
    """Scheduler knows whole seconds; a timer must not come early."""
    return datetime.fromtimestamp(math.ceil(moment.timestamp()), UTC)


def target(settings: Settings, queue_arn: str, text: str) -> dict[str, Any]:
    """Send a body to a queue; tried for a day, then kept with the dead letters."""
    return {
        "Arn": queue_arn,
        "RoleArn": settings.scheduler_role_arn,
        "Input": text,
        "RetryPolicy": {"MaximumEventAgeInSeconds": 86_400, "MaximumRetryAttempts": 185},
        "DeadLetterConfig": {"Arn": settings.dead_letters_arn},
    }
