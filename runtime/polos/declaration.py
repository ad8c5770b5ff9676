"""What may be said in a declaration of a workflow, checked at import.

Every refusal is a `WorkflowDefinitionError` that names the function (`where`) and says what to write instead.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from pydantic import BaseModel

from polos.core import cron, patterns
from polos.core.identity import check_queue, check_topic
from polos.core.spans import seconds_of
from polos.errors import InvalidPayloadError, WorkflowDefinitionError
from polos.queues import Queue, as_queue
from polos.types.types import EventPattern

MOST_IN_BATCH: Final = 1000
"""Events in a batch: their names are put down in one item (at most 400 KB)."""

_DATA: Final = (BaseModel, dict, list, tuple, set, str, bytes, int, float)


@dataclass(frozen=True, slots=True)
class ScheduleSpec:
    """The schedule that a declaration asks for: five-field cron, IANA time zone, key, "skip" or "allow"."""

    cron: str
    timezone: str = "UTC"
    key: str = "global"
    overlap: str = "skip"


def named(function: object) -> str:
    """The function in words. Raises `WorkflowDefinitionError` for what is none."""
    if isinstance(function, str):
        raise WorkflowDefinitionError(f"@workflow decorates a function, not {function!r}; write @workflow(id=...).")
    if not callable(function) or isinstance(function, type):
        raise WorkflowDefinitionError(f"@workflow decorates a function, not {function!r}.")
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        raise WorkflowDefinitionError(
            f"{_spoken(function)} is a generator; a workflow is an async function that returns its result. "
            f"Publish what it has to tell on the way with ctx.step.publish_workflow_event."
        )
    return _spoken(function)


def _spoken(function: object) -> str:
    name = getattr(function, "__qualname__", None) or repr(function)
    return f"{name} ({getattr(function, '__module__', '?')})"


def parameters(function: Callable[..., Any], where: str) -> list[inspect.Parameter]:
    """The parameters that a workflow is called with: one or two."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = list(inspect.signature(function).parameters.values())
    required = [p for p in parameters if p.kind in kinds]
    if len(required) not in (1, 2) or any(
        p.kind is inspect.Parameter.KEYWORD_ONLY and p.default is inspect.Parameter.empty for p in parameters
    ):
        raise WorkflowDefinitionError(f"{where} must take (ctx) or (ctx, input).")
    return required


def check_context(parameter: inspect.Parameter, resolve: Callable[[Any], Any], where: str) -> None:
    """Raise `WorkflowDefinitionError` if what should be the context is annotated as data: the context was left out."""
    try:
        annotation = resolve(parameter.annotation)
    except (NameError, TypeError, AttributeError, SyntaxError):  # nothing that exists at run time: not data, then
        return
    found: Any = typing.get_origin(annotation) or annotation
    if isinstance(found, type) and (issubclass(found, _DATA) or dataclasses.is_dataclass(cast("type[Any]", found))):
        raise WorkflowDefinitionError(
            f"{where}: the first parameter of a workflow is the context: write (ctx, {parameter.name})."
        )


def check_options(given: Iterable[str], known: Sequence[str], function: object) -> None:
    """Raise `TypeError` for an option that @workflow does not have."""
    unknown = [name for name in given if name not in known]
    if unknown:
        raise TypeError(f"{named(function)}: @workflow has no option {unknown[0]!r}; it has {', '.join(known)}.")


def trigger(given: object, where: str) -> tuple[str | None, dict[str, Any] | None]:
    """The topic that triggers it, or the pattern of native events."""
    if isinstance(given, Mapping):
        raise WorkflowDefinitionError(
            f"{where}: trigger_on_event takes a topic, or a pattern as EventPattern({{...}})."
        )
    try:
        if isinstance(given, EventPattern):
            return None, patterns.check(given.pattern)
        return (None if given is None else check_topic(given)), None
    except (WorkflowDefinitionError, InvalidPayloadError) as error:
        raise WorkflowDefinitionError(f"{where}: {error}") from None


def check_overlap(overlap: object) -> str:
    """What a tick does that finds the one before open. Raises `WorkflowDefinitionError`."""
    if overlap not in ("skip", "allow"):
        raise WorkflowDefinitionError(f"The overlap is {overlap!r}; use 'skip' or 'allow'.")
    return str(overlap)


def schedule(given: bool | str | Mapping[str, Any] | None, where: str) -> ScheduleSpec | None:
    match given:
        case None | bool():
            return None
        case str():
            spec = ScheduleSpec(given)
        case Mapping():
            unknown = set(given) - {"cron", "timezone", "key", "overlap"}
            if unknown or not isinstance(given.get("cron"), str):
                raise WorkflowDefinitionError(
                    f"The schedule of {where} needs 'cron' and may have 'timezone', 'key' and 'overlap'."
                )
            spec = ScheduleSpec(**given)
        case _:
            raise WorkflowDefinitionError(f"The schedule of {where} must be a bool, a cron string or a dict.")
    try:
        check_overlap(spec.overlap)
        check_queue(spec.key, "key")
        cron.parse(spec.cron, spec.timezone)
    except (WorkflowDefinitionError, InvalidPayloadError) as error:
        raise WorkflowDefinitionError(f"The schedule of {where}: {error}") from None
    return spec


def queue(given: Any, workflow_id: str, where: str) -> Queue | None:
    """The queue, which may be given as a name, a `Queue` or a dict."""
    try:
        return as_queue(given, workflow_id)
    except WorkflowDefinitionError as error:
        raise WorkflowDefinitionError(f"{where}: {error}") from None


def whole(given: object, name: str, where: str, *, least: int, most: int | None = None) -> int:
    """A whole number of that size."""
    if isinstance(given, int) and not isinstance(given, bool) and least <= given and (most is None or given <= most):
        return given
    upto = "" if most is None else f" to {most:,}"
    raise WorkflowDefinitionError(f"{where}: {name} must be a whole number from {least}{upto}, not {given!r}.")


def seconds(given: object, name: str, where: str) -> float | None:
    """A span of time in seconds; None if there is none."""
    try:
        return seconds_of(given)
    except ValueError as error:
        raise WorkflowDefinitionError(f"{where}: {name} {error}.") from None


def state_schema(given: object, where: str) -> type[BaseModel] | None:
    """The class of the workflow's state."""
    if given is None or (isinstance(given, type) and issubclass(given, BaseModel)):
        return given
    raise WorkflowDefinitionError(f"{where}: state_schema must be a class derived from WorkflowState, not {given!r}.")
