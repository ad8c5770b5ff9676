"""The composition root of a Lambda function: from its event to `Worker.handle`, and from the answer to SQS.

    handled      the record is deleted
    not yet      reported as failed, without noise; the engine has said when it comes again
    not ours     kept for a person, with the reason, and deleted; if that fails, its queue gives it to the dead letters
    raised       logged, reported as failed; it comes again after 5 s, 10 s, and so on up to 15 minutes
    too late     behind others that took more than 10 s: reported as failed, and given to another invocation at once

A record's failure never touches its neighbours (Lambda Developer Guide, "Handling errors for an SQS event source",
partial batch responses). Must not catch what ends a process. Laws: L10, L11; SPEC sections 8.2, 8.8 and 12.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import Any, Final, Protocol, cast

from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType

from polos import tracing
from polos.aws import application, custom_resource, records, telemetry
from polos.aws.backend import aws_backend
from polos.aws.clients import Clients
from polos.aws.dead_letters import DeadLetters
from polos.aws.kept_letters import KeptLetters
from polos.aws.records import Record
from polos.aws.registrar import Registrar
from polos.aws.settings import STACK_NAME, Settings
from polos.aws.telemetry import Messages, Powertools
from polos.aws.visibility import Visibility
from polos.engine import retention
from polos.engine.engine import Engine
from polos.engine.worker import Worker
from polos.errors import BackendError, InvalidPayloadError, UsageError
from polos.ports import Message

_log = logging.getLogger("polos.aws")
_FLUSH_SECONDS, _FLUSH_MARGIN = 5.0, 1.0
_DONE: Final = frozenset({telemetry.HANDLED, telemetry.REFUSED})


class Context(Protocol):
    """What is used of Lambda's context object."""

    def get_remaining_time_in_millis(self) -> int: ...


MAINTENANCE: Final = "maintenance"
"""The type ("t") of what Scheduler sends to have the maintenance done."""

Handler = Callable[[Any, Context], Any]


class _NotDone(Exception):
    """A record that must come again. Powertools counts a record as failed when its handler raises."""


class Service:
    """One application on one stack, as long as the container lives. Thread-safe."""

    def __init__(self, engine: Engine, settings: Settings, visibility: Visibility, told: Messages) -> None:
        self.engine, self.settings, self.visibility, self.told = engine, settings, visibility, told
        self.worker = Worker(engine)
        self.kept_letters = KeptLetters(settings, visibility.clients)
        self.dead_letters = DeadLetters(self.worker, settings, visibility.clients, self.kept_letters)

    @classmethod
    def of_environment(cls) -> Service:
        """Built from what the template put into the environment. No requests."""
        settings = Settings.from_environment()
        told = Powertools(settings.stack, by_workflow=settings.workflow_metrics)
        clients = Clients(settings.region)
        version = os.environ.get("AWS_LAMBDA_FUNCTION_VERSION", "default")
        engine = Engine(aws_backend(settings, clients=clients, telemetry=told), deployment_id=version)
        return cls(engine, settings, Visibility(clients, settings), told)


def handler_of(service: Service, role: str | None = None) -> Handler:
    """The handler of one role on a service. `None`: every role, told apart by the shape of the event."""
    _check_role(role)

    def handle(event: Any, context: Context) -> Any:
        if not records.are_sqs_records(event):
            raise InvalidPayloadError("The function was invoked with something that is not a batch of SQS records.")
        processor: Any = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
        # One that began with less would hand over, and an execution that can only hand over has died (L14).
        enough = context.get_remaining_time_in_millis() / 1000 - service.engine.limits.stop_before

        def each(record: Any) -> None:
            parsed = Record.of(record.raw_event)
            if context.get_remaining_time_in_millis() / 1000 < enough:
                service.visibility.extend(parsed, 0)
                outcome = telemetry.KEPT
            else:
                outcome = _handle(service, role, parsed, context)
            service.told.message(outcome, service.settings.queue_of(parsed.queue_arn))
            if outcome not in _DONE:
                raise _NotDone

        with processor(records=event["Records"], handler=each):
            processor.process()
        service.told.flush()
        left = context.get_remaining_time_in_millis() / 1000
        tracing.flush(min(_FLUSH_SECONDS, left - _FLUSH_MARGIN))
        return processor.response()

    return handle


def _handle(service: Service, role: str | None, record: Record, context: Context) -> str:
    """Handle one record; what became of it, as the name of its metric."""

    def remaining() -> float:
        return context.get_remaining_time_in_millis() / 1000

    def extend(seconds: float) -> None:
        service.visibility.extend(record, seconds)

    if role == "dead_letters" or (role is None and service.settings.queue_of(record.queue_arn) == "dead"):
        return _handle_dead(service, record)
    try:
        body = records.message_of(record.body, role)
    except InvalidPayloadError as error:
        return _refused(service, record, error)
    _tell_age(service, record, body.get("due"))
    with service.told.about(body):
        try:
            done = service.worker.handle(Message(record.id, body, record.received, extend, record.sent), remaining)
        except InvalidPayloadError as error:
            return _refused(service, record, error)
        except Exception as error:  # noqa: BLE001 - whatever it is, its neighbours go on, and it is tried again
            trace = None if isinstance(error, BackendError) else error
            _log.error("message %s failed: %s: %s", record.id, type(error).__name__, error, exc_info=trace)
            service.visibility.back_off(record)
            return telemetry.FAILED
    return telemetry.HANDLED if done else telemetry.KEPT


def _handle_dead(service: Service, record: Record) -> str:
    try:
        service.dead_letters.handle(record)
    except Exception as error:  # noqa: BLE001 - its neighbours go on, and it is tried again
        _log.error("dead message %s failed: %s: %s", record.id, type(error).__name__, error, exc_info=error)
        service.visibility.back_off(record)
        return telemetry.FAILED
    return telemetry.HANDLED


def _tell_age(service: Service, record: Record, due: object) -> None:
    """How long a message waited until it was received first, beyond the time for which it was meant to wait."""
    if record.received == 1 and record.sent is not None and record.first_received is not None:
        since = max(record.sent, due) if isinstance(due, int) else record.sent
        queue = service.settings.queue_of(record.queue_arn)
        service.told.waited(queue, max(0, record.first_received - since))


def _refused(service: Service, record: Record, error: InvalidPayloadError) -> str:
    """It will never be handled. Without the way to the kept letters it dies in its queue, which takes 100 receipts."""
    try:
        service.kept_letters.keep(record, str(error))
    except BackendError as lost:
        if record.received == 1:
            _log.error("message %s is refused: %s; it goes to the dead letters: %s", record.id, error, lost)
        service.visibility.extend(record, 0)
        return telemetry.FAILED
    return telemetry.REFUSED


class _Container:
    """What a container keeps between invocations: the service, once the application could be loaded."""

    def __init__(self) -> None:
        self._service: Service | None = None
        self._lock = threading.Lock()

    def service(self, *, with_application: bool = True) -> Service:
        """Raises what the application raised when it was imported; it is imported anew the next time."""
        with self._lock:
            if self._service is None:
                service = Service.of_environment()
                if with_application:
                    application.load()
                self._service = service
            return self._service


_container = _Container()


def lambda_handler(role: str | None = None) -> Handler:
    """A Lambda handler for one role, or with `None` for all of them, told apart by the event's shape.

    The roles: "work" (starts, resumptions, workflow code), "events" (events, ticks), "dead_letters" (what a queue has
    given up), "maintenance" (what Scheduler calls for every six hours), "registrar" (the custom resource of a
    deployment).

    The application that `POLOS_APP` names is imported once a container, when the function starts up. If that fails,
    each invocation tries again and raises; its messages stay in their queue, and come again after 5 s to 15 minutes.
    """
    _check_role(role)
    if role == "registrar":
        return _register  # it imports the application elsewhere, and must live when that fails
    runs_code = role not in ("dead_letters", "maintenance")
    if runs_code and "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
        _warm()

    def handler(event: Any, context: Context) -> Any:
        if role is None and custom_resource.is_request(event):
            return _register(event, context)
        try:
            service = _container.service(with_application=runs_code)
        except Exception:
            _put_back(event)
            raise
        if role == "maintenance" or (role is None and _is_maintenance(event)):
            return _maintain(service, event, context)
        return handler_of(service, role)(event, context)

    return handler


def _is_maintenance(event: Any) -> bool:
    return isinstance(event, dict) and cast("dict[str, Any]", event).get("t") == MAINTENANCE


def _maintain(service: Service, event: Any, context: Context) -> dict[str, Any]:
    """What must be done from time to time, whatever happens. Repeatable: Scheduler may call twice.

    With {"t": "maintenance", "whole": true} it looks at every execution, as `retention.sweep` says.
    """
    if not _is_maintenance(event):
        raise InvalidPayloadError("The function was invoked with something that does not ask for maintenance.")
    whole = event.get("whole") is True

    def remaining() -> float:
        return context.get_remaining_time_in_millis() / 1000

    swept = retention.sweep(service.engine, remaining, whole=whole)  # first: it keeps more than events
    events = retention.sweep_gathered(service.engine, remaining)
    _log.info("the records of %d open executions and %d events were renewed", swept.renewed, events.renewed)
    complete = swept.complete and events.complete
    if not complete:
        _log.warning("the time was too short to look at all that are open; the next maintenance goes on")
    return {"renewed": swept.renewed, "events": events.renewed, "complete": complete}


def _register(event: Any, context: Any) -> None:
    """One request of CloudFormation. A container seldom serves two, so nothing is kept."""
    Powertools(os.environ.get(STACK_NAME, ""))
    Registrar().handle(event, context)


def _check_role(role: str | None) -> None:
    if role is not None and role not in records.ROLES:
        raise UsageError(f"There is no role {role!r}; the roles are {', '.join(sorted(records.ROLES))}.")


def _warm() -> None:
    try:
        _container.service()
    except Exception as error:  # noqa: BLE001 - the invocation raises it, and puts its message back
        _log.error("the application could not be loaded: %s", error, exc_info=error)


def _put_back(event: Any) -> None:
    """Have the records of an application that can't be loaded come again soon, but not all the time."""
    if not records.are_sqs_records(event):
        return
    try:
        settings = Settings.from_environment()
    except BackendError:
        return
    visibility = Visibility(Clients(settings.region), settings)
    for record in event["Records"]:
        visibility.back_off(Record.of(record))
