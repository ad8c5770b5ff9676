"""Processes that share one database file: what one has, the other has not; what a dead one had goes on at once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from polos.core import items
from polos.engine.commands import event
from polos.local.backend import LocalBackend, local_backend
from polos.ports import Event, Outgoing
from tests.contract.process import hold, receive, start, take_lease, wake

pytestmark = pytest.mark.process

SCRIPT = Path(__file__).with_name("process.py")
ALL = ["flow"]


class Other:
    """Another process at work on the file."""

    def __init__(self, database: Path, act: str, count: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(database), act, str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid

    def begin(self) -> Other:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self

    def said(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "shared.db"


@pytest.fixture
def local(database: Path) -> Iterator[LocalBackend]:
    made = local_backend(database)
    yield made
    made.close()


@pytest.fixture
def other(database: Path, local: LocalBackend) -> Iterator[Callable[[str, int], Other]]:
    """Start another process; the file is there already."""
    started: list[Other] = []

    def begin(act: str, count: int) -> Other:
        started.append(Other(database, act, count))
        return started[-1]

    yield begin
    for one in started:
        one.kill()


@pytest.mark.parametrize("act", ["claim", "receive"])
def test_of_two_processes_one_gets_each(local: LocalBackend, other: Callable[[str, int], Other], act: str) -> None:
    """A lease is taken by one, a message is received by one; both processes got some, and together all."""
    names = [f"e{n}" for n in range(120)]
    if act == "receive":
        local.inbox.send([wake(name) for name in names])
    both = [other(act, len(names)) for _ in range(2)]
    for one in both:
        one.begin()
    first, second = (one.said()["found"] for one in both)

    assert sorted(first + second) == sorted(names)
    if act == "claim":
        assert all(item[items.EPOCH] == 1 for name in names for item in local.table.query(name))


def test_what_a_killed_process_held_is_free_at_once(local: LocalBackend, other: Callable[[str, int], Other]) -> None:
    local.inbox.send([wake("a"), wake("b"), wake("c")])
    holder = other("hold", 2).begin()
    said = holder.said()
    name, (first, second) = said["name"], said["found"]

    assert local.inbox.holders() == [name]
    assert not local.presence.is_dead(name), "it lives"
    assert receive(local, 0) == list({"a", "b", "c"} - {first, second})
    assert not take_lease(local, first, "other"), "its lease lives"

    holder.kill()
    assert local.presence.is_dead(name)
    assert receive(local, 0) == []
    assert local.inbox.take_over(name) == 2
    assert local.inbox.holders() == []
    assert sorted(hold(local, 2)) == sorted([first, second]), "messages and leases are free, an hour early"


def test_a_lease_that_was_taken_since_is_not_ended_by_a_second_look(
    database: Path, local: LocalBackend, other: Callable[[str, int], Other]
) -> None:
    """Two processes see the same dead holder; the first has freed what it held and taken it when the second does."""
    local.inbox.send([wake("a")])
    holder = other("hold", 1).begin()
    name = holder.said()["name"]
    holder.kill()
    late = local_backend(database)
    try:
        assert late.inbox.holders() == [name]
        assert late.presence.is_dead(name)
        assert local.inbox.take_over(name) == 1
        assert hold(local, 1) == ["a"]
        assert late.presence.is_dead(name), "its lock's file is gone, and it still is"
        assert late.inbox.take_over(name) == 0
        assert not take_lease(late, "a", "late")
        assert late.inbox.receive(ALL) is None
    finally:
        late.close()


def test_presence_of_names_that_are_none(local: LocalBackend) -> None:
    assert not local.presence.is_dead(local.presence.name)
    assert not local.presence.is_dead("../../etc/passwd")
    assert local.presence.is_dead("1-never")


def test_a_process_that_runs_its_own_takes_its_own_and_events(
    local: LocalBackend, other: Callable[[str, int], Other]
) -> None:
    neighbour = other("home", 2).begin()
    assert neighbour.said()["found"] == ["theirs0", "theirs1"]
    local.inbox.declare_triggers({"flow": "topic"})
    local.inbox.send([start("mine"), wake("mine/child"), wake("nobody's")])
    local.inbox.publish([Event("id", "topic", 5, None, "null")])
    triggered = {**event(Event("id", "topic", 5, None, "null")), "wf": "flow"}

    def own() -> list[Any]:
        found: list[Any] = []
        while (got := local.inbox.receive(ALL, own=True)) is not None:
            found.append(got.message.body.get("x", got.message.body))
            local.inbox.delete(got.row)
        return found

    mine = own()
    assert [one for one in mine if isinstance(one, str)] == ["mine/child", "mine"]
    assert [one for one in mine if isinstance(one, dict)] == [event(Event("id", "topic", 5, None, "null")), triggered]
    assert local.inbox.next_due(ALL, own=True) is None

    local.inbox.send([start("theirs0")])  # a second start of the same id: its home lives
    assert own() == []
    neighbour.kill()
    local.inbox.send([start("theirs0")])  # now it moves in here
    assert set(own()) == {"theirs0", "theirs0/child"}
    assert sorted(receive(local, 0)) == ["nobody's", "theirs1"], "whoever takes everything takes the rest"


def test_an_event_that_a_neighbour_published_may_be_delivered_by_anybody(database: Path, local: LocalBackend) -> None:
    neighbour = local_backend(database)
    try:
        neighbour.inbox.publish([Event("id", "topic", 5, None, "null")])
        neighbour.inbox.send([Outgoing({"t": "tick", "wf": "flow", "key": "global"})])

        assert (local.inbox.receive(ALL, own=True) or pytest.fail("nothing")).message.body["t"] == "event"
        assert local.inbox.receive(ALL, own=True) is None, "a start that a neighbour's schedule owes is the neighbour's"
        assert (neighbour.inbox.receive(ALL, own=True) or pytest.fail("nothing")).message.body["t"] == "tick"
    finally:
        neighbour.close()


def test_two_programs_at_once_each_run_what_they_started(
    database: Path, local: LocalBackend, other: Callable[[str, int], Other]
) -> None:
    """The same workflows in two processes on one file: no step of one's executions runs in the other."""
    both = [other("run", 6) for _ in range(2)]
    for one in both:
        found = one.said()["found"]
        assert found == [[n, one.pid, one.pid, one.pid, one.pid] for n in range(6)]
