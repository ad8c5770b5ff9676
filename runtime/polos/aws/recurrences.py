"""Recurring schedules of EventBridge Scheduler as the Recurrences port.

One declaration becomes one or more schedules of the stack's group, the parts: Scheduler takes only one of the two day
fields, and neither lists of numbered weekdays (`polos.core.cron_translation`). Part 0 is written last and removed
last, and is what a listing believes, so a change that broke off in between shows as a difference and is made again.

    r-HASH-PART     HASH is made from workflow and key, PART counts from 0; DISABLED means paused
    Input           {"t": "tick", "wf", "key", "cron", "tz", "ov", "dc", "at": "<aws.scheduler.scheduled-time>"}

Scheduler puts the nominal time in place of the keyword (User Guide, "Adding context attributes"); `nominal` reads it.
"dc" says that the schedule is declared in the code; it is for listings only.
Parts that fire at the same minute make one tick: its execution's id is made from workflow, key and nominal time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from polos.aws import faults
from polos.aws.clients import Clients
from polos.aws.settings import Settings
from polos.aws.timers import target
from polos.aws.wire import to_json
from polos.core.cron import parse
from polos.core.cron_translation import translate
from polos.core.identity import digest
from polos.engine.commands import millis
from polos.errors import InvalidPayloadError
from polos.ports import Recurring

PREFIX: Final = "r-"
SCHEDULED_TIME: Final = "<aws.scheduler.scheduled-time>"


class SchedulerRecurrences:
    """Thread-safe, but two changes of one schedule at the same time may leave it half changed."""

    def __init__(self, clients: Clients, settings: Settings) -> None:
        self._clients, self._settings = clients, settings

    def apply(self, schedule: Recurring) -> None:
        """Create it or replace it. 1 request, and 1 for each part that is, or was."""
        expressions = translate(parse(schedule.cron, schedule.timezone))
        there = self._parts(schedule.workflow_id, schedule.key)
        wanted = [part_name(schedule.workflow_id, schedule.key, part) for part in range(len(expressions))]
        for name in there - set(wanted):
            self._delete(name)
        for name, expression in reversed(list(zip(wanted, expressions, strict=True))):
            self._write(name, expression, schedule, exists=name in there)

    def remove(self, workflow_id: str, key: str) -> None:
        """1 request, and 1 for each part."""
        for name in sorted(self._parts(workflow_id, key), reverse=True):
            self._delete(name)

    def list(self) -> list[Recurring]:
        """1 request per 100 parts, and 1 for each schedule (a listing does not show what a schedule sends)."""
        first: dict[str, str] = {}
        for name in sorted(self._names(PREFIX)):
            first.setdefault(name.rpartition("-")[0], name)
        found = [self._read(name) for name in first.values()]
        return [one for one in found if one is not None]

    def _parts(self, workflow_id: str, key: str) -> set[str]:
        return set(self._names(_stem(workflow_id, key)))

    def _names(self, prefix: str) -> Iterator[str]:
        more: dict[str, Any] = {}
        while True:
            answer = faults.call(
                self._clients.scheduler.list_schedules,
                GroupName=self._settings.schedule_group,
                NamePrefix=prefix,
                MaxResults=100,
                **more,
            )
            for one in answer["Schedules"]:
                yield str(one["Name"])
            if not answer.get("NextToken"):
                return
            more = {"NextToken": answer["NextToken"]}

    def _read(self, name: str) -> Recurring | None:
        """The declaration that a part was made from. One whose part 0 is missing was broken off: it equals nothing."""
        try:
            found = self._clients.scheduler.get_schedule(GroupName=self._settings.schedule_group, Name=name)
        except ClientError as error:
            if faults.code_of(error) == "ResourceNotFoundException":
                return None
            raise faults.explained(error) from error
        except BotoCoreError as error:
            raise faults.explained(error) from error
        said: dict[str, Any] = json.loads(found["Target"]["Input"])
        whole = name.endswith("-0")
        paused = found.get("State") == "DISABLED"
        cron = said["cron"] if whole else ""
        overlap = str(said.get("ov", "skip"))
        return Recurring(said["wf"], said["key"], cron, said["tz"], paused, bool(said.get("dc")), overlap)

    def _write(self, name: str, expression: str, schedule: Recurring, *, exists: bool) -> None:
        parameters: dict[str, Any] = {
            "Name": name,
            "GroupName": self._settings.schedule_group,
            "Description": f"polos: {schedule.workflow_id}, {schedule.cron} {schedule.timezone}"[:512],
            "ScheduleExpression": expression,
            "ScheduleExpressionTimezone": schedule.timezone,
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "State": "DISABLED" if schedule.paused else "ENABLED",
            "Target": target(self._settings, self._settings.events_queue_arn, to_json(tick_input(schedule))),
        }
        scheduler = self._clients.scheduler
        first, second = scheduler.create_schedule, scheduler.update_schedule
        if exists:
            first, second = second, first
        try:
            first(**parameters)
        except ClientError as error:
            if faults.code_of(error) not in ("ConflictException", "ResourceNotFoundException"):
                raise faults.explained(error) from error
            faults.call(second, **parameters)
        except BotoCoreError as error:
            raise faults.explained(error) from error

    def _delete(self, name: str) -> None:
        try:
            self._clients.scheduler.delete_schedule(GroupName=self._settings.schedule_group, Name=name)
        except ClientError as error:
            if faults.code_of(error) != "ResourceNotFoundException":
                raise faults.explained(error) from error
        except BotoCoreError as error:
            raise faults.explained(error) from error


def _stem(workflow_id: str, key: str) -> str:
    return f"{PREFIX}{digest('schedule', workflow_id, key, length=40)}-"


def part_name(workflow_id: str, key: str, part: int) -> str:
    """The name of one part of a schedule."""
    return f"{_stem(workflow_id, key)}{part}"


def tick_input(schedule: Recurring) -> dict[str, Any]:
    """What Scheduler sends at each tick, the nominal time in place of the keyword."""
    return {
        "t": "tick",
        "wf": schedule.workflow_id,
        "key": schedule.key,
        "cron": schedule.cron,
        "tz": schedule.timezone,
        "ov": schedule.overlap,
        "dc": schedule.declared,
        "at": SCHEDULED_TIME,
    }


def nominal(body: Mapping[str, Any]) -> dict[str, Any]:
    """A tick as Scheduler sent it, as the message that the engine knows: `at` in milliseconds since 1970.

    Scheduler writes the time as 2022-03-22T18:59:43Z. Raises `InvalidPayloadError` for anything else.
    """
    at = body.get("at")
    try:
        moment = datetime.fromisoformat(at) if isinstance(at, str) else None
    except ValueError:
        moment = None
    if moment is None:
        raise InvalidPayloadError(f"A tick has the nominal time {at!r}; it must be like 2022-03-22T18:59:43Z.")
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return {**{name: value for name, value in body.items() if name != "dc"}, "at": millis(aware)}
