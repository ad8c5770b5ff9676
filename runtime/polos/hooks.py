"""Hooks: durable functions that run before and after a workflow's body."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from enum import StrEnum
from typing import Any, TypeAlias

from pydantic import BaseModel

from polos.core.identity import RESERVED
from polos.errors import WorkflowDefinitionError

Hook: TypeAlias = Callable[..., Any]


class HookAction(StrEnum):
    """What happens after a hook."""

    CONTINUE = "continue"
    FAIL = "fail"


class HookContext(BaseModel):
    """What a hook is told. `error` is the failure's text where an `on_end` hook runs after one.

    A failure that is retried is no end, and a cancelled execution has none of these: its cleanup is its `finally`.
    """

    workflow_id: str
    session_id: str | None = None
    user_id: str | None = None
    current_payload: Any = None
    current_output: Any = None
    error: str | None = None


class HookResult(BaseModel):
    """What a hook decides."""

    action: HookAction = HookAction.CONTINUE
    modified_payload: Any = None
    modified_output: Any = None
    error_message: str | None = None

    @classmethod
    def continue_with(cls, modified_payload: Any = None, modified_output: Any = None) -> HookResult:
        """Go on; what is given replaces the payload or the output (a dict is merged into a dict or model)."""
        return cls(modified_payload=modified_payload, modified_output=modified_output)

    @classmethod
    def fail(cls, message: str) -> HookResult:
        """End the execution as failed with this message."""
        return cls(action=HookAction.FAIL, error_message=message)


def hook(function: Hook) -> Hook:
    """Declare a hook `(ctx, hook_context) -> HookResult`, sync or async."""
    return as_hooks(function, getattr(function, "__qualname__", repr(function)))[0]


def hook_key(when: str, name: str, number: int) -> str:
    """The step key under which a hook is recorded."""
    return f"{RESERVED}{when}.{name}.{number}"


def as_hooks(given: Hook | list[Hook] | tuple[Hook, ...] | None, where: str) -> tuple[Hook, ...]:
    """The hooks that a declaration means. Raises `WorkflowDefinitionError`."""
    listed: list[Any] = [] if given is None else [*given] if isinstance(given, list | tuple) else [given]
    for one in listed:
        if not callable(one) or len(inspect.signature(one).parameters) != 2:
            raise WorkflowDefinitionError(f"A hook of {where} must be a function (ctx, hook_context).")
    return tuple(listed)
