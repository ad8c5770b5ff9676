"""What a function of the stack says about its work: JSON lines in the log, and metrics through the log.

Each line that is written while a message is handled carries `execution_id`, `workflow_id`, `message_type`, and, once
the lease is held, `epoch`. Payloads, results and event data are never logged, by no level. Powertools for AWS Lambda
writes the lines; `metrics` the metrics. Nothing here makes a request.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final, Protocol

from aws_lambda_powertools import Logger

from polos.aws.metrics import Metrics
from polos.ports import NoTelemetry, Notice, Telemetry
from polos.workflow import get_all_workflows

HANDLED: Final = "MessagesHandled"
KEPT: Final = "MessagesKept"
FAILED: Final = "MessagesFailed"
REFUSED: Final = "MessagesRefused"
AGE: Final = "MessageAge"
"""Milliseconds that a message waited in its queue before it was received for the first time."""

_KEYS: Final[Mapping[str, str]] = {"x": "execution_id", "wf": "workflow_id", "t": "message_type"}
_LONGEST: Final = 256


class Messages(Telemetry, Protocol):
    """What a handler tells about its messages, besides what the engine tells."""

    def about(self, body: Mapping[str, Any]) -> AbstractContextManager[None]:
        """While it is open, log lines say what the message is about, also those of threads that are started."""
        ...

    def waited(self, queue: str, age: float) -> None:
        """How long a message waited for its first receipt (ms)."""
        ...

    def message(self, outcome: str, queue: str) -> None:
        """What became of a message: the name of its metric."""
        ...

    def flush(self) -> None:
        """The invocation is over."""
        ...


class Powertools:
    """The telemetry of a Lambda function. Takes over the logger "polos": all under it are JSON lines."""

    def __init__(self, stack: str, *, by_workflow: bool = True) -> None:
        self._logger = Logger(service="polos")
        self._logger.append_keys(stack=stack)
        self._metrics = Metrics(stack, _known if by_workflow else None)

    @contextmanager
    def about(self, body: Mapping[str, Any]) -> Generator[None, None, None]:
        keys = {shown: found for name, shown in _KEYS.items() if isinstance(found := body.get(name), str)}
        self._logger.thread_safe_clear_keys()
        self._logger.thread_safe_append_keys(**{name: value[:_LONGEST] for name, value in keys.items()})
        try:
            yield
        finally:
            self._logger.thread_safe_clear_keys()

    def owns(self, workflow_id: str, epoch: int) -> None:
        self._logger.thread_safe_append_keys(workflow_id=workflow_id, epoch=epoch)

    def note(self, notice: Notice, workflow_id: str, value: float = 1.0) -> None:
        self._metrics.add(notice, value, "workflow", workflow_id)

    def waited(self, queue: str, age: float) -> None:
        self._metrics.add(AGE, age, "queue", queue)

    def message(self, outcome: str, queue: str) -> None:
        self._metrics.add(outcome, 1, "queue", queue)

    def flush(self) -> None:
        self._metrics.write()


def _known() -> Collection[str]:
    return get_all_workflows().keys()


class Silent(NoTelemetry):
    """No telemetry: for tests."""

    @contextmanager
    def about(self, body: Mapping[str, Any]) -> Generator[None, None, None]:
        yield

    def waited(self, queue: str, age: float) -> None:
        return

    def message(self, outcome: str, queue: str) -> None:
        return

    def flush(self) -> None:
        return
