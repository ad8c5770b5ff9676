"""Pauses, as a client calls them: of an execution, a queue, a workflow. `engine.controls` and `recovery` keep them."""

from __future__ import annotations

from typing import Any

from polos.connection import Connection
from polos.engine import controls, recovery
from polos.engine.engine import Engine
from polos.types.types import Paused
from polos.workflow import Workflow, find_workflow


class Pausing:
    """The part of `Polos` that holds executions back, and lets them go on."""

    _connection: Connection

    async def pause(self, execution_id: str) -> None:
        """Let an execution start nothing new until `unpause`. Raises `ExecutionStateError` if it has ended."""
        await self._connection.run(recovery.pause, execution_id)

    async def unpause(self, execution_id: str) -> None:
        """Let a paused execution go on."""
        await self._connection.run(recovery.unpause, execution_id)

    async def pause_queue(self, name: str) -> None:
        """Let the executions of a queue start nothing new until `unpause_queue`; steps that run end.

        A workflow without a queue has one of its own id. What is started, triggered or scheduled meanwhile is kept.
        It takes effect within 15 s everywhere, here at once. Cancel and terminate still work. On AWS: 1 request.
        """
        await self._connection.run(controls.pause, "queue", name)

    async def unpause_queue(self, name: str) -> None:
        """Let the executions of a paused queue go on; one that is not paused is left as it is. At most 3 requests."""
        await self._connection.run(controls.unpause, "queue", name)

    async def pause_workflow(self, workflow: Workflow[Any, Any] | str) -> None:
        """As `pause_queue`, for all executions of a workflow, whatever queue they are in."""
        await self._connection.run(controls.pause, "workflow", _id_of(workflow))

    async def unpause_workflow(self, workflow: Workflow[Any, Any] | str) -> None:
        """Let the executions of a paused workflow go on; one that is not paused is left as it is."""
        await self._connection.run(controls.unpause, "workflow", _id_of(workflow))

    async def list_paused(self) -> list[Paused]:
        """The queues and workflows that are paused, by kind and name. 1 request."""

        def look(engine: Engine) -> list[Paused]:
            found = engine.controls.refresh()
            return [Paused(kind=one.kind, name=one.name, since=one.since) for one in found]

        return sorted(await self._connection.run(look), key=lambda one: (one.kind, one.name))


def _id_of(workflow: Workflow[Any, Any] | str) -> str:
    """The id of a workflow, whose code need not be here. Raises `UsageError` for what is neither."""
    return workflow if isinstance(workflow, str) else find_workflow(workflow).id
