"""Logs as JSON lines with the execution id, and a few metrics. Powertools for AWS Lambda does both.

Metrics are written to the log in the embedded metric format, at most one line an invocation (CloudWatch User Guide,
"Embedding metrics within logs"), and only those that are not zero. No tracing by X-Ray.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Final, Protocol

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

NAMESPACE: Final = "Polos"
HANDLED: Final = "MessagesHandled"
KEPT: Final = "MessagesKept"
FAILED: Final = "MessagesFailed"
REFUSED: Final = "MessagesRefused"


class Telemetry(Protocol):
    """What a handler tells about its messages."""

    def about(self, execution_id: str | None) -> AbstractContextManager[None]:
        """While it is open, log lines carry the execution id, also those of threads that the context is copied to."""
        ...

    def count(self, counts: Counter[str]) -> None:
        """How many messages of one invocation went which way."""
        ...


class Powertools:
    """The telemetry of a Lambda function. Takes over the logger "polos": all under it are JSON lines."""

    def __init__(self, stack: str) -> None:
        self._stack = stack
        self._logger = Logger(service="polos")

    @contextmanager
    def about(self, execution_id: str | None) -> Generator[None, None, None]:
        if execution_id is None:
            yield
            return
        self._logger.thread_safe_append_keys(execution_id=execution_id)
        try:
            yield
        finally:
            self._logger.thread_safe_remove_keys(["execution_id"])

    def count(self, counts: Counter[str]) -> None:
        metrics = EphemeralMetrics(namespace=NAMESPACE, service=self._stack)
        for name, number in counts.items():
            metrics.add_metric(name=name, unit=MetricUnit.Count, value=number)
        if counts:
            metrics.flush_metrics()


class Silent:
    """No telemetry: for tests."""

    @contextmanager
    def about(self, execution_id: str | None) -> Generator[None, None, None]:
        yield

    def count(self, counts: Counter[str]) -> None:
        return
