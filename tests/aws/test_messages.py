"""Inbox, timers, topics, payloads: the ports that send."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from polos.aws.inbox import SqsInbox
from polos.aws.payloads import S3Payloads
from polos.aws.timers import SchedulerTimers, timer_name
from polos.aws.topics import EventBridgeTopics
from polos.aws.wire import requests as grouped
from polos.aws.wire import to_json
from polos.errors import BackendError, PayloadTooLargeError
from polos.ports import Event, Outgoing
from polos.testing.harness import EPOCH, VirtualClock
from polos.testing.moto_account import MotoAccount


class FakeClients:
    """Clients that are one object with the methods of a test."""

    def __init__(self, fake: Any) -> None:
        self.sqs = self.events = self.scheduler = self.s3 = fake


def _inbox(account: MotoAccount) -> SqsInbox:
    settings = account.settings
    return SqsInbox(
        account.runtime, start_url=settings.start_queue_url, wake_url=settings.wake_queue_url, clock=account.clock
    )


def _bodies(account: MotoAccount, queue: str) -> list[dict[str, Any]]:
    return [json.loads(message.body) for message in account.queue(queue)._messages]


# ---- the inbox


def test_each_lane_has_its_queue(account: MotoAccount, requests: Counter[str]) -> None:
    _inbox(account).send([Outgoing({"t": "start", "x": "1"}, lane="start"), Outgoing({"t": "wake", "x": "2"})])

    assert _bodies(account, "StartQueue") == [{"t": "start", "x": "1"}]
    assert _bodies(account, "WakeQueue") == [{"t": "wake", "x": "2"}]
    assert requests == {"SendMessage": 2}


def test_messages_go_ten_a_request(account: MotoAccount, requests: Counter[str]) -> None:
    _inbox(account).send([Outgoing({"x": index}) for index in range(21)])

    assert [body["x"] for body in _bodies(account, "WakeQueue")] == list(range(21))
    assert requests == {"SendMessageBatch": 2, "SendMessage": 1}


def test_large_messages_go_fewer_a_request(account: MotoAccount, requests: Counter[str]) -> None:
    _inbox(account).send([Outgoing({"v": "x" * 100_000}) for _ in range(5)])

    assert len(_bodies(account, "WakeQueue")) == 5
    assert requests == {"SendMessageBatch": 2, "SendMessage": 1}


@pytest.mark.parametrize(("delay", "seconds"), [(0, 0), (0.2, 1), (1, 1), (1.5, 2), (900, 900), (900.4, 900)])
def test_a_delay_is_whole_seconds_at_least_as_long(account: MotoAccount, delay: float, seconds: int) -> None:
    _inbox(account).send([Outgoing({"x": 1}, delay)])

    (message,) = account.queue("WakeQueue")._messages
    expected = (EPOCH + timedelta(seconds=seconds)).timestamp() * 1000 if seconds else 0
    assert message.delayed_until == expected


class LossyQueue:
    """Takes all but the entries that it fails: `failing` entries the first `times` times."""

    def __init__(self, failing: set[int], times: int, *, sender_fault: bool = False) -> None:
        self.failing, self.times, self.sender_fault = failing, times, sender_fault
        self.taken: list[dict[str, Any]] = []
        self.requests = 0

    def send_message_batch(self, QueueUrl: str, Entries: list[dict[str, Any]]) -> dict[str, Any]:
        self.requests += 1
        failed: list[dict[str, Any]] = []
        for entry in Entries:
            body = json.loads(entry["MessageBody"])
            if self.requests <= self.times and body["x"] in self.failing:
                failed.append({"Id": entry["Id"], "SenderFault": self.sender_fault, "Code": "Oops", "Message": "no"})
            else:
                self.taken.append(body)
        return {"Failed": failed} if failed else {"Successful": []}


def test_entries_that_failed_are_sent_again_and_no_others(clock: VirtualClock) -> None:
    queue = LossyQueue({1, 3}, times=2)

    SqsInbox(FakeClients(queue), start_url="s", wake_url="w", clock=clock).send(  # type: ignore[arg-type]
        [Outgoing({"x": index}) for index in range(5)]
    )

    assert [body["x"] for body in queue.taken] == [0, 2, 4, 1, 3]
    assert queue.requests == 3


def test_entries_that_go_on_failing_are_an_error(clock: VirtualClock) -> None:
    inbox = SqsInbox(FakeClients(LossyQueue({1}, 99)), start_url="s", wake_url="w", clock=clock)  # type: ignore[arg-type]

    with pytest.raises(BackendError, match="did not take 1 of 2 messages"):
        inbox.send([Outgoing({"x": 0}), Outgoing({"x": 1})])


def test_an_entry_that_is_refused_is_not_sent_again(clock: VirtualClock) -> None:
    queue = LossyQueue({1}, 99, sender_fault=True)

    with pytest.raises(BackendError, match=r"refused a message \(Oops: no\)"):
        SqsInbox(FakeClients(queue), start_url="s", wake_url="w", clock=clock).send(  # type: ignore[arg-type]
            [Outgoing({"x": 0}), Outgoing({"x": 1})]
        )
    assert queue.requests == 1


def test_characters_that_sqs_refuses_are_escaped() -> None:
    text = to_json({"v": "ä\ufffe\uffff\n\x00\U0001f600"})

    assert text == '{"v":"ä\\ufffe\\uffff\\n\\u0000\U0001f600"}'
    assert json.loads(text) == {"v": "ä\ufffe\uffff\n\x00\U0001f600"}


def test_an_entry_over_the_limit_goes_alone() -> None:
    assert list(grouped([1, 300_000, 2, 3], lambda size: size)) == [[1], [300_000], [2, 3]]
    assert list(grouped([], lambda size: size)) == []


# ---- timers


def test_a_timer_is_a_schedule_that_deletes_itself(account: MotoAccount, requests: Counter[str]) -> None:
    settings = account.settings
    due = EPOCH + timedelta(hours=2, milliseconds=1)

    SchedulerTimers(account.runtime, settings).schedule("e#k#5", due, {"t": "wake", "x": "e"})

    made = account.aws.scheduler.get_schedule(GroupName=settings.schedule_group, Name=timer_name("e#k#5"))
    assert made["ScheduleExpression"] == "at(2030-01-01T02:00:01)"
    assert made["ScheduleExpressionTimezone"] == "UTC"
    assert made["ActionAfterCompletion"] == "DELETE"
    assert made["FlexibleTimeWindow"] == {"Mode": "OFF"}
    target = made["Target"]
    assert target["Arn"] == settings.wake_queue_arn
    assert target["RoleArn"] == settings.scheduler_role_arn
    assert target["DeadLetterConfig"] == {"Arn": settings.dead_letters_arn}
    assert json.loads(target["Input"]) == {"t": "wake", "x": "e"}
    assert requests == {"CreateSchedule": 1}


def test_a_timer_that_is_armed_already_is_left_as_it_is(account: MotoAccount) -> None:
    timers = SchedulerTimers(account.runtime, account.settings)

    timers.schedule("name", EPOCH + timedelta(hours=2), {"t": "wake"})
    timers.schedule("name", EPOCH + timedelta(hours=3), {"t": "other"})

    made = account.aws.scheduler.get_schedule(GroupName=account.stack, Name=timer_name("name"))
    assert made["ScheduleExpression"] == "at(2030-01-01T02:00:00)"


def test_the_name_of_a_timer_is_short_and_plain() -> None:
    name = timer_name("ä" * 5000)

    assert len(name) <= 64
    assert name.replace("-", "").isalnum()
    assert name == timer_name("ä" * 5000) != timer_name("ä" * 4999)


# ---- topics


def _event(index: int = 0, data: str = '{"a":1}') -> Event:
    return Event(f"id{index}", "orders/new", (7 << 20) + index, "created", data)


def test_an_event_comes_to_the_events_queue_in_its_envelope(account: MotoAccount, requests: Counter[str]) -> None:
    EventBridgeTopics(account.runtime, account.settings.bus, account.clock).publish([_event()])

    (envelope,) = _bodies(account, "EventsQueue")
    assert envelope["source"] == "polos"
    assert envelope["detail-type"] == "polos.event"
    assert envelope["detail"] == {
        "t": "event", "id": "id0", "tp": "orders/new", "sq": 7 << 20, "ty": "created", "v": '{"a":1}',
    }  # fmt: skip
    assert requests == {"PutEvents": 1}


def test_events_go_ten_a_request(account: MotoAccount, requests: Counter[str]) -> None:
    EventBridgeTopics(account.runtime, account.settings.bus, account.clock).publish([_event(i) for i in range(12)])

    assert [envelope["detail"]["id"] for envelope in _bodies(account, "EventsQueue")] == [f"id{i}" for i in range(12)]
    assert requests == {"PutEvents": 2}


class LossyBus:
    """Takes all but the events of these ids, the first `times` times."""

    def __init__(self, failing: set[str], times: int, code: str = "InternalFailure") -> None:
        self.failing, self.times, self.code = failing, times, code
        self.taken: list[str] = []
        self.requests = 0

    def put_events(self, Entries: list[dict[str, Any]]) -> dict[str, Any]:
        self.requests += 1
        results: list[dict[str, Any]] = []
        for entry in Entries:
            event = json.loads(entry["Detail"])["id"]
            if self.requests <= self.times and event in self.failing:
                results.append({"ErrorCode": self.code, "ErrorMessage": "no"})
            else:
                self.taken.append(event)
                results.append({"EventId": "1"})
        return {"FailedEntryCount": sum("ErrorCode" in result for result in results), "Entries": results}


def test_events_that_failed_are_put_again_and_no_others(clock: VirtualClock) -> None:
    bus = LossyBus({"id1"}, times=2)

    EventBridgeTopics(FakeClients(bus), "bus", clock).publish([_event(i) for i in range(3)])  # type: ignore[arg-type]

    assert bus.taken == ["id0", "id2", "id1"]
    assert bus.requests == 3


@pytest.mark.parametrize(
    ("code", "said"), [("InternalFailure", "did not take 1 of 2 events"), ("MalformedDetail", "refused an event")]
)
def test_events_that_cannot_be_put_are_an_error(clock: VirtualClock, code: str, said: str) -> None:
    topics = EventBridgeTopics(FakeClients(LossyBus({"id1"}, 99, code)), "bus", clock)  # type: ignore[arg-type]

    with pytest.raises(BackendError, match=said):
        topics.publish([_event(0), _event(1)])


def test_an_event_that_eventbridge_would_refuse_is_never_put(account: MotoAccount, requests: Counter[str]) -> None:
    topics = EventBridgeTopics(account.runtime, account.settings.bus, account.clock)

    with pytest.raises(PayloadTooLargeError, match="'id1' on topic 'orders/new'"):
        topics.publish([_event(0), _event(1, "x" * 262_144)])
    assert requests == {}


# ---- payloads


def test_a_payload_comes_back(account: MotoAccount, requests: Counter[str]) -> None:
    payloads = S3Payloads(account.runtime, account.settings.bucket)

    payloads.put("parent/child ä@1:2/abc.z", b"\x00data")
    payloads.put("parent/child ä@1:2/abc.z", b"\x00data")

    assert payloads.get("parent/child ä@1:2/abc.z") == b"\x00data"
    assert requests == {"PutObject": 2, "GetObject": 1}
    listed = account.aws.s3.list_objects_v2(Bucket=account.settings.bucket)["Contents"]
    assert [one["Key"] for one in listed] == ["payloads/parent/child ä@1:2/abc.z"]


def test_a_missing_payload_is_a_key_error(account: MotoAccount) -> None:
    with pytest.raises(KeyError, match="gone"):
        S3Payloads(account.runtime, account.settings.bucket).get("gone")


def test_a_missing_bucket_says_what_to_do(account: MotoAccount) -> None:
    with pytest.raises(BackendError, match="deploy the stack again"):
        S3Payloads(account.runtime, "no-such-bucket-here").get("key")
