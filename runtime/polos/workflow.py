"""`@workflow`: declaring durable functions, and the registry of those declared.

Everything that can be wrong with a declaration is an error at import that names the function.
"""

from __future__ import annotations

import asyncio
import inspect
import sys
import types
import typing
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, Final, Generic, ParamSpec, TypeVar, cast, overload

from pydantic import BaseModel

from polos import ambient, current, declaration
from polos.ambient import Client
from polos.core import codec
from polos.core.identity import check_workflow_id
from polos.errors import InvalidPayloadError, UsageError, WorkflowDefinitionError, WorkflowNotFoundError
from polos.handle import ExecutionHandle
from polos.hooks import Hook, as_hooks
from polos.queues import Queue
from polos.types.types import BatchEventPayload, EventPattern, EventPayload, SchedulePayload

P = ParamSpec("P")
R = TypeVar("R")
_START_OPTIONS = frozenset(
    {"queue", "concurrency_key", "session_id", "user_id", "initial_state", "run_timeout_seconds", "tags", "id",
     "queue_name", "queue_concurrency_limit"}
)  # fmt: skip


class _DefaultTimeout(float):
    """The default of `run`'s `timeout`, told apart from the same number given by the caller."""


_RUN_TIMEOUT: Final = _DefaultTimeout(600.0)


class Workflow(Generic[P, R]):
    """A declared workflow. `id` names it everywhere; `function` is the decorated function.

    `scope` holds the local names where it was declared: string annotations are looked up there, too.
    """

    def __init__(
        self,
        function: Callable[P, Awaitable[R] | R],
        *,
        id: str | None = None,
        description: str | None = None,
        queue: str | Queue | Mapping[str, Any] | None = None,
        trigger_on_event: str | EventPattern | None = None,
        batch_size: int = 1,
        batch_timeout_seconds: float | None = None,
        schedule: bool | str | Mapping[str, Any] | None = None,
        on_start: Hook | list[Hook] | None = None,
        on_end: Hook | list[Hook] | None = None,
        state_schema: type[BaseModel] | None = None,
        max_retries: int = 2,
        timeout: float | timedelta | None = None,
        frame_locals: Mapping[str, Any] | None = None,
    ) -> None:
        where = declaration.named(function)
        self.function = function
        self.name = getattr(function, "__qualname__", repr(function))
        parameters = declaration.parameters(function, where)
        self.id = check_workflow_id(id if id is not None else getattr(function, "__name__", ""), where)
        self.description = description if description is not None else inspect.getdoc(function)
        self.queue = declaration.queue(queue, self.id, where)
        self.trigger, self.pattern = declaration.trigger(trigger_on_event, where)
        self.batch_size = declaration.whole(batch_size, "batch_size", where, least=1, most=declaration.MOST_IN_BATCH)
        self.batch_timeout_seconds = declaration.seconds(batch_timeout_seconds, "batch_timeout_seconds", where)
        self.schedulable = schedule is not None and schedule is not False
        self.schedule = declaration.schedule(schedule, where)
        if self.schedulable and trigger_on_event is not None:
            raise WorkflowDefinitionError(
                f"{where} has both schedule and trigger_on_event; a workflow has one trigger."
            )
        self.on_start, self.on_end = as_hooks(on_start, where), as_hooks(on_end, where)
        self.state_schema = declaration.state_schema(state_schema, where)
        self.max_retries = declaration.whole(max_retries, "max_retries", where, least=0)
        self.timeout = declaration.seconds(timeout, "timeout", where)
        self.scope = dict(frame_locals or {})
        declaration.check_context(parameters[0], self._annotation, where)
        self.takes_input = len(parameters) == 2
        self._input = parameters[1].annotation if self.takes_input else inspect.Parameter.empty
        self._default = parameters[1].default if self.takes_input else inspect.Parameter.empty
        self._resolved: tuple[Any, Any] | None = None
        self._resolve(final=False)

    # ---- types

    @property
    def input_annotation(self) -> Any:
        """What the payload is validated as; `codec.MISSING` if the function does not say."""
        return self._resolve()[0]

    @property
    def result_annotation(self) -> Any:
        return self._resolve()[1]

    def _resolve(self, *, final: bool = True) -> tuple[Any, Any]:
        """The annotations of input and result. Until all their names exist (or never) a result's counts as missing."""
        if self._resolved is not None:
            return self._resolved
        result = codec.MISSING
        try:
            given = self._annotation(self._input)
        except NameError as error:
            if final:
                raise WorkflowDefinitionError(
                    f"The annotation of the input of {self.name} names {error.name!r}, which does not exist when the "
                    f"program runs. Import it outside of TYPE_CHECKING, or define it before the first start."
                ) from None
            return codec.MISSING, codec.MISSING
        try:
            result = self._annotation(_returned(self.function))
        except NameError:  # a name for type checkers only: results carry their types with them
            return given, codec.MISSING
        self._resolved = given, result
        return self._resolved

    def _annotation(self, annotation: Any) -> Any:
        if annotation is inspect.Parameter.empty or annotation is inspect.Signature.empty:
            return codec.MISSING
        if isinstance(annotation, str) or typing.get_args(annotation):  # such as Optional["Order"]
            scope = {**self.scope, **getattr(inspect.unwrap(self.function), "__globals__", {})}
            holder = type("_Holder", (), {"__annotations__": {"x": annotation}})
            return typing.get_type_hints(holder, scope, scope, include_extras=True)["x"]
        return annotation

    def accept(self, payload: Any) -> Any:
        """The payload as the function's type. Raises `InvalidPayloadError` naming the fields.

        Without a payload the parameter's default is the input; without a parameter an empty dict is no payload.
        """
        if payload is None and self._default is not inspect.Parameter.empty:
            payload = self._default
            if payload is None:
                return None
        if not self.takes_input:
            if payload is not None and payload != {}:
                raise InvalidPayloadError(f"The workflow {self.id!r} takes no input, but a payload was given.")
            return None
        return codec.validate(payload, self.input_annotation, what=f"The payload of workflow {self.id!r}")

    def accept_event(self, event: EventPayload) -> Any:
        """What an event-triggered start is given: the envelope, or the event's data as the function's own model.

        Of a native event, `data` is EventBridge's own envelope; that is what a dict gets, and a model its detail.
        Raises `InvalidPayloadError`.
        """
        wanted = _plain_class(self.input_annotation)
        if not self.takes_input:
            return None
        native, event = self._native(event)
        if wanted is None or issubclass(wanted, EventPayload):
            return event if wanted in (None, EventPayload) else self.accept(_fields(event))
        if issubclass(wanted, BatchEventPayload):
            return self.accept({"events": [_fields(event)]})
        if issubclass(wanted, dict):
            return _as_dict(event) if native is None else native
        return self.accept(event.data)

    def _native(self, event: EventPayload) -> tuple[dict[str, Any] | None, EventPayload]:
        """EventBridge's envelope, where that is what the event carries, and the event with its detail as data."""
        data = cast("object", event.data)
        if self.pattern is None or not isinstance(data, dict):
            return None, event
        native = cast("dict[str, Any]", data)
        return native, event.model_copy(update={"data": native.get("detail")})

    @property
    def batches(self) -> bool:
        """Whether events are handed over in batches."""
        return self.batch_size > 1 or self.batch_timeout_seconds is not None

    def accept_batch(self, events: list[EventPayload]) -> Any:
        """What the start for a batch of events is given: the envelope, or as a dict, or that dict as another model.

        Raises `InvalidPayloadError`.
        """
        if not self.takes_input:
            return None
        given, wanted = [self._native(event) for event in events], _plain_class(self.input_annotation)
        plain = [event for _, event in given]
        if wanted in (None, BatchEventPayload):
            return BatchEventPayload(events=plain)
        if issubclass(wanted, BatchEventPayload):
            return self.accept({"events": [_fields(event) for event in plain]})
        return self.accept({"events": [_as_dict(event) if native is None else native for native, event in given]})

    def accept_tick(self, tick: SchedulePayload) -> Any:
        """What a scheduled start is given."""
        if not self.takes_input:
            return None
        wanted = _plain_class(self.input_annotation)
        if wanted is None or issubclass(wanted, SchedulePayload):
            return tick
        if issubclass(wanted, dict):
            return tick.model_dump(mode="json")
        return self.accept(tick.model_dump())

    async def call(self, *args: Any) -> Any:
        """Run the body: a plain function runs in a thread, where it can't await steps."""
        function: Callable[..., Any] = self.function
        if inspect.iscoroutinefunction(function):
            return await function(*args)
        result = await asyncio.to_thread(function, *args)
        return await result if inspect.isawaitable(result) else result  # an async function under a plain decorator

    # ---- starting from outside

    async def start(self, *args: Any, **options: Any) -> ExecutionHandle:
        """`await wf.start(payload)`, or `await wf.start(client, payload)`: start an execution and return its handle.

        Options: `client`, `id` (the same id again returns the same execution and starts nothing), `queue`,
        `concurrency_key`, `session_id`, `user_id`, `initial_state`, `run_timeout_seconds`, `tags`. On AWS: 1 send and
        1 put. Raises `InvalidPayloadError` before anything is stored.
        """
        current.refuse_inside(f"{self.id}.start")
        client, payload, rest = _client_first("start", args, options)
        unknown = set(rest) - _START_OPTIONS
        if unknown:
            raise TypeError(f"{self.id}.start got unknown options: {', '.join(sorted(unknown))}")
        return await ambient.client(client).start_workflow(self, payload, rest)

    async def invoke(self, *args: Any, **options: Any) -> Any:
        """`await wf.invoke(payload)` runs to the end and returns the result, with the ambient client.

        `await wf.invoke(client, payload, ...)` starts it and returns an `ExecutionHandle`.
        """
        current.refuse_inside(f"{self.id}.invoke")
        client, payload, rest = _client_first("invoke", args, options)
        if client is not None:
            return await self.start(payload, client=client, **rest)
        handle = await self.start(payload, **rest)
        return await ambient.client().wait_for_result(handle.id, None)

    async def run(self, *args: Any, timeout: float | timedelta | None = _RUN_TIMEOUT, **options: Any) -> R:
        """`await wf.run(client, payload, timeout=600)`: start, wait for the end, return the result.

        `timeout` (seconds, or a timedelta; None: that of the workflow, if it declares one) ends the execution; without
        it a workflow that declares none has 10 minutes. Raises `WorkflowFailedError`, `WorkflowTimeoutError`,
        `WorkflowCancelledError`.
        """
        current.refuse_inside(f"{self.id}.run")
        client, payload, rest = _client_first("run", args, options)
        chosen = ambient.client(client)
        limit = None if timeout is _RUN_TIMEOUT and self.timeout is not None else timeout
        handle = await self.start(payload, client=chosen, **({"run_timeout_seconds": limit} | rest))
        return await chosen.wait_for_result(handle.id, None)

    def __repr__(self) -> str:
        return f"<Workflow {self.id}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the bare function, as a unit test may do."""
        return self.function(*args, **kwargs)


def _fields(event: EventPayload) -> dict[str, Any]:
    """The envelope's fields; the data as it is, where `model_dump` would take apart what is in it."""
    return {name: getattr(event, name) for name in EventPayload.model_fields}


def _as_dict(event: EventPayload) -> dict[str, Any]:
    """The envelope as JSON-compatible values; the data as it is."""
    return {**event.model_dump(mode="json", exclude={"data"}), "data": event.data}


def _client_first(
    call: str, args: tuple[Any, ...], options: dict[str, Any]
) -> tuple[Client | None, Any, dict[str, Any]]:
    rest = dict(options)
    client = rest.pop("client", None)
    positional = list(args)
    if positional and ambient.is_client(positional[0]):
        client = positional.pop(0)
    if len(positional) > 1 or (positional and "payload" in rest):
        raise TypeError(f"{call} takes an optional client and one payload")
    payload = positional[0] if positional else rest.pop("payload", None)
    return client, payload, rest


def _plain_class(annotation: Any) -> type[Any] | None:
    """The class that an annotation means, `X | None` counted as X; None if there is none."""
    if annotation is codec.MISSING or annotation is Any:
        return None
    parts = [part for part in typing.get_args(annotation) if part is not type(None)]
    origin: Any = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        return _plain_class(parts[0]) if len(parts) == 1 else object
    found = origin if origin is not None else annotation
    return found if isinstance(found, type) else object


def _returned(function: Callable[..., Any]) -> Any:
    return inspect.signature(function).return_annotation


_registry: dict[str, Workflow[Any, Any]] = {}
_OPTIONS = tuple(inspect.signature(Workflow).parameters)[1:-1]  # without the function, and the frame's names


def register(workflow: Workflow[Any, Any]) -> None:
    """Add a workflow. The same function (module and qualified name) may be defined again; another one may not."""
    old = _registry.get(workflow.id)
    if old is not None:
        before, now = old.function, workflow.function
        same = (before.__module__, before.__qualname__) == (now.__module__, now.__qualname__)
        if not same:
            raise WorkflowDefinitionError(
                f"Two workflows have the id {workflow.id!r}: {before.__module__}.{before.__qualname__} and "
                f"{now.__module__}.{now.__qualname__}. Give one of them another id."
            )
    _registry[workflow.id] = workflow


def get_workflow(workflow_id: str) -> Workflow[Any, Any] | None:
    """The workflow of this id, or None."""
    return _registry.get(workflow_id)


def find_workflow(workflow: Workflow[Any, Any] | str) -> Workflow[Any, Any]:
    """The workflow, by itself or by id. Raises `WorkflowNotFoundError`; `UsageError` for what is neither."""
    if isinstance(workflow, Workflow):
        return workflow
    named: Any = workflow
    if not isinstance(named, str):
        raise UsageError(
            f"{getattr(named, '__qualname__', repr(named))} is no workflow: give its id, or the function that "
            f"@workflow decorates."
        )
    found = _registry.get(named)
    if found is None:
        raise WorkflowNotFoundError(named, _registry)
    return found


def get_all_workflows() -> dict[str, Workflow[Any, Any]]:
    """Every registered workflow by id."""
    return dict(_registry)


@overload
def workflow(function: Callable[P, Awaitable[R]], /) -> Workflow[P, R]: ...
@overload
def workflow(
    function: None = None,
    /,
    *,
    id: str | None = None,
    description: str | None = None,
    queue: str | Queue | Mapping[str, Any] | None = None,
    trigger_on_event: str | EventPattern | None = None,
    batch_size: int = 1,
    batch_timeout_seconds: float | None = None,
    schedule: bool | str | Mapping[str, Any] | None = None,
    on_start: Hook | list[Hook] | None = None,
    on_end: Hook | list[Hook] | None = None,
    state_schema: type[BaseModel] | None = None,
    max_retries: int = 2,
    timeout: float | timedelta | None = None,
) -> Callable[[Callable[P, Awaitable[R] | R]], Workflow[P, R]]: ...
def workflow(function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
    """Make a function a durable workflow: `@workflow`, or `@workflow(id=..., ...)`.

    `max_retries` counts whole-execution retries after exceptions that are not polos errors; `timeout` is wall-clock
    time from the start, waits included, in seconds or as a timedelta. Raises `WorkflowDefinitionError` at import.
    """
    frame = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    frame_locals = frame.f_locals if frame.f_locals is not frame.f_globals else {}

    def decorate(target: Callable[..., Any]) -> Workflow[Any, Any]:
        declaration.check_options(options, _OPTIONS, target)
        declared: Workflow[Any, Any] = Workflow(target, **options, frame_locals=frame_locals)
        register(declared)
        return declared

    return decorate if function is None else decorate(function)
