"""The laws of the ports that send: Inbox, Timers, Topics. At least once, in no order, until the handler is done."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from polos.engine.commands import read_event
from polos.ports import Event, Outgoing
from polos.testing.harness import EPOCH
from tests.contract.backends import Held, Side


def wake(execution_id: str, **more: Any) -> dict[str, Any]:
    return {"t": "wake", "x": execution_id, "wf": "flow", **more}


def one(side: Side) -> Held:
    held = side.receive()
    assert held is not None
    return held


def names(side: Side) -> list[str]:
    return sorted(body["x"] for body in side.bodies())


# ---- inbox


def test_a_message_arrives_with_its_body_and_is_gone_when_it_is_done(side: Side) -> None:
    body = {**wake("e"), "n": 5, "none": None, "text": "ä\U0001f600\x00\uffff\n", "list": [1.5, {"a": True}]}
    side.inbox.send([Outgoing(body)])

    held = one(side)
    assert held.body == body
    assert held.message.received == 1
    held.done()
    side.advance(hours=3)
    assert side.receive() is None


def test_every_message_of_a_large_send_arrives_once(side: Side) -> None:
    side.inbox.send([Outgoing(wake(f"{n:02d}"), lane=("start", "wake")[n % 2]) for n in range(25)])
    side.inbox.send([])

    found = side.receive_all()
    assert sorted(held.body["x"] for held in found) == [f"{n:02d}" for n in range(25)]
    assert len({held.message.id for held in found}) == 25


def test_a_delay_is_waited_out(side: Side) -> None:
    side.inbox.send([Outgoing(wake("late"), 900.0), Outgoing(wake("soon"), 2.0), Outgoing(wake("now"))])

    assert names(side) == ["now"]
    side.advance(seconds=1.9)
    assert names(side) == []
    side.advance(seconds=0.2)
    assert names(side) == ["soon"]
    side.advance(seconds=897)
    assert names(side) == []
    side.advance(seconds=1)
    assert names(side) == ["late"]


def test_a_received_message_is_hidden_and_comes_again_with_its_id(side: Side) -> None:
    side.inbox.send([Outgoing(wake("e"))])

    first = one(side)
    first.message.extend(30)
    assert side.receive() is None
    side.advance(seconds=29.9)
    assert side.receive() is None
    side.advance(seconds=0.2)
    again = one(side)
    assert (again.body, again.message.id, again.message.received) == (first.body, first.message.id, 2)
    again.done()
    side.advance(hours=3)
    assert side.receive() is None


def test_an_extension_counts_from_now_and_may_shorten(side: Side) -> None:
    side.inbox.send([Outgoing(wake("e"))])

    held = one(side)
    held.message.extend(600)
    side.advance(seconds=20)
    held.message.extend(30)
    side.advance(seconds=29)
    assert side.receive() is None
    side.advance(seconds=2)
    held = one(side)
    held.message.extend(0)
    assert one(side).message.received == 3


def test_two_equal_messages_are_two(side: Side) -> None:
    side.inbox.send([Outgoing(wake("e")), Outgoing(wake("e"))])
    side.inbox.send([Outgoing(wake("e"))])

    assert len({held.message.id for held in side.receive_all()}) == 3


def test_a_message_that_is_kept_holds_up_nobody(side: Side) -> None:
    side.inbox.send([Outgoing(wake("kept"))])
    held = one(side)
    held.message.extend(600)
    side.inbox.send([Outgoing(wake("next"))])

    assert names(side) == ["next"]
    side.advance(seconds=601)
    assert names(side) == ["kept"]


def test_both_lanes_are_delivered_and_starts_do_not_hold_up_wakes(side: Side) -> None:
    starts = [Outgoing({"t": "start", "x": f"s{n}", "wf": "flow"}, lane="start") for n in range(12)]
    side.inbox.send([*starts, Outgoing(wake("w"))])

    assert one(side).body["x"] == "w"
    assert len(side.bodies()) == 12


# ---- timers


def test_a_timer_arrives_at_its_time_with_its_body(side: Side) -> None:
    due = EPOCH + timedelta(days=400, seconds=1)
    side.timers.schedule("t", due, wake("e", due=5))

    side.advance(days=400)
    assert side.bodies() == []
    side.advance(seconds=61)
    assert side.bodies() == [wake("e", due=5)]
    side.advance(days=900)
    assert side.bodies() == []


def test_a_name_that_exists_is_left_as_it_is(side: Side) -> None:
    """Armed before by an owner that died; the later call has another time, and means the same timer."""
    name = "execution/child@1:2 ä" * 30
    side.timers.schedule(name, EPOCH + timedelta(hours=1), wake("first"))
    side.timers.schedule(name, EPOCH + timedelta(hours=2), wake("second"))
    side.timers.schedule(name + "x", EPOCH + timedelta(hours=1), wake("other"))

    side.advance(hours=1, minutes=1)
    assert names(side) == ["first", "other"]
    side.advance(hours=5)
    assert names(side) == []


def test_a_timer_in_the_past_arrives_at_once(side: Side) -> None:
    side.timers.schedule("t", EPOCH - timedelta(seconds=5), wake("e"))

    side.advance(seconds=1)
    assert names(side) == ["e"]


# ---- topics


def event(n: int, **more: Any) -> Event:
    fields: dict[str, Any] = {"event_type": None, "data": '{"n":1}', "pointer": None, **more}
    return Event(f"id {n} ä", "orders/new ä", (5 << 20) + n, **fields)


def test_an_event_arrives_as_it_was_published(side: Side) -> None:
    events = [
        event(0), event(1, event_type="kind"), event(2, data=b"\x00\xffpacked"), event(3, data=None, pointer="key.z"),
        event(4, data='"\\u0000 \U0001f600"'), event(5, data="null"),
    ]  # fmt: skip
    side.topics.publish(events)

    found = [read_event(body) for body in side.bodies()]
    assert sorted(found, key=lambda one: one.sequence) == events


def test_many_events_arrive_each_once(side: Side) -> None:
    side.topics.publish([event(n) for n in range(23)])
    side.topics.publish([])

    assert sorted(read_event(body).sequence - (5 << 20) for body in side.bodies()) == list(range(23))


def test_an_event_that_is_not_done_comes_again(side: Side) -> None:
    side.topics.publish([event(0)])

    first = one(side)
    first.message.extend(10)
    side.advance(seconds=11)
    again = one(side)
    assert (again.message.id, read_event(again.body)) == (first.message.id, event(0))


@pytest.mark.parametrize("size", [90_000])
def test_a_large_event_arrives(side: Side, size: int) -> None:
    """As long as an inline value can be, with characters that are longer on the wire."""
    large = event(0, data='"' + "ä\x00"[:1] * (size // 2) + '"')
    side.topics.publish([large, event(1), event(2)])

    assert sorted(read_event(body).sequence - (5 << 20) for body in side.bodies()) == [0, 1, 2]
