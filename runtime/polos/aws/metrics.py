"""Metrics in the embedded metric format: a line of JSON in the log, from which CloudWatch makes them. No requests.

Each value counts under the stack, and under the stack with the queue or the workflow it is about. That is what sets
their price (a metric is a name with its dimensions), so workflows are bounded: `MOST` of those that this application
has, and "other" for the rest. CloudWatch User Guide, "Specification: Embedded metric format": 100 values a metric.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Collection
from typing import Any, Final

from polos.clock import SystemClock
from polos.engine.commands import millis

NAMESPACE: Final = "Polos"
MOST: Final = 50
OTHER: Final = "other"
MILLISECONDS: Final = frozenset({"MessageAge", "WakeToRun"})
_VALUES: Final = 100


class Metrics:
    """Values of one container until they are written. Thread-safe.

    `workflows` gives the ids that the application has; None: no metrics by workflow.
    """

    def __init__(self, stack: str, workflows: Callable[[], Collection[str]] | None) -> None:
        self._stack, self._workflows = stack, workflows
        self._values: dict[tuple[str, str], dict[str, list[float]]] = {}
        self._lock = threading.Lock()

    def add(self, name: str, value: float, dimension: str, about: str) -> None:
        """Keep one value of a metric. What is beyond 100 values between two writes is left out."""
        with self._lock:
            values = self._values.setdefault((dimension, about), {}).setdefault(name, [])
            if len(values) < _VALUES:
                values.append(value)

    def write(self) -> None:
        """Write what came since the last time: one line for each queue or workflow that anything was about."""
        with self._lock:
            found, self._values = self._values, {}
        for (dimension, about), values in found.items():
            sys.stdout.write(f"{self._line(dimension, about, values)}\n")

    def _line(self, dimension: str, about: str, values: dict[str, list[float]]) -> str:
        dimensions, members = [["stack"]], {"stack": self._stack}
        if dimension != "workflow" or self._workflows is not None:
            dimensions.append(["stack", dimension])
            members[dimension] = self._bounded(about) if dimension == "workflow" else about
        definitions = [{"Name": name, "Unit": "Milliseconds" if name in MILLISECONDS else "Count"} for name in values]
        directive = {"Namespace": NAMESPACE, "Dimensions": dimensions, "Metrics": definitions}
        whole: dict[str, Any] = {
            "_aws": {"Timestamp": millis(SystemClock().now()), "CloudWatchMetrics": [directive]},
            **members,
            **{name: found if len(found) > 1 else found[0] for name, found in values.items()},
        }
        return json.dumps(whole, separators=(",", ":"))

    def _bounded(self, workflow_id: str) -> str:
        known = [] if self._workflows is None else sorted(self._workflows())
        return workflow_id if workflow_id in known[:MOST] else OTHER
