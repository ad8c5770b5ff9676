"""What user code can ask about where it runs: the step, the execution, whether it is inside one at all."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from polos.errors import UsageError


@dataclass(frozen=True, slots=True)
class CurrentStep:
    """The step that the calling code runs in.

    `idempotency_key` is stable over attempts and replays: hand it to the service that the step calls. `attempt`
    counts from 1.
    """

    idempotency_key: str
    attempt: int
    execution_id: str
    key: str


step: ContextVar[CurrentStep | None] = ContextVar("polos_step", default=None)
execution: ContextVar[str | None] = ContextVar("polos_execution", default=None)
state: ContextVar[Any] = ContextVar("polos_state", default=None)
"""The copy of the workflow's state that a step's callable sees."""


def current_step() -> CurrentStep:
    """The step that the calling code runs in. Raises `UsageError` outside of a step."""
    found = step.get()
    if found is None:
        raise UsageError("current_step() works only inside a function that ctx.step.run is calling.")
    return found


def refuse_inside(call: str) -> None:
    """Raise `UsageError` if the calling code runs inside an execution."""
    if execution.get() is not None:
        raise UsageError(
            f"{call} can't be used inside a workflow or a step: it would not be durable. Inside a workflow use "
            f"ctx.step.invoke_and_wait (or ctx.step.invoke) instead."
        )
