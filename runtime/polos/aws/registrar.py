"""The registrar: at each deployment it makes the stack agree with what the code declares (SPEC 8.7).

A custom resource of the template whose property is the version of the work function, so CloudFormation calls it when
that changes. Create and Update import the application and reconcile; Delete removes everything that was declared.

    nothing is changed before the import has succeeded, so a deployment that fails leaves what was there
    a change that fails half way is put back; and when CloudFormation rolls back, it calls with the code before
    every request may come again: what is there is compared with what is declared, and never with what was done
    an answer is always sent, within the function's time, also to a request of a type that nobody knows; the template
        gives CloudFormation a time limit besides

Laws: L10, L11.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import Any, Final, Protocol

from polos.aws import custom_resource, importing
from polos.aws.clients import Clients
from polos.aws.custom_resource import Failure, Request
from polos.aws.default_bus import EventBridgeDefaultBus
from polos.aws.importing import ImportFailed
from polos.aws.recurrences import SchedulerRecurrences
from polos.aws.settings import Settings
from polos.clock import SystemClock
from polos.engine import registration
from polos.engine.registration import Declarations, Targets
from polos.errors import BackendError, InvalidPayloadError, PolosError
from polos.ports import Clock

_log = logging.getLogger("polos.aws")

PHYSICAL_ID: Final = "polos-declarations"
IMPORT_SECONDS: Final = 60.0
_FOR_CHANGES: Final = 35.0
"""Seconds that are left, at least, to make the changes after an import."""

_FOR_ANSWER: Final = 12.0
"""Seconds before the function's time limit at which an answer is sent, whatever still runs."""

_SPARE: Final = 32 * 2**20
"""Bytes of memory that neither process is given."""

_SAID: Final = 600


class Context(Protocol):
    """What must be there of Lambda's context object (Developer Guide, "Using the Lambda context object").

    `log_group_name`, `log_stream_name` and `memory_limit_in_mb` are used where it has them.
    """

    def get_remaining_time_in_millis(self) -> int: ...


class _Answer:
    """The one answer to a request: the first one that was taken."""

    def __init__(self, request: Request, clock: Clock, remaining: Callable[[], float]) -> None:
        self._request, self._clock, self._remaining = request, clock, remaining
        self._lock = threading.Lock()
        self._given = False

    def give(self, failure: Failure | None = None) -> None:
        """Raises `BackendError`."""
        with self._lock:
            if not self._given:
                answer = custom_resource.body(self._request, PHYSICAL_ID, failure)
                custom_resource.send(self._request, answer, self._clock, self._remaining)
                self._given = True

    def give_late(self, failure: Failure) -> None:
        """From the thread that watches the time."""
        try:
            self.give(failure)
        except BackendError as error:
            _log.error("%s", error)


def targets_of_environment() -> Targets:
    """Where the declarations of this stack go. No requests; raises `BackendError` for a setting that is missing."""
    settings = Settings.from_environment()
    clients = Clients(settings.region)
    return Targets(SchedulerRecurrences(clients, settings), EventBridgeDefaultBus(clients, settings))


class Registrar:
    """Serves the requests of CloudFormation for one stack."""

    def __init__(
        self,
        targets: Callable[[], Targets] = targets_of_environment,
        clock: Clock | None = None,
        *,
        import_seconds: float = IMPORT_SECONDS,
    ) -> None:
        self._targets, self._clock, self._import_seconds = targets, clock or SystemClock(), import_seconds

    def handle(self, event: Any, context: Context) -> None:
        """Do what is asked for, and answer it. Raises only where no answer could be sent.

        An answer that the function's time runs out is sent from a thread, while what hangs still hangs.
        """
        request = Request.of(event)

        def remaining() -> float:
            return context.get_remaining_time_in_millis() / 1000

        answer = _Answer(request, self._clock, remaining)
        log = _log_of(context)
        late = Failure(f"{request.kind} was not done in the function's time. {log}")
        watch = threading.Timer(max(0.0, remaining() - _FOR_ANSWER), answer.give_late, (late,))
        watch.daemon = True
        watch.start()
        try:
            done = self._carry_out(request, context, remaining)
        except Exception as error:  # noqa: BLE001 - whatever it is, CloudFormation must be told
            _log.error("%s of the declarations failed: %s", request.kind, error, exc_info=error)
            answer.give(_failure(error, log))
        else:
            _log.info("%s of the declarations: %s", request.kind, done)
            answer.give()
        finally:
            watch.cancel()

    def _carry_out(self, request: Request, context: Context, remaining: Callable[[], float]) -> str:
        if request.kind not in custom_resource.KINDS:
            known = ", ".join(custom_resource.KINDS)
            raise InvalidPayloadError(f"CloudFormation asks for {request.kind!r}; this resource knows {known}.")
        if request.kind == "Delete":
            registration.register(self._targets(), Declarations())
            return "removed everything"
        seconds = min(self._import_seconds, remaining() - _FOR_CHANGES)
        declared = importing.declarations(seconds, _memory_for_import(context))
        registration.register(self._targets(), declared)
        return f"{len(declared.schedules)} schedules, {len(declared.rules)} rules"


def _memory_for_import(context: Context) -> int | None:
    """Bytes; None where the function's limit is not known."""
    limit = getattr(context, "memory_limit_in_mb", None)
    return None if limit is None else int(limit) * 2**20 - importing.resident(os.getpid()) - _SPARE


def _log_of(context: Context) -> str:
    """The sentence that says where the log is."""
    group, stream = (getattr(context, name, None) for name in ("log_group_name", "log_stream_name"))
    return f"The log: {custom_resource.log_link(group, stream or '')}" if group else "The function's log says more."


def _failure(error: Exception, log: str) -> Failure:
    """What went wrong, where the log is, and the traceback of the application."""
    said = str(error) if isinstance(error, PolosError) else f"{type(error).__name__}: {error}"
    details = error.details if isinstance(error, ImportFailed) else ""
    return Failure(f"{custom_resource.head(said, _SAID)} {log}", details)
