"""`ctx.step`: what a workflow body can ask for. Each call turns its arguments into an operation and waits for it.

Nothing here acts: the engine does, after the body has gone quiet.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

from polos import clock, current
from polos.core import codec
from polos.core.annotations import return_annotation
from polos.core.identity import check_event_type, check_execution_id, check_step_key, check_topic
from polos.core.keywords import also_named
from polos.core.operations import AwaitEvent, AwaitResume, Publish, ResumeOther, Run, Sleep, StartBatch, StartChild
from polos.core.replay import Replay
from polos.core.retry import RetryOn, RetryPolicy
from polos.core.spans import MOST, seconds_of
from polos.errors import InvalidPayloadError, UsageError
from polos.handle import ExecutionHandle
from polos.hooks import HookResult
from polos.queues import Queue
from polos.spans import Spans
from polos.start_options import check_batch, start_options
from polos.tracing import NoSpan
from polos.types.types import BatchStepResult, BatchWorkflowInput, EventPayload
from polos.workflow import Workflow, find_workflow


class _DefaultRetries(int):
    """The default of `max_retries`, told apart from the same number given by the caller."""


_RETRIES: Final = _DefaultRetries(2)
_NEVER: Final = datetime(9999, 1, 1, tzinfo=UTC)
_ONCE: Final = RetryPolicy(max_retries=0)


class Step:
    """The durable calls of one execution. The first argument of each is the step key, unique in the execution."""

    def __init__(
        self,
        replay: Replay,
        run_topic: str,
        now: Callable[[], int],
        scope: Mapping[str, Any] | None = None,
        spans: Spans | None = None,
    ) -> None:
        self._replay, self._run_topic, self._now, self._scope = replay, run_topic, now, scope
        self._spans = spans

    async def _perform(self, key: str, request: Any) -> Any:
        inside = current.step.get()
        if inside is not None:
            raise UsageError(
                f"Step {key!r} was called inside step {inside.key!r}: a step is a plain function, only the body of the "
                f"workflow may call ctx.step. Return from {inside.key!r} first, or make it a workflow of its own and "
                f"call ctx.step.invoke_and_wait."
            )
        return await self._replay.perform(key, request)

    @also_named("step_key|key", "func")
    async def run(
        self,
        key: str,
        func: Callable[..., Any],
        /,
        *args: Any,
        max_retries: int = _RETRIES,
        base_delay: float = 1.0,
        max_delay: float = 10.0,
        backoff: float = 2.0,
        retry_on: RetryOn = Exception,
        timeout: float | timedelta | None = None,
        at_most_once: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Call `func(*args, **kwargs)` once and record what it returns; every replay gets that value.

        Sync functions run in a thread. After failed attempt n (from 1) the next comes
        `min(base_delay * backoff**(n-1), max_delay)` seconds later, `max_retries` times.
        `retry_on` is an exception type, a tuple, or a predicate; others fail at once. `timeout` limits one attempt.
        With `at_most_once` an attempt that a crash interrupted is not run again: the step fails ("interrupted"), or, if
        you gave `max_retries`, takes its next retry.
        Raises `StepExecutionError` (`StepTimeoutError`, `SerializationError`). On AWS: 1 put; a delay of a second or
        more suspends and costs 1 put and 1 send.
        """
        if not callable(func):
            raise TypeError(f"Step {key!r}: {func!r} is not callable.")
        policy = RetryPolicy(
            max_retries,
            base_delay,
            max_delay,
            backoff,
            retry_on,
            _seconds(timeout),
            retry_interrupted=max_retries is not _RETRIES,
        )
        annotation = return_annotation(func, self._scope)
        request = Run(
            func,
            args,
            kwargs,
            policy,
            revive=functools.partial(codec.decode, annotation=annotation),
            encode=lambda value: codec.roundtrip(value, annotation, step_key=key)[0],
            at_most_once=at_most_once,
        )
        return await self._perform(key, request)

    @also_named("step_key")
    async def wait_for(
        self,
        key: str,
        seconds: float | None = None,
        minutes: float | None = None,
        hours: float | None = None,
        days: float | None = None,
        weeks: float | None = None,
    ) -> None:
        """Suspend for at most a century. Zero returns at once; a negative time is a `ValueError`.

        On AWS: 1 put and 1 send.
        """
        try:
            delay = timedelta(
                seconds=seconds or 0, minutes=minutes or 0, hours=hours or 0, days=days or 0, weeks=weeks or 0
            )
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"Step {key!r} waits for what is no length of time: {error}.") from None
        if delay < timedelta(0):
            raise ValueError(f"Step {key!r} waits for a negative time: {delay.total_seconds():g} s.")
        if delay.total_seconds() > MOST:
            raise ValueError(f"Step {key!r} waits for more than a century: {delay.days:,} days.")
        await self._perform(key, Sleep(delay.total_seconds()))

    @also_named("step_key", "timestamp")
    async def wait_until(self, key: str, when: datetime) -> None:
        """Suspend until a moment; a naive one is UTC, a past one returns at once."""
        moment: Any = when
        if not isinstance(moment, datetime):
            raise ValueError(f"Step {key!r} waits until {when!r}, which is no datetime.")
        until = when if when.tzinfo is not None else when.replace(tzinfo=UTC)
        if until >= _NEVER:
            raise ValueError(f"Step {key!r} waits until {when}: the last year that it can wait for is 9998.")
        await self._perform(key, Sleep(until=until))

    @also_named("step_key")
    async def wait_for_event(
        self, key: str, topic: str, timeout: float | timedelta | None = None, event_type: str | None = None
    ) -> EventPayload:
        """Suspend until an event on `topic`: the oldest since the execution started that no earlier wait took.

        `timeout` in seconds or as a timedelta; when it passes, `StepTimeoutError`. On AWS: 2 puts, 1 delete, and 1
        query a turn.
        """
        request = AwaitEvent(check_topic(topic), _event, _seconds(timeout), check_event_type(event_type))
        return await self._perform(key, request)

    @also_named("step_key")
    async def publish_event(self, key: str, topic: str, data: Any = None, event_type: str | None = None) -> None:
        """Publish one event. Waits and triggers get it once, whatever crashes; its id is made from execution and key.

        Topics that begin with `workflow/` are the runtime's own: `InvalidPayloadError`.
        """
        if check_topic(topic).startswith("workflow/"):
            raise InvalidPayloadError(f"The topic {topic!r} is the runtime's own; use publish_workflow_event.")
        await self._perform(key, Publish(topic, codec.encode(data, step_key=key), check_event_type(event_type)))

    @also_named("step_key")
    async def publish_workflow_event(self, key: str, data: Any = None, event_type: str | None = None) -> None:
        """Publish one event into the stream of this run (the root execution's)."""
        await self._perform(
            key, Publish(self._run_topic, codec.encode(data, step_key=key), check_event_type(event_type))
        )

    @also_named("step_key")
    async def suspend(self, key: str, data: Any = None, timeout: float | timedelta | None = None) -> dict[str, Any]:
        """Suspend until somebody resumes this step; `data` is shown as `suspend_<key>` in the run's stream.

        Returns the resume event as a dict whose `"data"` is what the resumer gave. A resume that came before is kept.
        When `timeout` passes, `StepTimeoutError`.
        """
        request = AwaitResume(codec.encode(data, step_key=key), _resumed, _seconds(timeout))
        return await self._perform(key, request)

    @also_named("step_key")
    async def resume(
        self, key: str, suspend_step_key: str, suspend_execution_id: str, suspend_workflow_id: str, data: Any = None
    ) -> None:
        """Resume step `suspend_step_key` of another execution. The first resume of a step counts.

        Whether there is such an execution is not asked: its start may be on its way, and then the resume is kept for
        it. One for an execution that never comes does nothing. On AWS: 1 send and 1 put.
        """
        check_step_key(suspend_step_key)
        check_execution_id(suspend_execution_id)
        text = codec.encode(data, step_key=key)
        request = ResumeOther(suspend_execution_id, suspend_workflow_id, suspend_step_key, text)
        await self._perform(key, request)

    @also_named("step_key")
    async def invoke(
        self,
        key: str,
        workflow: Workflow[Any, Any] | str,
        payload: Any = None,
        initial_state: Any = None,
        queue: str | Queue | None = None,
        concurrency_key: str | None = None,
        run_timeout_seconds: float | None = None,
    ) -> ExecutionHandle:
        """Start a child, exactly once, and go on. On AWS: 1 send and 1 put."""
        request = self._child(key, workflow, payload, False, initial_state, queue, concurrency_key, run_timeout_seconds)
        return await self._perform(key, request)

    @also_named("step_key")
    async def invoke_and_wait(
        self,
        key: str,
        workflow: Workflow[Any, Any] | str,
        payload: Any = None,
        initial_state: Any = None,
        queue: str | Queue | None = None,
        concurrency_key: str | None = None,
        run_timeout_seconds: float | None = None,
    ) -> Any:
        """Start a child, exactly once, suspend until it ends, return its result.

        Raises `ChildWorkflowError` if it failed, was cancelled or timed out. On AWS: 1 send and 2 puts.
        """
        request = self._child(key, workflow, payload, True, initial_state, queue, concurrency_key, run_timeout_seconds)
        return await self._perform(key, request)

    def _child(
        self,
        key: str,
        workflow: Workflow[Any, Any] | str,
        payload: Any,
        wait: bool,
        initial_state: Any,
        queue: str | Queue | None,
        concurrency_key: str | None,
        run_timeout_seconds: float | None,
    ) -> StartChild:
        child = find_workflow(workflow)
        text = codec.encode(child.accept(payload), step_key=key, annotation=child.input_annotation)
        options = start_options(child, queue, concurrency_key, run_timeout_seconds, initial_state)
        revive = functools.partial(codec.decode, annotation=child.result_annotation) if wait else _handle
        return StartChild(child.id, text, wait, revive, options)

    @also_named("step_key")
    async def batch_invoke(self, key: str, workflows: Sequence[BatchWorkflowInput]) -> list[ExecutionHandle]:
        """Start several children, each exactly once, and go on. Handles in the order of the inputs; any length.

        On AWS: 1 send per 10 children, and 1 put. An empty list is not recorded.
        """
        return await self._batch(key, workflows, False)

    @also_named("step_key")
    async def batch_invoke_and_wait(self, key: str, workflows: Sequence[BatchWorkflowInput]) -> list[BatchStepResult]:
        """Start several children, suspend until all have ended; their results in the order of the inputs.

        One that failed does not raise: look at `success`. The execution is woken once, not once a child. On AWS: 1 send
        per 10 children and 1 put; 1 put and 1 update a child as it ends.
        """
        return await self._batch(key, workflows, True)

    async def _batch(self, key: str, workflows: Sequence[BatchWorkflowInput], wait: bool) -> Any:
        children = [
            self._child(key, one.id, one.payload, wait, one.initial_state, None, None, one.run_timeout_seconds)
            for one in check_batch(workflows)
        ]
        if not wait:
            children = [replace(child, revive=_handles) for child in children]
        return await self._perform(key, StartBatch(tuple(children), wait)) if children else []

    @also_named("step_key")
    async def uuid(self, key: str) -> str:
        """A random UUID, recorded."""
        return await self._record(key, "uuid", lambda: clock.new_uuid())

    @also_named("step_key")
    async def now(self, key: str) -> int:
        """The time in milliseconds since 1970, recorded."""
        return await self._record(key, "now", self._now)

    @also_named("step_key")
    async def random(self, key: str) -> float:
        """A random number in [0, 1), recorded."""
        return await self._record(key, "random", clock.draw)

    async def _record(self, key: str, kind: str, func: Callable[[], Any]) -> Any:
        request = Run(func, (), {}, _ONCE, codec.decode, codec.encode, inline=True, durable_kind=kind)
        return await self._perform(key, request)

    async def patched(self, key: str) -> bool:
        """Whether to take the new way where a change can't be expressed by keys alone; recorded.

        True for executions that reach this call first with the code that has it, False for those that were already
        past it.
        """
        return await self._record(key, "patched", self._replay.at_the_front)

    async def run_hook(self, key: str, hook: Callable[..., Any], *args: Any) -> Any:
        """Run a hook as a step, under a key of its own kind. Called by the runtime."""
        request = Run(
            hook,
            args,
            {},
            RetryPolicy(),
            revive=functools.partial(codec.decode, allowed=(HookResult,)),
            encode=lambda value: codec.roundtrip(value, allowed=(HookResult,), step_key=key)[0],
            durable_kind="hook",
        )
        return await self._perform(key, request)

    @contextlib.contextmanager
    def trace(self, name: str, attributes: Mapping[str, Any] | None = None) -> Generator[Any]:
        """An OpenTelemetry span around a piece of the body; steps and children asked for inside are below it.

        It is written once, when the block has been left for good, whatever suspensions and replays came before; what
        is set on the span may come from recorded outcomes only. Without OpenTelemetry it does nothing.
        """
        if self._spans is None:
            yield NoSpan()
        else:
            with self._spans.block(name, attributes or {}) as span:
                yield span


def _seconds(timeout: float | timedelta | None) -> float | None:
    try:
        return seconds_of(timeout)
    except ValueError as error:
        raise ValueError(f"A timeout {error}.") from None


def _event(text: str) -> EventPayload:
    return EventPayload.model_validate(codec.decode(text, foreign=True))


def _resumed(text: str) -> dict[str, Any]:
    return cast("dict[str, Any]", codec.decode(text, foreign=True))


def _handles(text: str) -> list[ExecutionHandle]:
    return [ExecutionHandle.model_validate(one) for one in json.loads(text)]


def _handle(text: str) -> ExecutionHandle:
    return ExecutionHandle.model_validate(json.loads(text))
