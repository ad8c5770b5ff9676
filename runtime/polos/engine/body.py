"""Making the body of a turn: context, payload, state, and the hooks around the function."""

from __future__ import annotations

import contextvars
import dataclasses
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, cast

from pydantic import AliasChoices, BaseModel

from polos import current
from polos.context import ContinueAsNew, WorkflowContext
from polos.core import codec, items
from polos.core.failures import message_of
from polos.core.loop import Body
from polos.engine import commands, traced
from polos.errors import NonDeterminismError, StepExecutionError
from polos.hooks import Hook, HookAction, HookContext, HookResult, hook_key
from polos.start_options import initial_state_of

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
    return Body(_main(turn, ctx, payload), turn.poke_body, turn.replay.ended_with, context), ctx


def _context(turn: Turn) -> WorkflowContext:
    options, item, schema = turn.options, turn.execution, turn.workflow.state_schema
    state = None
    if schema is not None:
        given = options.get("state")
        state = (
            initial_state_of(turn.workflow, None)
            if given is None
            else codec.decode(turn.engine.vault.unseal(given), schema)
        )
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
        session_id=commands.session_of(item),
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
        given = workflow.accept(codec.decode(payload, workflow.input_annotation, foreign=True))
        given = await _before(turn, ctx, given)
        try:
            result = await (workflow.call(ctx, given) if workflow.takes_input else workflow.call(ctx))
        except (ContinueAsNew, NonDeterminismError):
            raise
        except Exception as error:
            if not turn.replay.branch and not turn.endings.runs_again(error):
                await _after_failure(turn, ctx, given, error)
            raise
        return await _after(turn, ctx, given, result)

    return main


async def _before(turn: Turn, ctx: WorkflowContext, payload: Any) -> Any:
    for number, hook in enumerate(turn.workflow.on_start):
        result = await _run(turn, ctx, "on_start", number, hook, _about(ctx, current_payload=payload))
        if result.modified_payload is not None:
            payload = _merged(payload, result.modified_payload, hook)
    return payload


async def _after(turn: Turn, ctx: WorkflowContext, payload: Any, output: Any) -> Any:
    for number, hook in enumerate(turn.workflow.on_end):
        about = _about(ctx, current_payload=payload, current_output=output)
        result = await _run(turn, ctx, "on_end", number, hook, about)
        if result.modified_output is not None:
            output = _merged(output, result.modified_output, hook)
    return output


async def _after_failure(turn: Turn, ctx: WorkflowContext, payload: Any, error: Exception) -> None:
    """The hooks at the end of what has failed for good. What they modify is not used.

    One that fails, too, is noted on the failure and does not hide it. A `retry` drops what they said: it has an end of
    its own.
    """
    about = _about(ctx, current_payload=payload, error=f"{type(error).__name__}: {message_of(error)}")
    for number, hook in enumerate(turn.workflow.on_end):
        try:
            await _run(turn, ctx, "on_end", number, hook, about)
        except StepExecutionError as too:
            error.add_note(f"After that the hook {_name(hook)} failed: {too}")
        turn.replay.blame(error, hook_key("on_end", _name(hook), number))


def _about(ctx: WorkflowContext, **fields: Any) -> HookContext:
    return HookContext(workflow_id=ctx.workflow_id, session_id=ctx.session_id, user_id=ctx.user_id, **fields)


def _name(hook: Hook) -> str:
    return getattr(hook, "__name__", type(hook).__name__)


async def _run(turn: Turn, ctx: WorkflowContext, when: str, number: int, hook: Hook, about: HookContext) -> HookResult:
    """One hook as a recorded step. Raises `StepExecutionError` if it says that the execution fails.

    That is what failed, then, and a `retry` asks the hook again.
    """
    key = hook_key(when, _name(hook), number)
    result = await ctx.step.run_hook(key, hook, ctx, about)
    if isinstance(result, HookResult) and result.action is not HookAction.FAIL:
        return result
    if isinstance(result, HookResult):
        error = StepExecutionError(result.error_message or f"The hook {_name(hook)} ended the execution.")
    else:
        error = StepExecutionError(f"The hook {_name(hook)} returned {type(result).__name__}, not a HookResult.")
    turn.replay.blame(error, key)
    raise error


def _merged(value: Any, modified: Any, hook: Hook) -> Any:
    """What a hook gave in place of a value; a dict goes into a dict, model or dataclass field by field.

    Raises `InvalidPayloadError` if that does not fit.
    """
    if not isinstance(modified, dict):
        return modified
    fields = cast("dict[str, Any]", modified)
    if isinstance(value, dict):
        return cast("dict[str, Any]", value) | fields
    if isinstance(value, BaseModel):
        before = {name: getattr(value, name) for name in type(value).model_fields}
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        before = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    else:
        return fields
    changed: Any = type(cast("object", value))
    aliases = _aliases(changed)
    given = {aliases.get(name, name): one for part in (before, fields) for name, one in part.items()}
    return codec.validate(given, changed, what=f"What the hook {_name(hook)} gave")


def _aliases(kind: type[Any]) -> dict[str, str]:
    """The names under which a model takes its fields, where they are others."""
    found: dict[str, str] = {}
    for name, field in kind.model_fields.items() if issubclass(kind, BaseModel) else ():
        alias = field.validation_alias
        choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
        if isinstance(choices[0], str):
            found[name] = choices[0]
    return found
