"""`ctx`: what a workflow body knows of its execution."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, MutableMapping
from datetime import datetime
from typing import Any, NoReturn

from polos import current
from polos.core.replay import Replay
from polos.spans import Spans
from polos.step import Step

_log = logging.getLogger("polos.workflow")


class _ExecutionLogger(logging.LoggerAdapter[logging.Logger]):
    """Adds the execution to every line, inside a step the step too, and is quiet while the body replays."""

    def __init__(self, replay: Replay, workflow_id: str, execution_id: str) -> None:
        super().__init__(_log, {"workflow_id": workflow_id, "execution_id": execution_id})
        self._replay, self._execution_id = replay, execution_id

    def isEnabledFor(self, level: int) -> bool:
        quiet = current.step.get() is None and (self._replay.closing or self._replay.replaying)
        return not quiet and super().isEnabledFor(level)

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        step = current.step.get()
        about = {} if step is None else {"step_key": step.key, "attempt": step.attempt}
        kwargs["extra"] = {**(self.extra or {}), **about, **(kwargs.get("extra") or {})}
        return f"[{self._execution_id}] {msg}", kwargs


class ContinueAsNew(BaseException):
    """Ends a body whose execution goes on with a new payload. Not an `Exception`: no handler takes it for a failure."""

    def __init__(self, payload: Any) -> None:
        self.payload = payload
        super().__init__("continue as new")


class WorkflowContext:
    """The execution that a workflow body runs for.

    `created_at` is aware, UTC. `retry_count` counts whole-execution retries. `state` is an instance of the workflow's
    `state_schema`, rebuilt by replay; what a step's callable changes in it is lost.
    """

    workflow_type = "workflow"

    def __init__(
        self,
        replay: Replay,
        *,
        workflow_id: str,
        execution_id: str,
        parent_execution_id: str | None,
        root_execution_id: str,
        root_workflow_id: str,
        retry_count: int,
        created_at: datetime,
        session_id: str,
        user_id: str | None,
        deployment_id: str,
        state: Any,
        remaining: Callable[[], float | None],
        now: Callable[[], int],
        scope: Mapping[str, Any] | None = None,
        spans: Spans | None = None,
    ) -> None:
        self.workflow_id, self.execution_id = workflow_id, execution_id
        self.parent_execution_id = parent_execution_id
        self.root_execution_id, self.root_workflow_id = root_execution_id, root_workflow_id
        self.retry_count, self.created_at = retry_count, created_at
        self.session_id, self.user_id, self.deployment_id = session_id, user_id, deployment_id
        self._state = state
        self.logger = _ExecutionLogger(replay, workflow_id, execution_id)
        self.step = Step(replay, f"workflow/{root_workflow_id}/{root_execution_id}", now, scope, spans)
        self._replay, self._remaining = replay, remaining

    @property
    def state(self) -> Any:
        """The state; inside a step a copy of its own, since what is changed there could not be rebuilt by replay."""
        copy = current.state.get()
        return self._state if copy is None else copy

    @state.setter
    def state(self, value: Any) -> None:
        if current.state.get() is None:
            self._state = value
        else:
            current.state.set(value)

    @property
    def is_replaying(self) -> bool:
        """Whether the body is still behind what was recorded. Don't branch on it."""
        return self._replay.replaying

    @property
    def remaining_time(self) -> float | None:
        """Seconds until the invocation's time limit; None where there is none."""
        return self._remaining()

    async def continue_as_new(self, payload: Any = None) -> NoReturn:
        """End this execution and start its successor with an empty history, under the same handle.

        For loops without end, whose history would grow without end. Does not return; `finally` blocks run.
        """
        raise ContinueAsNew(payload)

    def to_dict(self) -> dict[str, Any]:
        """The ids and times as JSON-compatible values."""
        return {
            "workflow_id": self.workflow_id,
            "execution_id": self.execution_id,
            "parent_execution_id": self.parent_execution_id,
            "root_execution_id": self.root_execution_id,
            "root_workflow_id": self.root_workflow_id,
            "retry_count": self.retry_count,
            "created_at": self.created_at.isoformat(),
            "session_id": self.session_id,
            "user_id": self.user_id,
            "workflow_type": self.workflow_type,
            "deployment_id": self.deployment_id,
        }
