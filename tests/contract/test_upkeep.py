"""What the embedded backend does not keep for ever, and what it looks at once a second."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest

from polos.clock import SystemClock
from polos.core import items
from polos.engine.commands import event, millis
from polos.engine.engine import Engine
from polos.local.backend import LocalBackend, local_backend
from polos.local.worker import LocalWorker
from polos.ports import Event, Outgoing, Recurring
from polos.testing.harness import EPOCH, VirtualClock

KEY = "#events#0123456789.t"


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(EPOCH, SystemClock())


@pytest.fixture
def local(clock: VirtualClock) -> Iterator[LocalBackend]:
    made = local_backend(":memory:", clock=clock)
    yield made
    made.close()


def live(local: LocalBackend, clock: VirtualClock, days: float) -> None:
    clock.advance(timedelta(days=days).total_seconds())
    local.table.expire(millis(clock.now()) // 1000)


def is_kept(local: LocalBackend) -> bool:
    try:
        return local.backend.payloads.get(KEY) == b"data"
    except KeyError:
        return False


def test_the_payload_of_an_event_goes_after_the_last_event_that_names_it(
    local: LocalBackend, clock: VirtualClock
) -> None:
    local.backend.payloads.put(KEY, b"data")
    expires = millis(clock.now()) // 1000 + 5 * 86_400
    for number, more in enumerate((0, 2 * 86_400)):
        key = items.Key(items.topic("topic"), items.event_sk(number, "id"))
        local.table.put(items.keyed(key, {items.POINTER: KEY, items.TTL: expires + more}))
    live(local, clock, 4)
    assert is_kept(local)
    live(local, clock, 2)
    assert is_kept(local), "an equal event is still there"
    live(local, clock, 2)
    assert not is_kept(local)


def test_the_payload_of_an_event_stays_while_it_waits_for_its_batch(local: LocalBackend, clock: VirtualClock) -> None:
    local.backend.payloads.put(KEY, b"data")
    key = items.gathered("flow", "id")
    local.table.put(items.keyed(key, {items.POINTER: KEY}))
    live(local, clock, 400)
    assert is_kept(local)
    local.table.delete(key)
    live(local, clock, 1)
    assert not is_kept(local)


def test_the_payload_of_an_event_stays_while_its_message_is_on_its_way(
    local: LocalBackend, clock: VirtualClock
) -> None:
    local.backend.payloads.put(KEY, b"data")
    live(local, clock, 0.5)
    assert is_kept(local), "nothing names it yet"
    local.backend.inbox.send([Outgoing(event(Event("id", "topic", 1, None, None, KEY)))])
    live(local, clock, 400)
    assert is_kept(local)


def test_a_payload_that_is_published_again_is_as_new(local: LocalBackend, clock: VirtualClock) -> None:
    local.backend.payloads.put(KEY, b"data")
    clock.advance(86_400 * 3)
    local.backend.payloads.put(KEY, b"data")
    live(local, clock, 0.5)
    assert is_kept(local)
    live(local, clock, 1)
    assert not is_kept(local)


def test_the_home_of_an_execution_goes_with_it(local: LocalBackend, clock: VirtualClock) -> None:
    for name in ("gone", "stays"):
        local.backend.inbox.send([Outgoing({"t": "start", "x": name, "wf": "flow"}, lane="start")])
        local.table.put(items.keyed(items.execution(name), {items.WORKFLOW: "flow"}))
    ended = {items.WORKFLOW: "flow", items.TTL: millis(clock.now()) // 1000}
    local.table.put(items.keyed(items.execution("gone"), ended))
    live(local, clock, 1)
    assert local.database.read("SELECT root FROM homes") == [("stays",)]


def test_slots_expire_when_nobody_holds_one(local: LocalBackend, clock: VirtualClock) -> None:
    key = items.Key(items.queue("q", ""), items.SLOTS)
    about = {items.TTL: millis(clock.now()) // 1000, items.LIMIT_COUNT: 1, "h:runs": 4}
    local.table.put(items.keyed(key, about))
    live(local, clock, 400)
    assert local.table.get(key) is not None
    local.table.put(items.keyed(key, {**about, items.LIMIT_COUNT: 0}))
    live(local, clock, 1)
    assert local.table.get(key) is None


def test_who_holds_messages_is_found_without_looking_at_all_of_them(
    local: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked once a second, and a file may have a hundred thousand timers."""
    asked: list[tuple[str, tuple[object, ...]]] = []
    read = local.database.read

    def watched(sql: str, *parameters: object) -> list[tuple[object, ...]]:
        asked.append((sql, parameters))
        return read(sql, *parameters)

    monkeypatch.setattr(local.database, "read", watched)
    assert local.inbox.holders() == []
    ((sql, parameters),) = asked
    (plan,) = [str(row[3]) for row in read(f"EXPLAIN QUERY PLAN {sql}", *parameters)]
    assert plan.startswith("SEARCH"), plan


def test_only_the_schedules_of_known_workflows_are_fired(local: LocalBackend, clock: VirtualClock) -> None:
    """Another application on the same file fires those of its own: nobody here could start their executions."""
    for workflow_id in ("mine", "theirs"):
        local.recurrences.apply(Recurring(workflow_id, "global", "0 * * * *", "UTC"))
    clock.advance(3700)
    local.recurrences.fire_due(["mine"])
    assert local.inbox.next_due(["theirs"]) is None
    assert local.inbox.next_due(["mine"]) is not None
    assert local.recurrences.next_due(["theirs"]) == millis(EPOCH) + 3_600_000, "still due"
    local.recurrences.fire_due(["theirs"])
    assert local.inbox.next_due(["theirs"]) is not None


def test_the_payload_of_an_event_stays_while_an_execution_has_it_for_its_own(
    local: LocalBackend, clock: VirtualClock
) -> None:
    """A batch of one event that cannot be read is given what the event points to."""
    local.backend.payloads.put(KEY, b"data")
    local.table.put({items.PK: "batch-1", items.SK: "p#in#1", f"{items.VALUE}p": KEY})
    live(local, clock, 100)
    assert is_kept(local)


def test_a_worker_that_is_stopped_just_as_it_looks_for_messages_ends(local: LocalBackend) -> None:
    """It takes the signal of the stop down with those before it, and must not wait for another."""

    class Changed(threading.Event):
        def clear(self) -> None:
            worker._stopping.set()  # pyright: ignore[reportPrivateUsage]
            super().clear()

    local.inbox.changed = Changed()
    worker = LocalWorker(local, Engine(local.backend), own_only=True, concurrency=1)
    worker.start()
    worker.stop(10.0)
    assert not worker._thread.is_alive()  # pyright: ignore[reportPrivateUsage]
