"""The handle on one execution."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, PrivateAttr

from polos import ambient
from polos.ambient import Client


class ExecutionHandle(BaseModel):
    """One execution, started. `created_at` is aware, UTC; `step_key` is the parent's step that started it."""

    id: str
    workflow_id: str
    created_at: datetime | None = None
    parent_execution_id: str | None = None
    root_workflow_id: str | None = None
    root_execution_id: str | None = None
    session_id: str | None = None
    user_id: str | None = None
    step_key: str | None = None

    _client: Client | None = PrivateAttr(default=None)

    def bind(self, client: Client) -> ExecutionHandle:
        """Use this client where none is given."""
        self._client = client
        return self

    async def get(self, client: Client | None = None) -> dict[str, Any]:
        """The execution as a dict: status, result, error, times; the result as the workflow gave it.

        A child whose start is on its way is queued; its payload is not shown before it has arrived. Raises
        `ExecutionNotFoundError`.
        """
        return await ambient.client(client or self._client).get_execution(self.id, typed=True)

    async def cancel(self, client: Client | None = None) -> bool:
        """Ask the execution to stop, with its cleanup. False if it has ended already."""
        return await ambient.client(client or self._client).cancel_execution(self.id)

    async def result(self, timeout: float | timedelta | None = None, client: Client | None = None) -> Any:
        """Wait for the end and return the result, or raise as `Workflow.run` does.

        `timeout` (seconds, or a timedelta) only ends the waiting (`WorkflowTimeoutError`), not the execution.
        """
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
        return await ambient.client(client or self._client).wait_for_result(self.id, seconds)

    def to_dict(self) -> dict[str, Any]:
        """As JSON-compatible values."""
        return self.model_dump(mode="json")
