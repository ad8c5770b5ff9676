"""Making the body of a turn: context, payload, state, and the hooks around the function."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel

from polos import current
from polos.context import ContinueAsNew, WorkflowContext
from polos.core import codec, items
from polos.core.loop import Body
from polos.engine import commands, traced
from polos.errors import NonDeterminismError, StepExecutionError
from polos.hooks import Hook, HookAction, HookContext, HookResult

if TYPE_CHECKING:
    from polos.engine.turn import Turn


def make(turn: Turn) -> tuple[Body, WorkflowContext]:
    """A new body for the turn's replay, not yet begun."""
    turn.spans = traced.begin(turn)
    ctx = _context(turn)
    payload = turn.stored_payload()
    context = contextvars.copy_context()
    context.run(current.execution.set, turn.execution_id)
    if turn.spans is not None:
        context.run(turn.spans.enter)
    return Body(_main(turn, ctx, payload), turn.poke_body, context), ctx


def _context(turn: Turn) -> WorkflowContext:
    options, item, schema = turn.options, turn.execution, turn.workflow.state_schema
    state = None
    if schema is not None:
        state = codec.decode(turn.engine.vault.unseal(options["state"]), schema) if "state" in options else schema()
    root = commands.root_of(item)
    return WorkflowContext(
        turn.replay,
        workflow_id=turn.workflow.id,
        execution_id=turn.execution_id,
        parent_execution_id=commands.parent_of(item).get("x"),
        root_execution_id=root["x"],
        root_workflow_id=root["wf"],
        retry_count=items.number(item, items.RETRIES),
        created_at=commands.moment(items.number(item, items.CREATED)),
        session_id=options.get("session"),
        user_id=options.get("user"),
        deployment_id=turn.engine.deployment_id,
        state=state,
        remaining=turn.remaining,
        now=turn.engine.now,
        scope=turn.workflow.scope,
        spans=turn.spans,
    )


def _main(turn: Turn, ctx: WorkflowContext, payload: str) -> Callable[[], Coroutine[Any, Any, Any]]:
    workflow = turn.workflow

    async def main() -> Any:
        given = workflow.accept(codec.decode(payload, workflow.input_annotation))
        given = await _before(ctx, workflow.on_start, given)
        try:
            result = await (workflow.call(ctx, given) if workflow.takes_input else workflow.call(ctx))
        except (ContinueAsNew, NonDeterminismError):
            raise
        except Exception as error:
            await _after(ctx, workflow.on_end, given, None, f"{type(error).__name__}: {error}")
            raise
        return await _after(ctx, workflow.on_end, given, result, None)

    return main


async def _before(ctx: WorkflowContext, hooks: tuple[Hook, ...], payload: Any) -> Any:
    for number, hook in enumerate(hooks):
        about = _about(ctx, current_payload=payload)
        result = await _run(ctx, "on_start", number, hook, about)
        if result.modified_payload is not None:
            payload = _merged(payload, result.modified_payload)
    return payload


async def _after(ctx: WorkflowContext, hooks: tuple[Hook, ...], payload: Any, output: Any, error: str | None) -> Any:
    """The hooks at the end, after a failure too; what they modify then is not used."""
    for number, hook in enumerate(hooks):
        about = _about(ctx, current_payload=payload, current_output=output, error=error)
        result = await _run(ctx, "on_end", number, hook, about)
        if result.modified_output is not None and error is None:
            output = _merged(output, result.modified_output)
    return output


def _about(ctx: WorkflowContext, **fields: Any) -> HookContext:
    return HookContext(workflow_id=ctx.workflow_id, session_id=ctx.session_id, user_id=ctx.user_id, **fields)


async def _run(ctx: WorkflowContext, when: str, number: int, hook: Hook, about: HookContext) -> HookResult:
    """One hook as a recorded step. Raises `StepExecutionError` if it says that the execution fails."""
    name = getattr(hook, "__name__", type(hook).__name__)
    result = await ctx.step.run_hook(f"{when}.{name}.{number}", hook, ctx, about)
    if not isinstance(result, HookResult):
        raise StepExecutionError(f"The hook {name} returned {type(result).__name__}, not a HookResult.")
    if result.action is HookAction.FAIL:
        raise StepExecutionError(result.error_message or f"The hook {name} ended the execution.")
    return result


def _merged(value: Any, modified: Any) -> Any:
    """What a hook gave in place of a value; a dict goes into a dict or a model field by field."""
    if not isinstance(modified, dict):
        return modified
    fields = cast("dict[str, Any]", modified)
    if isinstance(value, BaseModel):
        return type(value).model_validate({**value.model_dump(), **fields})
    return cast("dict[str, Any]", value) | fields if isinstance(value, dict) else fields
