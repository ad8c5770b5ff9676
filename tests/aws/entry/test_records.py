"""From SQS records to the worker, and what is reported back of each (SPEC 8.2, 12)."""

from __future__ import annotations

from collections import Counter

import pytest

from polos.aws import telemetry
from polos.aws.entry import Service, handler_of
from polos.errors import BackendError, InvalidPayloadError
from polos.ports import Message
from polos.testing.moto_account import MotoAccount
from tests.aws.entry.parts import WAKE, Context, FakeWorker, Noted, Queue, failed_ids, ids_of


def test_a_record_becomes_a_message(service: Service, worker: FakeWorker, wakes: Queue, told: Noted) -> None:
    wakes.send(WAKE)
    event = wakes.receive()

    assert handler_of(service, "work")(event, Context()) == {"batchItemFailures": []}

    (message,) = worker.messages
    assert message.id == ids_of(event)[0]
    assert message.body == WAKE
    assert message.received == 1
    assert worker.remaining == [12.345]
    assert told.executions == ["e1"]
    assert told.counts == {telemetry.HANDLED: 1}
    assert told.queues == {"wake"}


def test_the_id_of_a_message_stays_the_same_when_it_comes_again(
    service: Service, worker: FakeWorker, wakes: Queue, account: MotoAccount
) -> None:
    wakes.send(WAKE)
    for _ in range(2):
        handler_of(service, "work")(wakes.receive(), Context())
        account.clock.advance(900)

    first, second = worker.messages
    assert first.id == second.id
    assert (first.received, second.received) == (1, 2)


def test_the_failure_of_one_record_is_its_own(
    service: Service, worker: FakeWorker, wakes: Queue, told: Noted, caplog: pytest.LogCaptureFixture
) -> None:
    def answer(message: Message) -> bool:
        match message.body["x"]:
            case "later":
                return False
            case "broken":
                raise ValueError("oops")
            case "strange":
                raise InvalidPayloadError("no such thing")
            case _:
                return True

    worker.answer = answer
    wakes.send(*({**WAKE, "x": name} for name in ("first", "later", "broken", "strange", "last")), "{not json")
    event = wakes.receive()

    answered = handler_of(service, "work")(event, Context())

    ids = ids_of(event)
    assert failed_ids(answered) == [ids[1], ids[2]]
    assert [message.body["x"] for message in worker.messages] == ["first", "later", "broken", "strange", "last"]
    assert told.counts == {
        telemetry.HANDLED: 2, telemetry.KEPT: 1, telemetry.FAILED: 1, telemetry.REFUSED: 2,
    }  # fmt: skip
    assert [record.levelname for record in caplog.records] == ["ERROR"] * 3


def test_not_yet_makes_no_noise_and_leaves_the_message_as_the_engine_left_it(
    service: Service, worker: FakeWorker, wakes: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    def answer(message: Message) -> bool:
        message.extend(41.2)
        return False

    worker.answer = answer
    wakes.send(WAKE)

    assert len(failed_ids(handler_of(service, "work")(wakes.receive(), Context()))) == 1
    assert wakes.invisible_for() == [42]
    assert not caplog.records


@pytest.mark.parametrize(("seconds", "expected"), [(-3, 0), (0, 0), (0.01, 1), (30, 30), (1e9, 42_300)])
def test_an_extension_is_what_sqs_takes(
    service: Service, worker: FakeWorker, wakes: Queue, requests: Counter[str], seconds: float, expected: float
) -> None:
    wakes.send(WAKE)
    handler_of(service, "work")(wakes.receive(), Context())

    worker.messages[0].extend(seconds)

    assert wakes.invisible_for() == [expected]
    assert requests == {"ChangeMessageVisibility": 1}


def test_an_extension_that_fails_is_no_failure_of_the_message(
    service: Service, worker: FakeWorker, wakes: Queue, account: MotoAccount, caplog: pytest.LogCaptureFixture
) -> None:
    wakes.send(WAKE)
    handler_of(service, "work")(wakes.receive(), Context())
    account.aws.sqs.purge_queue(QueueUrl=account.queue_urls["WakeQueue"])

    worker.messages[0].extend(30)

    assert "could not be changed" in caplog.text


def test_what_failed_comes_again_later_and_later(
    service: Service, worker: FakeWorker, wakes: Queue, account: MotoAccount
) -> None:
    def answer(_: Message) -> bool:
        raise BackendError("throttled")

    worker.answer = answer
    wakes.send(WAKE)
    waits: list[float] = []
    for _ in range(9):
        handler_of(service, "work")(wakes.receive(), Context())
        waits += wakes.invisible_for()
        account.clock.advance(waits[-1])

    assert waits == [5, 10, 20, 40, 80, 160, 320, 640, 900]


def test_a_malformed_message_is_kept_for_a_person_at_once_and_told_once(
    service: Service, wakes: Queue, account: MotoAccount, worker: FakeWorker, caplog: pytest.LogCaptureFixture
) -> None:
    wakes.send("[1]", WAKE)

    assert failed_ids(handler_of(service, "work")(wakes.receive(), Context())) == []

    assert [message.body for message in account.queue("KeptLetters")._messages] == ["[1]"]
    assert len(worker.messages) == 1
    assert len(caplog.records) == 1
    assert "a JSON list; it must be an object" in caplog.text


def test_a_malformed_message_that_cannot_be_kept_ends_with_the_dead_letters_and_is_told_once(
    service: Service, wakes: Queue, account: MotoAccount, worker: FakeWorker, caplog: pytest.LogCaptureFixture
) -> None:
    """A role of a template of one's own may not send to the kept letters."""
    account.aws.sqs.delete_queue(QueueUrl=account.queue_urls["KeptLetters"])
    wakes.send("[1]", WAKE)
    handler = handler_of(service, "work")
    for _ in range(150):
        event = wakes.receive()
        if not event["Records"]:
            break
        failed = failed_ids(handler(event, Context()))
        for record in event["Records"]:
            if record["messageId"] not in failed:
                account.aws.sqs.delete_message(
                    QueueUrl=account.queue_urls["WakeQueue"], ReceiptHandle=record["receiptHandle"]
                )

    assert [message.body for message in account.queue("DeadLetters")._messages] == ["[1]"]
    assert wakes.invisible_for() == []
    assert len(worker.messages) == 1
    assert len(caplog.records) == 1
    assert "a JSON list; it must be an object" in caplog.text


def test_what_ends_the_process_is_not_caught(service: Service, worker: FakeWorker, wakes: Queue) -> None:
    class Death(BaseException):
        pass

    def answer(_: Message) -> bool:
        raise Death

    worker.answer = answer
    wakes.send(WAKE)

    with pytest.raises(Death):
        handler_of(service, "work")(wakes.receive(), Context())
