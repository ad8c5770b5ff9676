"""How executions begin and end, as events on the stack's bus: only where the stack was deployed with LifecycleEvents.

    {"source": "polos", "detail-type": "polos.execution", "detail": {"id", "execution_id", "workflow_id", "status",
     "generation", "root_execution_id", "parent_execution_id"?, "next_execution_id"?, "error_type"?, "tags",
     "created_at", "started_at"?, "ended_at"?}}

`status` is "running" (it has begun), or one of the four ends. The same status of one execution comes at least once and
always under the same `id`. No payload, result or error message is in it. The rule of topics does not match these.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from polos.aws.topics import SOURCE, EventBridgeTopics
from polos.aws.wire import to_json

EXECUTION: Final = "polos.execution"


class EventBridgeLifecycle:
    """1 request a status. Thread-safe."""

    def __init__(self, topics: EventBridgeTopics, bus: str) -> None:
        self._topics, self._bus = topics, bus

    def tell(self, about: Mapping[str, Any]) -> None:
        entry = {"Source": SOURCE, "DetailType": EXECUTION, "Detail": to_json(about), "EventBusName": self._bus}
        self._topics.put([entry])
