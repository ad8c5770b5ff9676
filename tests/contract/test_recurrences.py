"""The laws of the Recurrences port: what is applied is listed, and ticks at each nominal time until it is removed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from polos.engine import schedules
from polos.engine.commands import millis, moment
from polos.errors import WorkflowDefinitionError
from polos.ports import Recurring
from polos.testing.harness import EPOCH
from tests.contract.backends import Side

HOURLY = Recurring("flow", "global", "0 * * * *", "UTC")
OTHER = Recurring("flow", "ä key/with: everything" * 9, "30 8 1,15 * 1", "Europe/Berlin", declared=True)
THIRD = Recurring("other", "global", "*/20 * * * *", "UTC", paused=True)


def ticks(side: Side, every: float = 10, **span: float) -> list[tuple[str, str, datetime]]:
    """What has ticked at the end of a time, each tick once; looked at `every` so many minutes, as a worker would."""
    end = side.clock.now() + timedelta(**span)
    found: set[tuple[str, str, datetime]] = set()
    while side.clock.now() < end:
        side.advance(minutes=every)
        for body in side.bodies():
            tick = schedules.Tick.of_message(body)
            found.add((tick.workflow_id, tick.key, moment(tick.at)))
    return sorted(found)


def hours(*given: float) -> list[datetime]:
    return [EPOCH + timedelta(hours=hour) for hour in given]


def times(found: list[tuple[str, str, datetime]]) -> list[datetime]:
    return [at for _, _, at in found]


def test_what_was_applied_is_listed(side: Side) -> None:
    assert side.recurrences.list() == []
    for one in (HOURLY, OTHER, THIRD):
        side.recurrences.apply(one)

    assert set(side.recurrences.list()) == {HOURLY, OTHER, THIRD}
    assert set(side.peer().recurrences.list()) == {HOURLY, OTHER, THIRD}


def test_applying_again_replaces(side: Side) -> None:
    versions: list[Recurring] = [
        OTHER, replace(OTHER, cron="5 9 * * *"), replace(OTHER, timezone="UTC"), replace(OTHER, paused=True),
        replace(OTHER, declared=False), replace(OTHER, overlap="allow"), OTHER,
        replace(OTHER, cron="0 0 * * 1-5"), OTHER, OTHER,
    ]  # fmt: skip
    for one in versions:
        side.recurrences.apply(one)
        assert side.recurrences.list() == [one]


def test_removing_takes_that_one_and_no_other(side: Side) -> None:
    for one in (HOURLY, OTHER, THIRD):
        side.recurrences.apply(one)
    side.recurrences.remove(OTHER.workflow_id, OTHER.key)
    side.recurrences.remove(OTHER.workflow_id, OTHER.key)
    side.recurrences.remove("none", "global")

    assert set(side.recurrences.list()) == {HOURLY, THIRD}


def test_it_ticks_at_each_nominal_time_from_then_on(side: Side) -> None:
    side.advance(minutes=30)
    side.recurrences.apply(HOURLY)
    side.recurrences.list()

    found = ticks(side, hours=3)
    assert found == [("flow", "global", at) for at in hours(1, 2, 3)]


def test_a_tick_says_what_its_schedule_says(side: Side) -> None:
    side.recurrences.apply(replace(OTHER, cron="30 8 * * *", overlap="allow"))
    side.receive()
    side.advance(hours=7.5)

    (body,) = side.bodies()
    berlin = millis(datetime(2030, 1, 1, 7, 30, tzinfo=UTC))
    wanted: dict[str, Any] = {"t": "tick", "wf": "flow", "key": OTHER.key, "cron": "30 8 * * *", "tz": "Europe/Berlin"}
    assert body == {**wanted, "ov": "allow", "at": berlin}


def test_either_day_field_ticks_once_a_day(side: Side) -> None:
    """Where the backend needs two schedules for it, they make one tick: the first is a Tuesday, the 7th a Monday."""
    side.recurrences.apply(replace(OTHER, cron="0 12 7,8 * 1", timezone="UTC"))
    side.receive()

    assert times(ticks(side, 360, days=14.5)) == [EPOCH + timedelta(days=day, hours=12) for day in (6, 7, 13)]


def test_a_paused_one_is_silent_and_makes_up_for_nothing(side: Side) -> None:
    side.recurrences.apply(HOURLY)
    assert times(ticks(side, hours=1)) == hours(1)
    side.recurrences.apply(replace(HOURLY, paused=True))
    assert ticks(side, hours=3) == []
    side.recurrences.apply(HOURLY)
    assert times(ticks(side, hours=2)) == hours(5, 6)


def test_a_removed_one_is_silent(side: Side) -> None:
    side.recurrences.apply(HOURLY)
    side.recurrences.apply(replace(HOURLY, key="kept"))
    side.receive()
    side.recurrences.remove("flow", "global")

    assert {key for _, key, _ in ticks(side, hours=2)} == {"kept"}


def test_a_replaced_one_ticks_by_its_new_expression_only(side: Side) -> None:
    side.recurrences.apply(HOURLY)
    side.receive()
    side.recurrences.apply(replace(HOURLY, cron="30 * * * *"))

    assert times(ticks(side, hours=2)) == hours(0.5, 1.5)


@pytest.mark.parametrize(("cron", "timezone"), [("61 * * * *", "UTC"), ("0 * * * *", "Nowhere/Town")])
def test_a_bad_one_is_refused_and_changes_nothing(side: Side, cron: str, timezone: str) -> None:
    side.recurrences.apply(HOURLY)
    with pytest.raises(WorkflowDefinitionError):
        side.recurrences.apply(replace(HOURLY, cron=cron, timezone=timezone))

    assert side.recurrences.list() == [HOURLY]


# ---- reconciliation, on the port


def test_reconciling_makes_what_is_declared_and_keeps_what_was_made_at_run_time(side: Side) -> None:
    """One that the code no longer declares goes; one that was paused stays so; a second time changes nothing."""
    declared, gone = replace(HOURLY, declared=True), replace(HOURLY, key="gone", declared=True)
    made = replace(HOURLY, key="made")
    for one in (replace(declared, cron="5 5 * * *", paused=True), gone, made):
        side.recurrences.apply(one)
    for _ in range(2):
        schedules.reconcile(side.recurrences, [declared, replace(OTHER, workflow_id="other")])
        wanted = {replace(declared, paused=True), made, replace(OTHER, workflow_id="other")}
        assert set(side.recurrences.list()) == wanted


def test_a_second_application_on_one_database_leaves_the_schedules_of_the_first(side: Side) -> None:
    """Each knows only its own workflows: what it doesn't know, it doesn't remove."""
    first, second = replace(HOURLY, declared=True), replace(HOURLY, workflow_id="other", declared=True)
    schedules.reconcile(side.recurrences, [first], ["flow"])
    schedules.reconcile(side.recurrences, [second], ["other"])
    assert set(side.recurrences.list()) == {first, second}
    schedules.reconcile(side.recurrences, [], ["other"])
    assert side.recurrences.list() == [first]
