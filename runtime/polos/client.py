"""`Polos`: the client, the calls of a program on one backend. `polos.connection` chooses and opens that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from polos import ambient, following
from polos.connection import Connection
from polos.core import items
from polos.core.conditions import Item
from polos.engine import commands, finding, forking, listing, native, queries, recovery, starting
from polos.engine.engine import Engine
from polos.errors import ExecutionStateError, PolosError, UsageError
from polos.handle import ExecutionHandle
from polos.log_file import close_log_file, open_log_file
from polos.pausing import Pausing
from polos.ports import Event, Recurring
from polos.start_options import check_batch
from polos.types.types import BatchWorkflowInput, ExecutionDetail, ExecutionSummary, StreamEvent
from polos.workflow import Workflow, find_workflow

_SAME: Any = object()


class Polos(Pausing):
    """A client of one backend.

    `stack` (or `POLOS_STACK`) names a deployed CloudFormation stack; a function that has the stack's outputs in its
    environment needs neither. Otherwise the embedded backend is used: `local`
    is a file or ":memory:" (or `POLOS_LOCAL_DB`; default `.polos/local.db`), and its worker runs the registered
    workflows inside this process. As `async with Polos()`, or after `start()`, the worker also takes up what earlier
    processes left, and fires schedules. `log_file` gets the log of the package. `max_concurrent_workflows` limits the
    turns that the worker runs at once (32). The upstream SDK's `project_id`, `api_url`, `api_key` and `port` are taken
    and mean nothing: there is no server.
    """

    def __init__(
        self,
        stack: str | None = None,
        region: str | None = None,
        local: str | Path | None = None,
        log_file: str | Path | None = None,
        *,
        deployment_id: str | None = None,
        max_concurrent_workflows: int | None = None,
        engine: Engine | None = None,
        **upstream: Any,
    ) -> None:
        _check_upstream(upstream)
        self._connection = Connection(
            stack, region, local, deployment_id=deployment_id, concurrency=max_concurrent_workflows, engine=engine
        )
        self._outer: ambient.Client | None = None
        self._log_handler = open_log_file(log_file) if log_file is not None else None

    # ---- life

    async def __aenter__(self) -> Polos:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start the worker of the embedded backend for everything in its database. Nothing to start on AWS."""
        await self._connection.call(self._connection.open, True)  # first: one that fails is no ambient client
        if ambient.current() is not self:
            self._outer = ambient.current()
            ambient.use(self)

    async def stop(self) -> None:
        """Stop the worker once the turns under way have ended, and close the database."""
        if ambient.current() is self:
            ambient.use(self._outer)
        await asyncio.to_thread(self.close)

    def limit_turns(self, most: int) -> None:
        """Run at most this many turns at once in this process. Raises `UsageError` once the backend is open."""
        self._connection.limit_turns(most)

    async def serve(self) -> None:
        """Run the worker until this is cancelled (Ctrl-C)."""
        await self.start()
        try:
            await asyncio.Event().wait()
        finally:
            await self.stop()

    def close(self, timeout: float | None = None) -> None:
        """As `stop`, from synchronous code; waits at most `timeout` seconds for a turn."""
        self._connection.close(timeout)
        if self._log_handler is not None:
            close_log_file(self._log_handler)
            self._log_handler = None

    # ---- starting

    async def start_workflow(
        self, workflow: Workflow[Any, Any] | str, payload: Any, options: Mapping[str, Any]
    ) -> ExecutionHandle:
        """Start an execution; `Workflow.start` tells the options."""
        item = await self._connection.run(starting.start, find_workflow(workflow), payload, options)
        return self._handle(item)

    async def invoke(
        self, workflow_id: Workflow[Any, Any] | str, payload: Any = None, **options: Any
    ) -> ExecutionHandle:
        """Start an execution of a workflow named by its id. Raises `WorkflowNotFoundError`."""
        return await find_workflow(workflow_id).start(payload, client=self, **options)

    async def batch_invoke(
        self, workflows: Sequence[BatchWorkflowInput], session_id: str | None = None, user_id: str | None = None
    ) -> list[ExecutionHandle]:
        """Start several executions; their handles in the same order.

        All are checked before the first is started; a failure of the backend in between leaves the first ones started.
        """
        chosen = check_batch(workflows)
        for one in chosen:
            find_workflow(one.id).accept(one.payload)
        return [
            await self.invoke(
                one.id,
                one.payload,
                initial_state=one.initial_state,
                run_timeout_seconds=one.run_timeout_seconds,
                session_id=session_id,
                user_id=user_id,
            )
            for one in chosen
        ]

    def _handle(self, item: Item) -> ExecutionHandle:
        line = queries.summary(item)
        options = items.document(item, items.START)
        root = commands.root_of(item)
        return ExecutionHandle(
            id=line.id,
            workflow_id=line.workflow_id,
            created_at=line.created_at,
            parent_execution_id=line.parent_execution_id,
            root_workflow_id=root["wf"],
            root_execution_id=root["x"],
            session_id=commands.session_of(item),
            user_id=options.get("user"),
        ).bind(self)

    async def wait_for_result(self, execution_id: str, timeout: float | None = None) -> Any:
        """Wait for the end of an execution; its result, or its error raised.

        `timeout` (seconds) only ends the waiting: `WorkflowTimeoutError`. Looks once a second; in the process that
        runs the execution, at once.
        """
        return await following.result(self._connection, execution_id, timeout)

    # ---- looking

    async def describe(self, execution_id: str) -> ExecutionDetail:
        """Everything that is known of an execution. Raises `ExecutionNotFoundError`."""
        return await self._connection.run(queries.describe, execution_id)

    async def get_execution(self, execution_id: str, *, typed: bool = False) -> dict[str, Any]:
        """An execution as a dict. Raises `ExecutionNotFoundError`.

        It is plain JSON: a model is a dict, a time ISO text, so that a process that does not know the workflow's
        classes reads the same as one that does. With `typed`, `payload`, `result`, `final_state` and times are objects.
        """

        def look(engine: Engine) -> dict[str, Any]:
            return queries.as_dict(engine, finding.find_started(engine, execution_id), typed=typed)

        return await self._connection.run(look)

    async def list_executions(
        self,
        workflow_id: Workflow[Any, Any] | str | None = None,
        status: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 50,
        cursor: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> ExecutionPage:
        """Executions, newest first, children included. `cursor` of one page gives the next.

        Without `since` as far back as there are any, with `until` alone 400 days. On AWS: 8 requests a month, and 1 per
        100 executions.
        """
        found, after = await self._connection.run(
            listing.find,
            workflow_id=workflow_id.id if isinstance(workflow_id, Workflow) else workflow_id,
            status=status,
            since=since,
            until=until,
            limit=limit,
            tags=tags,
            cursor=cursor,
        )
        return ExecutionPage(found, after)

    # ---- acting

    async def cancel_execution(self, execution_id: str) -> bool:
        """Ask an execution to stop, with its cleanup. False if it has ended already."""
        try:
            await self._connection.run(starting.cancel, execution_id)
        except ExecutionStateError:
            return False
        return True

    async def terminate(self, execution_id: str) -> None:
        """End an execution and its descendants without cleanup. Raises `ExecutionStateError` if it has ended."""
        await self._connection.run(starting.cancel, execution_id, "terminate")

    async def retry(self, execution_id: str) -> ExecutionHandle:
        """Let a failed execution go on from its last good step, with the code as it is now.

        What the failure dropped is run again; every other recorded step is not. Raises `ExecutionStateError` unless it
        has failed.
        """
        return self._handle(await self._connection.run(recovery.retry, execution_id))

    async def fork(
        self,
        execution_id: str,
        from_step: str | None = None,
        *,
        input: Any = _SAME,
        results: Mapping[str, Any] | None = None,
    ) -> ExecutionHandle:
        """A new execution of the same workflow that keeps the records before `from_step` (None: none of them).

        `input` replaces the payload. `results` gives steps other outcomes, by key, also such that would not be kept:
        what the call returns; of `wait_for_event` and `suspend` the data; of `batch_invoke_and_wait` a list with a
        value or a `BatchStepResult` for each child. Raises `InvalidPayloadError` for a step that is not on record, a
        payload that does not validate, or a result that a step cannot have.
        """
        item = await self._connection.run(
            forking.fork, execution_id, from_step, None if input is _SAME else input, results or {}, input is not _SAME
        )
        return self._handle(item)

    async def resume(
        self, suspend_workflow_id: str, suspend_execution_id: str, suspend_step_key: str, data: Any = None
    ) -> None:
        """Resume a suspended step. The first resume of a step counts, also one before the step is reached."""
        await self._connection.run(starting.resume, suspend_execution_id, suspend_step_key, data)

    async def encode_event(self, topic: str, data: Any, event_type: str | None, event_id: str | None) -> Event:
        return await self._connection.run(starting.make_event, topic, data, event_type, event_id)

    async def publish_events(self, events: Sequence[Event]) -> None:

        def publish(engine: Engine) -> None:
            engine.backend.topics.publish(events)

        await self._connection.run(publish)

    async def put_event(
        self,
        source: str,
        detail_type: str,
        detail: Mapping[str, Any] | None = None,
        *,
        event_id: str | None = None,
    ) -> str:
        """Put a native event on the account's default event bus, for workflows with an `EventPattern`; its id.

        For trying a workflow out: AWS services do this by themselves. `event_id` makes a repeated event the same one,
        on the embedded backend only. On AWS: 1 request, with the permission events:PutEvents on the default bus.
        """
        text = native.detail_text(source, detail_type, detail)

        def put(engine: Engine) -> str:
            return engine.backend.default_bus.put(source, detail_type, text, event_id)

        return await self._connection.run(put)

    async def apply_schedule(self, schedule: Recurring) -> None:

        def apply(engine: Engine) -> None:
            engine.backend.recurrences.apply(schedule)

        await self._connection.run(apply)

    async def list_schedules(self) -> list[Recurring]:
        def look(engine: Engine) -> list[Recurring]:
            return engine.backend.recurrences.list()

        return await self._connection.run(look)

    async def remove_schedule(self, workflow_id: str, key: str) -> None:
        def remove(engine: Engine) -> None:
            engine.backend.recurrences.remove(workflow_id, key)

        await self._connection.run(remove)

    # ---- following

    def stream_topic(
        self, topic: str, last_sequence_id: int | None = None, last_timestamp: datetime | None = None
    ) -> AsyncIterator[StreamEvent]:
        """The events of a topic; `polos.events.stream_topic` tells the rest."""
        if last_sequence_id is None and last_timestamp is None:
            last_timestamp = self._connection.now()
        return following.topic(self._connection, topic, last_sequence_id, last_timestamp)

    def stream_workflow(
        self,
        workflow_id: str,
        execution_id: str,
        last_sequence_id: int | None = None,
        last_timestamp: datetime | None = None,
    ) -> AsyncIterator[StreamEvent]:
        """What happens in a run; `polos.events.stream_workflow` tells the rest."""
        return following.execution(self._connection, execution_id, last_sequence_id, last_timestamp)


PolosClient = Polos


class ExecutionPage(list[ExecutionSummary]):
    """A page of a listing. `cursor` gives the next page; None: this is the last."""

    def __init__(self, lines: Sequence[ExecutionSummary], cursor: str | None) -> None:
        super().__init__(lines)
        self.cursor = cursor


async def batch_invoke(
    client: Polos | None,
    workflows: Sequence[BatchWorkflowInput],
    session_id: str | None = None,
    user_id: str | None = None,
) -> list[ExecutionHandle]:
    """Start several executions; their handles in the same order."""
    chosen = ambient.client(client)
    if not isinstance(chosen, Polos):
        raise UsageError("batch_invoke needs a Polos client.")
    return await chosen.batch_invoke(workflows, session_id, user_id)


def _check_upstream(options: Mapping[str, Any]) -> None:
    """Options of the upstream SDK that have no meaning here; any other name is a mistake."""
    unknown = sorted(set(options) - {"project_id", "api_url", "api_key", "port", "channels"})
    if unknown:
        raise TypeError(f"Polos() got unknown options: {', '.join(unknown)}")
    if options.get("channels"):
        raise UsageError("Channels (Slack and the like) are not part of polos-aws; leave channels out.")


ambient.make_with(Polos)
__all__ = ["ExecutionPage", "Polos", "PolosClient", "PolosError", "batch_invoke"]
