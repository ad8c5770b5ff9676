"""What whoever starts an execution may choose: queue, time limit, state; and the items of a batch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

from pydantic import BaseModel

from polos.core import codec
from polos.core.identity import check_queue
from polos.core.spans import seconds_of
from polos.errors import InvalidPayloadError
from polos.queues import Queue, chosen_queue
from polos.types.types import BatchWorkflowInput
from polos.workflow import Workflow, get_all_workflows

_STATE_BYTES: Final = 32_000


def check_batch(workflows: Any) -> list[BatchWorkflowInput]:
    """The items of a batch, from any iterable. Raises `InvalidPayloadError` for something else."""
    kind = cast("type[Any]", type(workflows))
    if issubclass(kind, str | Mapping | BaseModel) or not issubclass(kind, Iterable):
        raise InvalidPayloadError(
            f"A batch takes a list of BatchWorkflowInput(id=..., payload=...), not {kind.__name__}."
        )
    found = list(cast("Iterable[Any]", workflows))
    for one in found:
        if not isinstance(one, BatchWorkflowInput):
            raise InvalidPayloadError(
                f"A batch takes BatchWorkflowInput(id=..., payload=...), not {type(one).__name__}."
            )
    return found


def start_options(
    workflow: Workflow[Any, Any],
    queue: str | Queue | None,
    concurrency_key: str | None,
    run_timeout_seconds: float | None,
    initial_state: Any,
) -> dict[str, Any]:
    """The parts of a start that a caller may choose, as they are stored. Raises `InvalidPayloadError`."""
    named = chosen_queue(queue) or workflow.queue
    options: dict[str, Any] = {}
    if named is not None:
        options["queue"] = check_queue(named.name)
        declared = [one.queue for one in (workflow, *get_all_workflows().values())]
        limits = [one.concurrency_limit for one in (named, *declared) if one is not None and one.name == named.name]
        limit = min((one for one in limits if one is not None), default=None)
        if limit is not None:
            options["limit"] = limit
    if concurrency_key is not None:
        options["ckey"] = check_queue(concurrency_key, "concurrency key")
    try:
        seconds = seconds_of(run_timeout_seconds if run_timeout_seconds is not None else workflow.timeout)
    except ValueError as error:
        raise InvalidPayloadError(f"run_timeout_seconds {error}.") from None
    if seconds is not None:
        options["timeout"] = float(seconds)
    state = initial_state_of(workflow, initial_state)
    if initial_state is not None:
        options["state"] = _encoded_state(workflow, state)
    return options


def _encoded_state(workflow: Workflow[Any, Any], state: Any) -> str:
    text = codec.encode(state, annotation=workflow.state_schema)
    size = len(text.encode())
    if size > _STATE_BYTES:
        raise InvalidPayloadError(
            f"The initial state of {workflow.id!r} has {size:,} bytes; it may have {_STATE_BYTES:,}. It is written "
            f"again at each resumption: put what is large into the payload, and fill the state from that."
        )
    return text


def initial_state_of(workflow: Workflow[Any, Any], given: Any) -> Any:
    """The state that an execution begins with; None without a schema. Raises `InvalidPayloadError`."""
    if workflow.state_schema is None:
        if given is not None:
            raise InvalidPayloadError(f"initial_state was given, but workflow {workflow.id!r} has no state_schema.")
        return None
    what = f"The initial state of {workflow.id!r}"
    return codec.validate({} if given is None else given, workflow.state_schema, what=what)
