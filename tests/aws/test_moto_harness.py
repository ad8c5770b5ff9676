"""The harness that plays AWS: its time, its schedules, its pollers."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from polos import workflow
from polos.core.conditions import Change, Equals
from polos.core.items import Key
from polos.engine.commands import millis
from polos.errors import UsageError
from polos.ports import ConditionFailed, Event, Outgoing
from polos.testing.harness import EPOCH
from polos.testing.moto_harness import MotoHarness
from polos.workflow import Workflow, _registry

_before = dict(_registry)


@workflow(id="harness-greeting", trigger_on_event="harness/greet")
async def greeting(ctx: Any, payload: dict[str, Any]) -> str:
    return await ctx.step.run("greet", lambda: "hi")


@workflow(id="harness-daily", schedule={"cron": "0 8 * * *", "timezone": "Europe/Berlin"})
async def daily(ctx: Any) -> None:
    return None


DECLARED: dict[str, Workflow[Any, Any]] = {one.id: one for one in (greeting, daily)}
_registry.clear()
_registry.update(_before)


def _harness(**workflows: Workflow[Any, Any]) -> MotoHarness:
    return MotoHarness(lambda: workflows, EPOCH, 900)


@pytest.fixture
def harness() -> Any:
    harness = _harness(**DECLARED)
    yield harness
    harness.close()


def _statuses(harness: MotoHarness) -> dict[str, str]:
    table = harness.account.aws.dynamodb.scan(TableName=harness.account.settings.table)["Items"]
    return {one["pk"]["S"]: one["st"]["S"] for one in table if one["sk"]["S"] == "x"}


def _run(harness: MotoHarness, until: datetime | None = None) -> None:
    while True:
        delivery = harness.take_due()
        if delivery is not None:
            delivery.run()
            continue
        due = harness.next_due()
        if until is None or due is None or due > until:
            return
        harness.clock.jump(due)


def test_nothing_is_due_in_a_new_stack_but_its_schedules(harness: MotoHarness) -> None:
    assert harness.take_due() is None
    assert harness.next_due() == EPOCH.replace(hour=7)
    assert harness.requests == {}


def test_wakes_are_taken_before_starts(harness: MotoHarness) -> None:
    for lane in ("start", "wake"):
        harness.engine.backend.inbox.send([Outgoing({"t": "wake", "x": lane, "wf": "harness-greeting"}, lane=lane)])

    first, second = harness.take_due(), harness.take_due()

    assert first is not None
    assert second is not None
    assert "WakeQueue" in first.record["eventSourceARN"]
    assert "StartQueue" in second.record["eventSourceARN"]


def test_a_delay_follows_virtual_time(harness: MotoHarness) -> None:
    harness.engine.backend.inbox.send([Outgoing({"t": "wake", "x": "e", "wf": "harness-greeting"}, 20)])

    assert harness.take_due() is None
    assert harness.next_due() == EPOCH + timedelta(seconds=20)
    harness.clock.advance(19.999)
    assert harness.take_due() is None
    harness.clock.jump(EPOCH + timedelta(seconds=20))
    assert harness.take_due() is not None


def test_a_message_in_flight_is_due_when_its_visibility_passes(harness: MotoHarness) -> None:
    harness.engine.backend.inbox.send([Outgoing({"t": "wake", "x": "e", "wf": "harness-greeting"})])

    first = harness.take_due()

    assert first is not None
    assert harness.take_due() is None
    assert harness.next_due() == EPOCH + timedelta(seconds=900)
    harness.clock.advance(900)
    again = harness.take_due()
    assert again is not None
    assert again.record["messageId"] == first.record["messageId"]
    assert again.record["attributes"]["ApproximateReceiveCount"] == "2"


def test_what_was_handled_is_deleted_and_counted(harness: MotoHarness) -> None:
    harness.engine.backend.inbox.send([Outgoing({"t": "wake", "x": "e", "wf": "harness-greeting"})])

    _run(harness)

    assert harness.pending() == 0
    assert harness.requests == {"SendMessage": 1, "ReceiveMessage": 1, "UpdateItem": 1, "DeleteMessage": 1}


def test_a_timer_fires_once_and_is_gone(harness: MotoHarness) -> None:
    due = EPOCH + timedelta(hours=1)
    harness.engine.backend.timers.schedule("name", due, {"t": "wake", "x": "e", "wf": "harness-greeting"})

    assert harness.next_due() == due
    harness.clock.jump(due)
    delivery = harness.take_due()

    assert delivery is not None
    assert '"x":"e"' in delivery.record["body"]
    assert harness.take_due() is None
    names = harness.account.aws.scheduler.list_schedules(GroupName=harness.account.stack)["Schedules"]
    assert [one["Name"][:2] for one in names] == ["r-"]


def test_a_schedule_starts_an_execution_for_each_tick(harness: MotoHarness) -> None:
    _run(harness, EPOCH + timedelta(days=3))

    assert _statuses(harness) == {
        one: "completed" for one in _statuses(harness) if one.startswith("harness-daily-2030010")
    }
    assert len(_statuses(harness)) == 3


def test_a_paused_schedule_rests_and_does_not_catch_up(harness: MotoHarness) -> None:
    recurrences = harness.engine.backend.recurrences
    (schedule,) = recurrences.list()
    recurrences.apply(replace(schedule, paused=True))

    assert harness.next_due() is None
    harness.clock.advance(86_400)
    assert harness.take_due() is None
    recurrences.apply(schedule)

    assert harness.next_due() == EPOCH + timedelta(days=1, hours=7)
    assert harness.take_due() is None


def test_an_event_goes_over_the_bus_and_its_rule(harness: MotoHarness) -> None:
    event = Event("id", "harness/greet", millis(EPOCH) << 20, None, '{"name":"a"}')
    harness.engine.backend.topics.publish([event, event])

    _run(harness)

    assert list(_statuses(harness).values()) == ["completed"]
    assert harness.requests["PutEvents"] == 1
    assert harness.dead_letters() == []


def test_one_account_at_a_time(harness: MotoHarness) -> None:
    with pytest.raises(UsageError, match="One Environment"):
        _harness()


def test_a_new_account_is_empty_and_an_old_one_refuses() -> None:
    first = _harness()
    first.engine.table.put({"pk": "p", "sk": "x"})
    first.close()

    with pytest.raises(UsageError, match="GetItem came after"):
        first.engine.table.get(Key("p", "x"))
    second = _harness()
    assert second.engine.table.get(Key("p", "x")) is None
    second.close()


def test_writes_are_atomic_between_threads(harness: MotoHarness) -> None:
    """moto by itself lets two callers win one compare-and-swap."""
    table, key, wins = harness.engine.table, Key("counter", "x"), []
    table.put({"pk": "counter", "sk": "x", "n": 0})

    def compete() -> None:
        for _ in range(40):
            item = table.get(key)
            assert item is not None
            number = item["n"]
            assert isinstance(number, int)
            try:
                table.update(key, Change(set={"n": number + 1}), Equals("n", number))
            except ConditionFailed:
                continue
            wins.append(1)

    threads = [threading.Thread(target=compete) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert table.get(key) == {"pk": "counter", "sk": "x", "n": len(wins)}
