"""What of an execution becomes spans, and who writes each: the turn that recorded it, or that met its end.

    workflow.ID   the execution, by whoever wrote its end                 child of the step that started it
    step.KEY      one attempt, by the invocation that recorded it         child of a block, or of the execution
    wait.KEY, child.KEY, batch.KEY, publish.KEY, resume.KEY               as steps; written at the turn's end
    blocks of `ctx.step.trace`                                            as steps; written at the turn's end

A process that dies between a write of the table and that of its span has lost the span: none is written twice.
"""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING, Any, Final

from polos import tracing
from polos.core import items
from polos.core.conditions import Item
from polos.core.failures import Failure
from polos.core.identity import RESERVED
from polos.core.operations import Run, Sleep
from polos.core.replay import Operation
from polos.engine import commands
from polos.spans import Spans
from polos.tracing import Tracer, span_id

if TYPE_CHECKING:
    from polos.engine.turn import Turn
    from polos.tracing import Span

_NAMES: Final = {
    "timer": "wait",
    "event": "wait",
    "suspend": "wait",
    "child": "child",
    "invoke": "child",
    "batch": "batch",
    "batch_invoke": "batch",
    "publish": "publish",
    "resume": "resume",
}


def _tracer_of(item: Item) -> Tracer | None:
    root = commands.root_of(item)
    return tracing.tracer_of(root["x"], f"workflow.{root['wf']}")


def _own(execution_id: str, generation: int) -> int:
    return span_id(execution_id, generation, "execution")


def begin(turn: Turn) -> Spans | None:
    """The spans of a turn's replay; None without tracing."""
    item = turn.execution
    tracer = _tracer_of(item)
    generation = items.number(item, items.GENERATION)
    turn.replay.moment = max(items.number(item, items.STARTED), items.number(item, items.LIMIT_FROM))
    if tracer is None:
        return None
    return Spans(
        tracer,
        turn.replay,
        execution_id=turn.execution_id,
        generation=generation,
        retries=items.number(item, items.RETRIES),
        own=_own(turn.execution_id, generation),
        written=items.number(item, items.TRACED, -1),
    )


# ---- steps


def begin_attempt(turn: Turn, operation: Operation, number: int, context: contextvars.Context) -> Span | None:
    """A span for an attempt, active in the context that its callable will run in."""
    spans = turn.spans
    if spans is None:
        return None
    request = operation.request
    kind = request.kind
    key = operation.key.removeprefix(RESERVED) if kind == "hook" else operation.key
    generation = turn.history.generation
    span = spans.tracer.start(
        f"{kind}.{key}",
        span_id(turn.execution_id, generation, "attempt", operation.key, str(number)),
        spans.parent_of(operation),
        turn.engine.now(),
        {**_about(turn, operation), "polos.step.attempt": number},
        spans.tracer.surrounding(),
    )
    context.run(spans.tracer.enter, span)
    return span


def end_attempt(turn: Turn, span: Span | None, outcome: Item | Failure) -> None:
    """Write the span of an attempt, if the outcome is this owner's own."""
    if span is None or turn.spans is None:
        return
    failure = outcome if isinstance(outcome, Failure) else None
    if not isinstance(outcome, Failure):
        if items.number(outcome, items.EPOCH) != turn.epoch:
            return  # another one's attempt was recorded; whoever recorded it writes its span
        if items.FAILURE in outcome:
            failure = Failure.from_json(items.document(outcome, items.FAILURE))
    turn.spans.tracer.end(span, turn.engine.now(), failure)


def _about(turn: Turn, operation: Operation) -> dict[str, Any]:
    return {
        "polos.execution.id": turn.execution_id,
        "polos.workflow.id": turn.workflow.id,
        "polos.step.key": operation.key,
        "polos.step.kind": operation.request.kind,
    }


# ---- what a body waits for


def delivered(turn: Turn, operation: Operation, when: int, error: Exception | None) -> None:
    """The body was handed an outcome that came at `when` (ms). Those of steps are told by their attempts."""
    spans, request = turn.spans, operation.request
    if spans is None or isinstance(request, Run):
        return
    history = turn.history
    known = [where[operation.key] for where in (history.records, history.marks) if operation.key in where]
    if not known and isinstance(request, Sleep):
        return  # a wait of no length
    if "forked" in turn.options and not any(items.number(one, items.EPOCH) for one in known):
        return  # it was copied, with its outcome, from another execution
    record, began = history.decided(operation.key) or {}, history.began(operation.key)
    generation = items.number(record or history.marks.get(operation.key, {}), items.GENERATION, history.generation)
    more = {"polos.topic": record.get(items.TOPIC), "polos.child.execution_id": record.get(items.CHILD)}
    spans.waited(
        operation,
        f"{_NAMES[request.kind]}.{operation.key}",
        span_id(turn.execution_id, generation, "operation", operation.key),
        when if began is None else began,
        {**_about(turn, operation), **more},
        error,
    )


# ---- executions


def execution_ended(item: Item) -> None:
    """Write the span of an execution. Called once: by who wrote its end."""
    tracer = _tracer_of(item)
    if tracer is None:
        return
    execution_id, generation = items.text(item, items.PK), items.number(item, items.GENERATION)
    options, parent = items.document(item, items.START), commands.parent_of(item)
    chain = options.get("chain")
    over = None
    if chain is not None:
        over = _own(chain[0], 0)
    elif parent:
        over = span_id(parent["x"], parent.get("g", 0), "operation", parent["k"])
    links = tracing.linked(options.get("tp"))
    if generation:
        links.append(tracer.at(_own(execution_id, generation - 1)))
    status = items.text(item, items.STATUS)
    began = items.number(item, items.STARTED, items.number(item, items.CREATED))
    span = tracer.start(
        f"workflow.{items.text(item, items.WORKFLOW)}",
        _own(execution_id, generation),
        None if over is None else tracer.at(over),
        max(began, items.number(item, items.LIMIT_FROM)),
        {
            "polos.execution.id": execution_id,
            "polos.workflow.id": items.text(item, items.WORKFLOW),
            "polos.execution.status": status,
            "polos.execution.invocations": items.number(item, items.EPOCH),
            "polos.execution.continued_as": item.get(items.NEXT),
        },
        links,
    )
    failure = items.document(item, items.FAILURE)
    if not failure and status == "timed_out":
        tracer.mark_failed(span, "timed out")
    tracer.end(span, items.number(item, items.ENDED), Failure.from_json(failure) if failure else None)
