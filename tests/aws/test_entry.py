"""The Lambda handlers: from SQS records to the worker, and what is reported back (SPEC 8.2, 8.8, 12)."""

from __future__ import annotations

import json
import logging
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from polos.aws import entry, lambda_handler, records, telemetry
from polos.aws.backend import aws_backend
from polos.aws.entry import Service, handler_of
from polos.aws.telemetry import Silent
from polos.aws.visibility import Visibility
from polos.engine.engine import Engine
from polos.engine.worker import Worker
from polos.errors import BackendError, InvalidPayloadError, UsageError
from polos.ports import Message
from polos.testing.moto_account import MotoAccount


class Context:
    def get_remaining_time_in_millis(self) -> int:
        return 12_345


class FakeWorker:
    """Notes the messages that it is handed, and answers as it is told."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.remaining: list[float | None] = []
        self.answer: Callable[[Message], bool] = lambda _: True

    def handle(self, message: Message, remaining: Callable[[], float | None]) -> bool:
        self.messages.append(message)
        self.remaining.append(remaining())
        return self.answer(message)


class Noted(Silent):
    """Telemetry that keeps what it is told."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.executions: list[str | None] = []
        self.queues: set[str] = set()
        self.ages: list[float] = []

    @contextmanager
    def about(self, body: Mapping[str, Any]) -> Iterator[None]:
        self.executions.append(body.get("x"))
        yield

    def waited(self, queue: str, age: float) -> None:
        self.ages.append(age)

    def message(self, outcome: str, queue: str) -> None:
        self.counts[outcome] += 1
        self.queues.add(queue)


@pytest.fixture
def told() -> Noted:
    return Noted()


@pytest.fixture
def worker() -> FakeWorker:
    return FakeWorker()


@pytest.fixture
def service(account: MotoAccount, worker: FakeWorker, told: Noted) -> Service:
    engine = Engine(aws_backend(account.settings, account.clock, clients=account.runtime), workflows=dict)
    service = Service(engine, account.settings, Visibility(account.runtime, account.settings), told)
    service.worker = worker  # type: ignore[assignment]
    return service


class Queue:
    """Sends to a queue of the stack, and receives from it as Lambda does."""

    def __init__(self, account: MotoAccount, name: str) -> None:
        self._account, self._name, self._url = account, name, account.queue_urls[name]

    def send(self, *bodies: object) -> None:
        for body in bodies:
            text = body if isinstance(body, str) else json.dumps(body)
            self._account.aws.sqs.send_message(QueueUrl=self._url, MessageBody=text)

    def receive(self) -> dict[str, Any]:
        got = self._account.aws.sqs.receive_message(
            QueueUrl=self._url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"]
        )
        return {
            "Records": [
                {
                    "messageId": one["MessageId"],
                    "receiptHandle": one["ReceiptHandle"],
                    "body": one["Body"],
                    "attributes": one["Attributes"],
                    "messageAttributes": {},
                    "md5OfBody": one["MD5OfBody"],
                    "eventSource": "aws:sqs",
                    "eventSourceARN": self._account.arn(self._name),
                    "awsRegion": "us-east-1",
                }
                for one in got.get("Messages", [])
            ]
        }

    def invisible_for(self) -> list[float]:
        now = self._account.clock.now().timestamp() * 1000
        return [(message.visible_at - now) / 1000 for message in self._account.queue(self._name)._messages]


@pytest.fixture
def wakes(account: MotoAccount) -> Queue:
    return Queue(account, "WakeQueue")


def _ids(event: dict[str, Any]) -> list[str]:
    return [record["messageId"] for record in event["Records"]]


def _failed(answer: dict[str, Any]) -> list[str]:
    return [one["itemIdentifier"] for one in answer["batchItemFailures"]]


WAKE = {"t": "wake", "x": "e1", "wf": "w"}


def test_a_record_becomes_a_message(service: Service, worker: FakeWorker, wakes: Queue, told: Noted) -> None:
    wakes.send(WAKE)
    event = wakes.receive()

    assert handler_of(service, "work")(event, Context()) == {"batchItemFailures": []}

    (message,) = worker.messages
    assert message.id == _ids(event)[0]
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

    ids = _ids(event)
    assert _failed(answered) == [ids[1], ids[2], ids[3], ids[5]]
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

    assert len(_failed(handler_of(service, "work")(wakes.receive(), Context()))) == 1
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


def test_a_malformed_message_ends_with_the_dead_letters_and_is_told_once(
    service: Service, wakes: Queue, account: MotoAccount, worker: FakeWorker, caplog: pytest.LogCaptureFixture
) -> None:
    wakes.send("[1]", WAKE)
    handler = handler_of(service, "work")
    for _ in range(150):
        event = wakes.receive()
        if not event["Records"]:
            break
        failed = _failed(handler(event, Context()))
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


# ---- bodies

EVENT = {"t": "event", "id": "i", "tp": "a", "sq": 1}
ENVELOPE = {"version": "0", "id": "x", "detail-type": "polos.event", "source": "polos", "detail": EVENT}
TICK = {"t": "tick", "wf": "w", "key": "k", "cron": "* * * * *", "tz": "UTC", "at": "2030-01-01T00:00:00Z"}


@pytest.mark.parametrize("role", ["events", None])
def test_an_event_is_taken_out_of_its_envelope(role: str | None) -> None:
    assert records.message_of(json.dumps(ENVELOPE), role) == EVENT


@pytest.mark.parametrize("role", ["events", None])
def test_a_tick_gets_its_nominal_time_in_milliseconds(role: str | None) -> None:
    assert records.message_of(json.dumps(TICK), role) == {**TICK, "at": 1_893_456_000_000}


@pytest.mark.parametrize("kind", ["start", "wake", "resume", "cancel", "retry", "unpause"])
def test_a_command_is_what_it_is(kind: str) -> None:
    assert records.message_of(json.dumps({"t": kind, "x": "e"}), "work") == {"t": kind, "x": "e"}
    assert records.message_of(json.dumps({"t": kind, "x": "e"}), None) == {"t": kind, "x": "e"}


@pytest.mark.parametrize(
    ("body", "role", "said"),
    [
        ("", None, "not JSON"),
        ("{", None, "not JSON"),
        ("[" * 100_000, None, "not JSON"),
        ("null", None, "a JSON NoneType"),
        ("{}", None, "type None"),
        ('{"t": ["wake"]}', None, "type \\['wake'\\]"),
        ('{"t": "banana"}', "events", "type 'banana'"),
        (json.dumps(WAKE), "events", "type 'wake' was received, which is not handled"),
        (json.dumps(TICK), "work", "type 'tick' was received, which is not handled"),
        (json.dumps(ENVELOPE), "work", "type 'event' was received, which is not handled"),
        (json.dumps({**TICK, "at": 5}), "events", "nominal time 5"),
        (json.dumps({**ENVELOPE, "source": "aws.s3"}), "work", "type 'native' was received, which is not handled"),
        (json.dumps({**ENVELOPE, "detail": 5}), "events", "not an event of a topic"),
        (json.dumps({**ENVELOPE, "detail": {"t": "cancel", "x": "e1"}}), None, "not an event of a topic"),
    ],
)
def test_anything_else_is_refused_with_the_reason(body: str, role: str | None, said: str) -> None:
    with pytest.raises(InvalidPayloadError, match=said):
        records.message_of(body, role)


def test_a_command_that_the_engine_does_not_know_is_refused(
    service: Service, wakes: Queue, told: Noted, caplog: pytest.LogCaptureFixture
) -> None:
    service.worker = Worker(service.engine)
    wakes.send({"t": "banana", "x": "e1"})

    assert len(_failed(handler_of(service, "work")(wakes.receive(), Context()))) == 1
    assert told.counts == {telemetry.REFUSED: 1}
    assert "unknown type 'banana'" in caplog.text


def test_an_event_on_the_bus_is_never_a_command(service: Service, worker: FakeWorker, account: MotoAccount) -> None:
    """Whoever may put events could otherwise end any execution (SPEC section 5)."""
    queue = Queue(account, "EventsQueue")
    queue.send({**ENVELOPE, "detail": {"t": "cancel", "x": "e1", "wf": "w", "mode": "terminate"}})

    assert len(_failed(handler_of(service, None)(queue.receive(), Context()))) == 1
    assert worker.messages == []


@pytest.mark.parametrize("event", [None, 5, {}, {"Records": []}, {"Records": [{"eventSource": "aws:s3"}]}])
def test_an_event_of_another_source_is_an_error(service: Service, event: object) -> None:
    with pytest.raises(InvalidPayloadError, match="not a batch of SQS records"):
        handler_of(service, None)(event, Context())


# ---- the container

APPLICATION = """
from polos import workflow

@workflow(id="entry-test")
async def entry_test(ctx):
    return 1
"""


@pytest.fixture
def application(
    account: MotoAccount, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Callable[[str], None]]:
    """Writes the application, and sets the environment that its functions have."""
    for name, value in account.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("POLOS_APP", "entry_test_app")
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "work")
    monkeypatch.setenv("POWERTOOLS_METRICS_DISABLED", "true")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(entry, "_container", entry._Container())
    logger = logging.getLogger("polos")
    before = list(logger.handlers), logger.level, logger.propagate
    root = [(handler, list(handler.filters)) for handler in logging.getLogger().handlers]

    def write(text: str) -> None:
        sys.modules.pop("entry_test_app", None)
        (tmp_path / "entry_test_app.py").write_text(text)

    yield write
    sys.modules.pop("entry_test_app", None)
    logger.handlers, logger.level, logger.propagate = before
    for name in ("init", "powertools_handler", "powertools_buffer_config", "powertools_buffer_cache"):
        logger.__dict__.pop(name, None)
    for handler, filters in root:
        handler.filters = filters


def _lambda(event: dict[str, Any], role: str | None = None) -> dict[str, Any]:
    return lambda_handler(role)(event, Context())


def test_the_handler_runs_the_application_that_is_named(
    application: Callable[[str], None], account: MotoAccount
) -> None:
    application(APPLICATION)
    starts = Queue(account, "StartQueue")
    starts.send({"t": "start", "x": "e1", "wf": "entry-test", "so": {}, "cr": 1_893_456_000_000, "in": "null"})

    assert _lambda(starts.receive(), "work") == {"batchItemFailures": []}

    item = account.aws.dynamodb.get_item(TableName=account.settings.table, Key={"pk": {"S": "e1"}, "sk": {"S": "x"}})[
        "Item"
    ]
    assert item["st"] == {"S": "completed"}


def test_the_application_is_loaded_once(application: Callable[[str], None], wakes: Queue) -> None:
    application("import builtins\nbuiltins.loaded = getattr(builtins, 'loaded', 0) + 1\n")
    first, second = lambda_handler("work"), lambda_handler("events")
    for handler in (first, second):
        wakes.send(WAKE)
        handler(wakes.receive(), Context())

    import builtins

    assert builtins.__dict__.pop("loaded") == 1


def test_an_application_that_cannot_be_imported_raises_and_its_message_comes_again_soon(
    application: Callable[[str], None], wakes: Queue
) -> None:
    application("raise RuntimeError('no database')")
    wakes.send(WAKE)

    with pytest.raises(RuntimeError, match="no database"):
        _lambda(wakes.receive())
    assert wakes.invisible_for() == [5]


def test_an_application_that_is_mended_is_imported_anew(application: Callable[[str], None], wakes: Queue) -> None:
    application("raise RuntimeError('no database')")
    handler = lambda_handler("work")
    wakes.send(WAKE)
    with pytest.raises(RuntimeError):
        handler(wakes.receive(), Context())

    application("")
    wakes.send({**WAKE, "x": "e2"})

    assert "batchItemFailures" in handler(wakes.receive(), Context())


@pytest.mark.parametrize(
    ("name", "said"),
    [("", "POLOS_APP is not set"), ("entry_test_app:app.flow", "has no 'app.flow'"), ("nope_app", "nope_app")],
)
def test_a_wrong_name_of_the_application_says_so(
    application: Callable[[str], None], wakes: Queue, monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    application("app = 5")
    monkeypatch.setenv("POLOS_APP", name)
    wakes.send(WAKE)

    with pytest.raises((UsageError, ModuleNotFoundError), match=said):
        _lambda(wakes.receive())


def test_a_missing_environment_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entry, "_container", entry._Container())
    handler = lambda_handler("work")  # importing a handler outside Lambda does nothing

    with pytest.raises(BackendError, match="AWS_REGION"):
        handler({"Records": []}, Context())


def test_an_unknown_role_is_refused() -> None:
    with pytest.raises(
        UsageError, match="no role 'banana'; the roles are dead_letters, events, maintenance, registrar, work"
    ):
        lambda_handler("banana")
