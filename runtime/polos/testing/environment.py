"""`Environment`: deploy workflows into a backend in virtual time, and drive them from a test."""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, TypeVar, cast

from polos import ambient
from polos.client import Polos
from polos.clock import drawn_from, repeatable
from polos.engine import native, queries
from polos.errors import UsageError
from polos.handle import ExecutionHandle
from polos.testing.deliveries import Deliveries, ThreadedDeliveries
from polos.testing.disturbed import Disturbance, DisturbedDeliveries
from polos.testing.faults import Fault, Faults
from polos.testing.harness import EPOCH, Harness
from polos.testing.shrinking import opened
from polos.testing.striking import Striker
from polos.testing.trace import Trace
from polos.testing.waiting import DrivingClient
from polos.types.types import ExecutionDetail, ExecutionSummary
from polos.workflow import Workflow, find_workflow, get_all_workflows

T = TypeVar("T")
_JUMPS = 100_000


class Environment:
    """The runtime under test. Nothing sleeps for real: time moves by `advance` and `finish`.

    `backend="memory"` is the embedded backend in memory; `"moto"` makes the resources of the template under moto and
    drives the real Lambda handlers. `workflows=None` deploys every registered one. `invocation_seconds` is the time
    limit of one invocation; real time counts into it. With `faults` things go wrong as they say, one invocation runs at
    a time, no real time counts, and the run is the same each time.
    """

    def __init__(
        self,
        backend: Literal["memory", "moto"] = "memory",
        workflows: Iterable[Workflow[Any, Any]] | None = None,
        start_time: datetime | None = None,
        invocation_seconds: float = 900,
        faults: Faults | None = None,
    ) -> None:
        if faults is not None and not isinstance(faults, Faults):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UsageError(f"faults= takes a Faults(...), not {faults!r}.")
        if backend not in ("memory", "moto"):
            raise UsageError(f"There is no backend {backend!r} for tests; use 'memory' or 'moto'.")
        self._backend = backend
        self._chosen = None if workflows is None else {workflow.id: workflow for workflow in _checked(workflows)}
        self._workflows: Callable[[], Mapping[str, Workflow[Any, Any]]] = (
            get_all_workflows if self._chosen is None else lambda: self._chosen or {}
        )
        start = start_time or EPOCH
        if not isinstance(start, datetime):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UsageError(f"start_time= takes a datetime, not {start_time!r}.")
        self._start = start if start.tzinfo is not None else start.replace(tzinfo=UTC)
        self._invocation_seconds = invocation_seconds
        self._harness: Harness | None = None
        self._closed = False
        self._client: Polos | None = None
        self._outer: ambient.Client | None = None
        self._driver = ThreadPoolExecutor(1, thread_name_prefix="polos-environment")
        self._disturbance = None if faults is None else Disturbance(faults)
        self.faults = faults
        watching = opened.get()
        if watching is not None:
            watching.append(self)
        self._deliveries: Deliveries | None = None
        self.drives = self._driving = 0
        self._undo = ExitStack()

    # ---- life

    async def __aenter__(self) -> Environment:
        await self._drive(self._enter)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def _enter(self) -> Harness:
        if self._harness is None:
            if self._disturbance is not None:
                seed = f"polos/{self._disturbance.faults.seed}"
                self._undo.enter_context(drawn_from(repeatable(seed)))
            self._harness = self._make()
            self._deliveries = (
                ThreadedDeliveries(self._harness)
                if self._disturbance is None
                else DisturbedDeliveries(self._harness, self._disturbance)
            )
            self._client = DrivingClient(self._harness.engine, self)
            if self._disturbance is not None:
                self._disturbance.striker.client = self._client
            self._outer = ambient.current()
            ambient.use(self._client)
        return self._harness

    def _refuse_closed(self) -> None:
        if self._closed:
            raise UsageError("This environment is closed; use it inside its `async with`.")

    def close(self) -> None:
        """Drop the backend and everything in it. May be called again."""
        if self._harness is not None and not self._closed:
            self._closed = True
            ambient.use(self._outer)
            self._driver.submit(self._leave).result()
        self._driver.shutdown()

    def _leave(self) -> None:
        self._delivering.close()
        self._undo.close()
        self._open.close()

    def _make(self) -> Harness:
        if self._backend == "memory":
            from polos.testing.memory_harness import MemoryHarness

            return MemoryHarness(self._workflows, self._start, self._invocation_seconds, self._disturbance)
        from polos.testing.moto_harness import MotoHarness

        return MotoHarness(self._workflows, self._start, self._invocation_seconds, self._disturbance)

    @property
    def _open(self) -> Harness:
        return self._harness or self._driver.submit(self._enter).result()

    @property
    def _delivering(self) -> Deliveries:
        self._open  # noqa: B018 - opened on first use
        assert self._deliveries is not None
        return self._deliveries

    @property
    def client(self) -> Polos:
        """A client of this backend."""
        self._refuse_closed()
        self._open  # noqa: B018 - opened on first use
        assert self._client is not None
        return self._client

    async def _drive(self, work: Callable[..., T], *args: Any) -> T:
        self._refuse_closed()
        self.drives += 1
        self._driving += 1
        try:
            return await self._on_driver(work, *args)
        finally:
            self.drives += 1
            self._driving -= 1

    async def _on_driver(self, work: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._driver, work, *args)

    async def bring_on(self, execution_id: str, limit: timedelta | None) -> None:
        """Towards the end of an execution, until the test drives again. Called by the client that waits for it."""
        if not self._driving:
            until = None if limit is None else self.now + limit
            await self._on_driver(self._bring_on, execution_id, until, self.drives)

    # ---- what a test does

    def deploy(self, *workflows: Workflow[Any, Any]) -> None:
        """Run this code for these workflows from now on, as after a new deployment of edited functions."""
        if self._chosen is not None:
            self._chosen |= {workflow.id: workflow for workflow in workflows}

    async def start(self, workflow: Workflow[Any, Any] | str, payload: Any = None, **options: Any) -> ExecutionHandle:
        """Start an execution, of a workflow or its id; nothing runs before `settle`, `advance` or `finish`.

        Raises `WorkflowNotFoundError`, and `UsageError` for what is neither.
        """
        chosen = self._workflows().get(workflow) if isinstance(workflow, str) else None
        return await find_workflow(chosen or workflow).start(payload, client=self.client, **options)

    async def settle(self) -> None:
        """Deliver everything that is due now, until nothing can move without time passing."""
        await self._drive(self._settle)

    async def advance(self, seconds: float = 0, minutes: float = 0, hours: float = 0, days: float = 0) -> None:
        """Move virtual time on. Timers, delays and schedules fire in order on the way."""
        span = timedelta(seconds=seconds, minutes=minutes, hours=hours, days=days)
        if span < timedelta(0):
            raise ValueError("Time does not go back.")
        await self._drive(self._advance_to, self.now + span)

    async def finish(self, handle: ExecutionHandle | str) -> Any:
        """Run an execution to its end, jumping from timer to timer; its result, or its error raised, as `run()` does.

        Raises `UsageError` if nothing that is scheduled will ever move it (it waits for an event, say).
        """
        return await self._drive(self._finish, _id_of(handle, "finish"))

    async def publish(
        self, topic: str, data: Any = None, event_type: str | None = None, event_id: str | None = None
    ) -> int:
        """Publish an event; its sequence id. It is delivered by `settle`, `advance` or `finish`."""
        event = await self.client.encode_event(topic, data, event_type, event_id)
        await self.client.publish_events([event])
        return event.sequence

    async def put_event(
        self, source: str, detail_type: str, detail: Mapping[str, Any] | None = None, event_id: str | None = None
    ) -> str:
        """Put a native event on the account's default event bus, as an AWS service does; its id.

        Each workflow with an `EventPattern` that it matches is started by `settle`, `advance` or `finish`. `event_id`
        put twice is one event delivered twice.
        """
        text = native.detail_text(source, detail_type, detail)
        return await self._drive(lambda: self._enter().put_event(source, detail_type, text, event_id))

    async def resume(self, handle: ExecutionHandle | str, step_key: str, data: Any = None) -> None:
        """Resume a suspended step."""
        await self.client.resume("", _id_of(handle, "resume"), step_key, data)

    async def cancel(self, handle: ExecutionHandle | str) -> bool:
        """Ask an execution to stop."""
        return await self.client.cancel_execution(_id_of(handle, "cancel"))

    async def describe(self, handle: ExecutionHandle | str) -> ExecutionDetail:
        """Everything that is known of an execution."""
        return await self.client.describe(_id_of(handle, "describe"))

    @property
    def now(self) -> datetime:
        """Virtual time."""
        return self._open.clock.now()

    @property
    def requests(self) -> Counter[str]:
        """Backend requests so far, by the name of the AWS operation."""
        return self._open.requests

    @property
    def crashes(self) -> int:
        """How many invocations have died."""
        return self._delivering.crashes

    @property
    def trace(self) -> Trace:
        """What happened so far, request by request; print it. Only with `faults=`."""
        return self._striker.trace

    def leave_no_trace(self) -> None:
        """Keep no trace from now on: many runs are faster without."""
        self._striker.traced = False

    @property
    def request_count(self) -> int:
        """How many requests invocations have made. Only with `faults=`."""
        return self._striker.count

    @property
    def struck(self) -> tuple[Fault, ...]:
        """The faults that have struck. Only with `faults=`."""
        return tuple(one.fault for one in self._striker.struck)

    @property
    def unstruck(self) -> tuple[Fault, ...]:
        """The faults given one by one that nothing has met: assert that there is none. Only with `faults=`."""
        return tuple(self._striker.left)

    @property
    def _striker(self) -> Striker:
        if self._disturbance is None:
            raise UsageError("This environment was made without faults; Environment(faults=Faults(...)) keeps a trace.")
        if self._harness is None:
            self._open  # noqa: B018 - opened on first use
        return self._disturbance.striker

    @property
    def harness(self) -> Harness:
        """What drives the backend, for tests of the runtime itself."""
        return self._open

    # ---- driving, on the driver's thread

    def _settle(self) -> None:
        self._enter()
        self._delivering.settle()

    def _advance_to(self, target: datetime) -> None:
        self._settle()
        for _ in range(_JUMPS):
            due = self._delivering.next_due()
            if due is None or due > target:
                break
            self._open.move(due)
            self._settle()
        self._open.move(target)
        self._settle()

    def _bring_on(self, execution_id: str, until: datetime | None, drives: int) -> None:
        engine = self._enter().engine
        for _ in range(_JUMPS):
            self._settle()
            due = self._delivering.next_due()
            if self.drives != drives or due is None or (until is not None and due > until):
                return
            if queries.ended(engine, execution_id) is not None:
                return
            self._open.move(due)

    def _finish(self, execution_id: str) -> Any:
        engine = self._enter().engine
        for _ in range(_JUMPS):
            self._settle()
            item = queries.ended(engine, execution_id)
            if item is not None:
                return queries.outcome(engine, item)
            due = self._delivering.next_due()
            if due is None:
                waits = queries.describe(engine, execution_id).waiting_for
                shown = ", ".join(f"{step.kind} {step.key!r}" for step in waits) or "nothing that is known"
                raise UsageError(
                    f"Execution {execution_id} can't finish: nothing is scheduled that would move it. "
                    f"It waits for: {shown}."
                )
            self._open.move(due)
        raise UsageError(f"Execution {execution_id} does not end.")


def _id_of(handle: Any, call: str) -> str:
    if isinstance(handle, str):
        return handle
    if isinstance(handle, ExecutionHandle | ExecutionSummary | ExecutionDetail):
        return handle.id
    forgotten = " Was an await forgotten?" if inspect.isawaitable(handle) else ""
    raise UsageError(f"{call} takes the handle that start returned, or an execution's id, not {handle!r}.{forgotten}")


def _checked(workflows: Any) -> list[Workflow[Any, Any]]:
    found: list[Any] = list(cast("Iterable[Any]", workflows)) if isinstance(workflows, Iterable) else [None]
    if not all(isinstance(one, Workflow) for one in found):
        raise UsageError(f"workflows= takes a list of what @workflow made, not {workflows!r}.")
    return found
