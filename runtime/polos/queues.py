"""Queues: how many executions may run at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from polos.core.identity import check_queue
from polos.errors import InvalidPayloadError, WorkflowDefinitionError

MOST_SLOTS: Final = 1000
"""The largest limit: who holds a slot stands in one item of the table. It is also an account's default quota of
concurrent executions of all its functions (AWS Lambda Developer Guide, "Lambda quotas")."""


@dataclass(frozen=True, slots=True)
class Queue:
    """A named queue. At most `concurrency_limit` executions per concurrency key run at once; None: no limit.

    The limit is from 1 to 1,000. What stands in line for it costs nothing.
    """

    name: str
    concurrency_limit: int | None = None

    def __post_init__(self) -> None:
        try:
            check_queue(self.name)
        except InvalidPayloadError as error:
            raise WorkflowDefinitionError(str(error)) from None
        limit = self.concurrency_limit
        if limit is not None and not _is_limit(limit):
            raise WorkflowDefinitionError(
                f"The concurrency limit of queue {self.name!r} is {limit!r}; it must be a whole number from 1 to "
                f"{MOST_SLOTS:,}. Leave it out for no limit."
            )


def _is_limit(limit: object) -> bool:
    return isinstance(limit, int) and not isinstance(limit, bool) and 1 <= limit <= MOST_SLOTS


def queue(name: str, concurrency_limit: int | None = None) -> Queue:
    """Declare a queue, to be given to `@workflow(queue=...)`."""
    return Queue(name, concurrency_limit)


def chosen_queue(value: object, concurrency_limit: int | None = None) -> Queue | None:
    """The queue that a start asks for: a name, a `Queue`, or None. Raises `InvalidPayloadError`."""
    match value:
        case None | Queue():
            return value
        case str():
            try:
                return Queue(value, concurrency_limit)
            except WorkflowDefinitionError as error:
                raise InvalidPayloadError(str(error)) from None
        case _:
            raise InvalidPayloadError(f"queue must be a name or a Queue, not {type(value).__name__}.")


def as_queue(value: str | Queue | Mapping[str, Any] | None, workflow_id: str) -> Queue | None:
    """The queue that a declaration means. Raises `WorkflowDefinitionError`."""
    match value:
        case None | Queue():
            return value
        case str():
            return Queue(value)
        case Mapping():
            unknown = set(value) - {"name", "concurrency_limit"}
            if unknown:
                raise WorkflowDefinitionError(
                    f"The queue of workflow {workflow_id!r} has unknown fields: {', '.join(sorted(unknown))}."
                )
            return Queue(value.get("name", workflow_id), value.get("concurrency_limit"))
        case _:
            raise WorkflowDefinitionError(
                f"The queue of workflow {workflow_id!r} must be a name, a Queue or a dict, not {type(value).__name__}."
            )
