"""Recurring schedules on EventBridge Scheduler."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from polos.aws.recurrences import SCHEDULED_TIME, SchedulerRecurrences, nominal, part_name
from polos.engine.commands import millis, tick
from polos.errors import InvalidPayloadError
from polos.ports import Recurring
from polos.testing.moto_account import MotoAccount

DAILY = Recurring("report", "global", "0 8 * * 1-5", "Europe/Berlin", declared=True)
EITHER = Recurring("report", "ä key/with: everything" * 20, "0 8 1,15 * 1", "UTC")


@pytest.fixture
def recurrences(account: MotoAccount) -> SchedulerRecurrences:
    return SchedulerRecurrences(account.runtime, account.settings)


def _made(account: MotoAccount) -> dict[str, dict[str, Any]]:
    scheduler = account.aws.scheduler
    names = [one["Name"] for one in scheduler.list_schedules(GroupName=account.stack)["Schedules"]]
    return {name: scheduler.get_schedule(GroupName=account.stack, Name=name) for name in names}


def test_a_schedule_sends_its_tick_with_the_nominal_time(
    account: MotoAccount, recurrences: SchedulerRecurrences
) -> None:
    recurrences.apply(DAILY)

    ((name, made),) = _made(account).items()
    assert name == part_name("report", "global", 0)
    assert made["ScheduleExpression"] == "cron(0 8 ? * MON-FRI *)"
    assert made["ScheduleExpressionTimezone"] == "Europe/Berlin"
    assert made["State"] == "ENABLED"
    assert made["Target"]["Arn"] == account.settings.events_queue_arn
    said = json.loads(made["Target"]["Input"])
    assert said == {
        "t": "tick", "wf": "report", "key": "global", "cron": "0 8 * * 1-5", "tz": "Europe/Berlin", "ov": "skip",
        "dc": True, "at": SCHEDULED_TIME,
    }  # fmt: skip
    sent = json.loads(made["Target"]["Input"].replace(SCHEDULED_TIME, "2030-01-01T07:00:00Z"))
    assert nominal(sent) == tick(DAILY, millis(datetime(2030, 1, 1, 7, tzinfo=UTC)))


def test_either_day_field_needs_two_schedules(account: MotoAccount, recurrences: SchedulerRecurrences) -> None:
    recurrences.apply(EITHER)

    made = _made(account)
    assert {one["ScheduleExpression"] for one in made.values()} == {"cron(0 8 1,15 * ? *)", "cron(0 8 ? * MON *)"}
    assert all(len(name) <= 64 and len(one["Description"]) <= 512 for name, one in made.items())
    assert recurrences.list() == [EITHER]


def test_a_listing_is_what_was_applied(recurrences: SchedulerRecurrences) -> None:
    paused = replace(DAILY, key="other", paused=True)
    for one in (DAILY, paused, EITHER):
        recurrences.apply(one)

    assert set(recurrences.list()) == {DAILY, paused, EITHER}


def test_applying_again_replaces(account: MotoAccount, recurrences: SchedulerRecurrences) -> None:
    for one in (EITHER, replace(EITHER, cron="5 9 * * *"), replace(EITHER, cron="5 9 * * *", paused=True)):
        recurrences.apply(one)
        assert recurrences.list() == [one]

    ((_, made),) = _made(account).items()
    assert made["ScheduleExpression"] == "cron(5 9 * * ? *)"
    assert made["State"] == "DISABLED"


def test_removing_takes_every_part_and_no_others(account: MotoAccount, recurrences: SchedulerRecurrences) -> None:
    recurrences.apply(DAILY)
    recurrences.apply(EITHER)

    recurrences.remove(EITHER.workflow_id, EITHER.key)
    recurrences.remove(EITHER.workflow_id, EITHER.key)

    assert recurrences.list() == [DAILY]
    assert len(_made(account)) == 1


def test_timers_of_the_same_group_are_not_listed(account: MotoAccount, recurrences: SchedulerRecurrences) -> None:
    account.aws.scheduler.create_schedule(
        Name="t-1", GroupName=account.stack, ScheduleExpression="at(2030-01-01T00:00:00)",
        FlexibleTimeWindow={"Mode": "OFF"}, Target={"Arn": "arn:aws:sqs:us-east-1:1:q", "RoleArn": "arn:aws:iam::1:r"},
    )  # fmt: skip

    assert recurrences.list() == []


class BrokenOff(Exception):
    pass


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_change_that_broke_off_shows_as_a_difference(
    account: MotoAccount, recurrences: SchedulerRecurrences, after: int
) -> None:
    """However many requests were made before the process died, the next reconciliation makes the change again."""
    recurrences.apply(DAILY)
    wanted = Recurring("report", "global", "0 8 L,15 * 1", "UTC")
    left = [after]

    def die(**_: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise BrokenOff

    scheduler = account.runtime.scheduler
    scheduler.meta.events.register("before-call", die)
    try:
        with pytest.raises(BrokenOff):
            recurrences.apply(wanted)
    finally:
        scheduler.meta.events.unregister("before-call", die)

    assert recurrences.list() != [wanted]
    recurrences.apply(wanted)
    assert recurrences.list() == [wanted]
    assert len(_made(account)) == 3


def test_a_schedule_without_its_first_part_is_listed_as_none_that_anybody_declared(
    account: MotoAccount, recurrences: SchedulerRecurrences
) -> None:
    recurrences.apply(EITHER)
    account.aws.scheduler.delete_schedule(GroupName=account.stack, Name=part_name(EITHER.workflow_id, EITHER.key, 0))

    assert recurrences.list() == [replace(EITHER, cron="")]
    recurrences.remove(EITHER.workflow_id, EITHER.key)
    assert recurrences.list() == []


def test_a_listing_of_many_costs_a_request_each_and_one_a_hundred(
    recurrences: SchedulerRecurrences, requests: Counter[str]
) -> None:
    for index in range(3):
        recurrences.apply(replace(DAILY, key=str(index)))
    requests.clear()

    assert len(recurrences.list()) == 3
    assert requests == {"ListSchedules": 1, "GetSchedule": 3}


@pytest.mark.parametrize("at", ["2030-01-01T08:00:00Z", "2030-01-01T08:00:00+00:00", "2030-01-01T08:00:00"])
def test_a_nominal_time_is_utc(at: str) -> None:
    assert nominal({"t": "tick", "at": at}) == {"t": "tick", "at": millis(datetime(2030, 1, 1, 8, tzinfo=UTC))}


@pytest.mark.parametrize("at", [None, 5, "", "soon", SCHEDULED_TIME])
def test_a_tick_without_a_time_is_refused(at: object) -> None:
    with pytest.raises(InvalidPayloadError, match="nominal time"):
        nominal({"t": "tick", "at": at})
