"""The registrar: schedules and rules become what the code declares, and no others are touched (SPEC 8.7)."""

from __future__ import annotations

from collections import Counter

import pytest

from polos.ports import Recurring
from tests.aws.registrar.deployment import DAILY, HOURLY, UNSCHEDULED, UPLOADS, Deployment

pytestmark = [pytest.mark.sockets, pytest.mark.process]


def test_create_makes_the_declared_schedules(deployment: Deployment) -> None:
    deployment.code(DAILY)

    answer = deployment.call("Create")

    assert answer["Status"] == "SUCCESS", answer
    assert deployment.schedules == {"daily": "0 8 * * *"}


def test_update_creates_changes_and_removes(deployment: Deployment) -> None:
    deployment.code(DAILY + HOURLY)
    deployment.call("Create")
    deployment.code(DAILY.replace("0 8", "0 9"))

    deployment.call("Update", version=2, before=1)

    assert deployment.schedules == {"daily": "0 9 * * *"}


def test_a_schedule_taken_out_of_the_code_is_removed(deployment: Deployment) -> None:
    deployment.code(DAILY)
    deployment.call("Create")
    deployment.code(UNSCHEDULED)

    deployment.call("Update", version=2, before=1)

    assert deployment.schedules == {}


def test_a_schedule_made_at_run_time_stays(deployment: Deployment) -> None:
    deployment.targets.recurrences.apply(Recurring("daily", "eu", "0 7 * * *", "Europe/Berlin"))
    deployment.code(HOURLY)
    deployment.call("Create")

    deployment.call("Delete")

    assert deployment.schedules == {"daily": "0 7 * * *"}


def test_a_pause_outlives_a_deployment(deployment: Deployment) -> None:
    deployment.code(DAILY)
    deployment.call("Create")
    (one,) = deployment.targets.recurrences.list()
    deployment.targets.recurrences.apply(Recurring(one.workflow_id, one.key, one.cron, one.timezone, True, True))

    deployment.call("Update", version=2, before=1)

    assert [one.paused for one in deployment.targets.recurrences.list()] == [True]


def test_delete_removes_what_was_declared_without_importing(deployment: Deployment) -> None:
    deployment.code(DAILY)
    deployment.call("Create")
    deployment.code("raise RuntimeError('never to be imported')")

    answer = deployment.call("Delete")

    assert answer["Status"] == "SUCCESS"
    assert deployment.schedules == {}


@pytest.mark.parametrize("kind", ["Create", "Update", "Delete"])
def test_every_request_may_come_twice(deployment: Deployment, kind: str) -> None:
    deployment.code(DAILY)
    deployment.call("Create")
    first, there = deployment.call(kind), deployment.schedules

    assert deployment.call(kind) == first
    assert deployment.schedules == there


def test_a_repeat_of_a_request_writes_nothing(deployment: Deployment, requests: Counter[str]) -> None:
    deployment.code(DAILY)
    deployment.call("Create")
    requests.clear()

    deployment.call("Create")

    assert set(requests) == {"ListSchedules", "GetSchedule", "ListRules"}


def test_rules_of_patterns_are_made_changed_and_removed(deployment: Deployment) -> None:
    deployment.code(UPLOADS)
    deployment.call("Create")
    assert deployment.rules == {"uploads": '{"source":["aws.s3"]}'}

    deployment.code(UPLOADS.replace("aws.s3", "aws.ec2"))
    deployment.call("Update", version=2, before=1)
    assert deployment.rules == {"uploads": '{"source":["aws.ec2"]}'}

    deployment.code(UNSCHEDULED)
    deployment.call("Update", version=3, before=2)
    assert deployment.rules == {}


def test_delete_removes_the_rules_which_would_outlive_the_stack(deployment: Deployment) -> None:
    deployment.code(UPLOADS)
    deployment.call("Create")

    deployment.call("Delete")

    assert deployment.account.aws.events.list_rules()["Rules"] == []
