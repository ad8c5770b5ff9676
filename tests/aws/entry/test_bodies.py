"""Message bodies at the handlers: commands, events in their envelopes, ticks, and what is refused (SPEC 8.2, 12)."""

from __future__ import annotations

import json

import pytest

from polos.aws import records, telemetry
from polos.aws.entry import Service, handler_of
from polos.engine.worker import Worker
from polos.errors import InvalidPayloadError
from polos.testing.moto_account import MotoAccount
from tests.aws.entry.parts import WAKE, Context, FakeWorker, Noted, Queue, failed_ids

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

    assert failed_ids(handler_of(service, "work")(wakes.receive(), Context())) == []
    assert told.counts == {telemetry.REFUSED: 1}
    assert "unknown type 'banana'" in caplog.text


def test_an_event_on_the_bus_is_never_a_command(service: Service, worker: FakeWorker, account: MotoAccount) -> None:
    """Whoever may put events could otherwise end any execution (SPEC section 5)."""
    queue = Queue(account, "EventsQueue")
    queue.send({**ENVELOPE, "detail": {"t": "cancel", "x": "e1", "wf": "w", "mode": "terminate"}})

    assert failed_ids(handler_of(service, None)(queue.receive(), Context())) == []
    assert worker.messages == []
    assert len(account.queue("KeptLetters")._messages) == 1


@pytest.mark.parametrize("event", [None, 5, {}, {"Records": []}, {"Records": [{"eventSource": "aws:s3"}]}])
def test_an_event_of_another_source_is_an_error(service: Service, event: object) -> None:
    with pytest.raises(InvalidPayloadError, match="not a batch of SQS records"):
        handler_of(service, None)(event, Context())
