"""What can be asked of executions: one in detail, its outcome. Reads only; costs nothing while executions run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias

from polos.core import codec, items, plain
from polos.core.conditions import Item
from polos.core.history import History
from polos.core.identity import child_id, is_execution_id
from polos.engine import commands, on_the_way
from polos.engine.commands import moment
from polos.engine.deaths import reached
from polos.engine.engine import Engine
from polos.engine.finding import find, find_started
from polos.engine.slots import Slots
from polos.engine.stored import Stored
from polos.errors import (
    ExecutionNotFoundError,
    PayloadTooLargeError,
    SerializationError,
    WorkflowCancelledError,
    WorkflowFailedError,
    WorkflowTimeoutError,
)
from polos.types.types import ErrorDetail, ExecutionDetail, ExecutionSummary, Paused, StepDetail

_Form: TypeAlias = Literal["typed", "strict", "json"]
_CANCELLED_BY = {"cancelled": "manual", "timed_out": "timeout"}


def describe(engine: Engine, execution_id: str) -> ExecutionDetail:
    """Everything that is known of an execution. 1 query per MB, and a read for each stored payload.

    Of a child whose start is on its way, what its parent has on record (`on_the_way`).
    """
    try:
        return read(engine, execution_id)[0]
    except ExecutionNotFoundError:
        item = on_the_way.of_parent(engine, execution_id)
        if item is None:
            raise
        return _detail(engine, item, History.of((), item))


def read(engine: Engine, execution_id: str) -> tuple[ExecutionDetail, History]:
    """As `describe`, of what has begun, with the records that it comes from."""
    partition = engine.table.query(execution_id) if is_execution_id(execution_id) else []
    item = next((one for one in partition if one[items.SK] == items.EXECUTION), None)
    if item is None or items.WORKFLOW not in item:
        raise ExecutionNotFoundError(execution_id)
    if items.NEXT in item:
        item = find(engine, execution_id)
        last = items.text(item, items.PK)
        if last != execution_id:
            return read(engine, last)
    history = History.of([one for one in partition if one[items.SK] != items.EXECUTION], item)
    return _detail(engine, item, history), history


def _detail(engine: Engine, item: Item, history: History) -> ExecutionDetail:
    steps = _steps(engine, history)
    options = items.document(item, items.START)
    root = commands.root_of(item)
    limit = options.get("timeout")
    created = items.number(item, items.CREATED)
    ended = items.ENDED in item
    not_before = items.number(item, items.NOT_BEFORE)
    return ExecutionDetail(
        **summary(item).model_dump(),
        payload=_value(engine, item, items.INPUT, history, _input_sk(item)),
        result=_value(engine, item, items.RESULT, history, items.result_sk(item)) if ended else None,
        error=_error(item),
        steps=steps,
        waiting_for=[] if ended else [step for step in steps if step.status in ("waiting", "retrying")],
        children=list(children(history, items.text(item, items.PK))),
        invocations=items.number(item, items.EPOCH),
        deaths=_deaths(item, history),
        retry_count=items.number(item, items.RETRIES),
        root_execution_id=root["x"],
        root_workflow_id=root["wf"],
        session_id=commands.session_of(item),
        user_id=options.get("user"),
        paused_at=None if ended else _time(item, items.PAUSED),
        held_by=None if ended else _held_by(engine, item),
        next_try_at=None if ended or not_before <= engine.now() else moment(not_before),
        in_line=None if (slots := Slots.of(engine, item)) is None else slots.line(item),
        final_state=_value(engine, item, items.FINAL_STATE, history, items.state_sk(item)) if ended else None,
        timeout=timedelta(seconds=limit) if limit is not None else None,
        timeout_at=moment(items.number(item, items.LIMIT_FROM, created) + int(limit * 1000))
        if limit is not None
        else None,
    )


def _deaths(item: Item, history: History) -> int:
    """How many invocations in a row, up to now, have ended without saying so; one that runs does not count."""
    if items.ENDED in item:
        return 0
    return max(0, items.number(item, items.EPOCH) - reached(item, history) - (items.LEASE_TOKEN in item))


def _held_by(engine: Engine, item: Item) -> Paused | None:
    """The pause of a queue or workflow that holds an execution. 1 read."""
    hold = engine.controls.still_held(item)
    return None if hold is None else Paused(kind=hold.kind, name=hold.name, since=hold.since)


def children(history: History, execution_id: str) -> dict[str, tuple[str, int]]:
    """The ids of the children on record, those of batches included, each with its step's key and place in the batch."""
    found: dict[str, tuple[str, int]] = {}
    for where in (history.marks, history.records):
        for key, one in where.items():
            if items.CHILD in one:
                found.setdefault(items.text(one, items.CHILD), (key, 0))
            generation = items.number(one, items.GENERATION)
            for index in range(items.number(one, items.COUNT)):
                found.setdefault(child_id(execution_id, key, generation, index), (key, index))
    return found


def summary(item: Item) -> ExecutionSummary:
    """One line of a listing, from an execution item."""
    options = items.document(item, items.START)
    return ExecutionSummary(
        id=items.text(item, items.PK),
        workflow_id=items.text(item, items.WORKFLOW),
        status=items.text(item, items.STATUS, "queued"),
        created_at=moment(items.number(item, items.CREATED)),
        started_at=_time(item, items.STARTED),
        completed_at=_time(item, items.ENDED),
        parent_execution_id=commands.parent_of(item).get("x"),
        tags=options.get("tags") or {},
    )


def as_dict(engine: Engine, item: Item, *, typed: bool = False) -> dict[str, Any]:
    """An execution as upstream's dict, with what has no meaning here as None. At most 2 reads.

    It is plain JSON (times as ISO text), whatever this process knows of the values' classes; with `typed`, times are
    datetimes, and `payload`, `result` and `final_state` what the workflow took and gave.
    """

    def shown(name: str, attached: str) -> Any:
        return _value(engine, item, name, None, attached, form="typed" if typed else "json")

    def time(when: datetime | None) -> datetime | str | None:
        return when if typed or when is None else when.isoformat()

    detail = summary(item)
    options = items.document(item, items.START)
    root, parent = commands.root_of(item), commands.parent_of(item)
    error = _error(item)
    return {
        "id": detail.id,
        "workflow_id": detail.workflow_id,
        "status": detail.status,
        "payload": shown(items.INPUT, _input_sk(item)),
        "result": shown(items.RESULT, items.result_sk(item)) if detail.completed_at else None,
        "error": f"{error.type}: {error.message}" if error is not None else None,
        "created_at": time(detail.created_at),
        "started_at": time(detail.started_at),
        "completed_at": time(detail.completed_at),
        "deployment_id": engine.deployment_id,
        "assigned_to_worker": None,
        "parent_execution_id": detail.parent_execution_id,
        "root_execution_id": root["x"],
        "root_workflow_id": root["wf"],
        "retry_count": items.number(item, items.RETRIES),
        "step_key": parent.get("k"),
        "queue_name": options.get("queue", detail.workflow_id),
        "concurrency_key": options.get("ckey"),
        "batch_id": f"{parent['x']}/{parent['k']}" if "n" in parent else None,
        "session_id": commands.session_of(item),
        "user_id": options.get("user"),
        "output_schema_name": None,
        "cancelled_at": time(detail.completed_at) if detail.status in _CANCELLED_BY else None,
        "cancelled_by": _CANCELLED_BY.get(detail.status),
        "run_timeout_seconds": options.get("timeout"),
        "final_state": shown(items.FINAL_STATE, items.state_sk(item)) if detail.completed_at else None,
        "tags": detail.tags,
    }


def ended(engine: Engine, execution_id: str) -> Item | None:
    """The execution item if it has ended, else None. 1 request. Raises `ExecutionNotFoundError`."""
    item = find_started(engine, execution_id)
    return item if items.ENDED in item else None


def outcome(engine: Engine, item: Item) -> Any:
    """The result of an ended execution, or its error raised."""
    status, workflow_id = items.text(item, items.STATUS), items.text(item, items.WORKFLOW)
    execution_id = items.text(item, items.PK)
    if status == "completed":
        return _value(engine, item, items.RESULT, None, items.result_sk(item), form="strict")
    if status == "timed_out":
        raise WorkflowTimeoutError(execution_id, items.document(item, items.START).get("timeout"))
    if status == "cancelled":
        raise WorkflowCancelledError(workflow_id, execution_id)
    error = _error(item) or ErrorDetail(type="Exception", message="unknown")
    raise WorkflowFailedError(workflow_id, execution_id, error.type, error.message, traceback=error.traceback)


def _input_sk(item: Item) -> str:
    options = items.document(item, items.START)
    return commands.payload_key("", options).sk if commands.payload_is_beside(options) else ""


def _time(item: Mapping[str, Any], name: str) -> datetime | None:
    return moment(item[name]) if name in item else None


def _error(item: Item, name: str = items.FAILURE) -> ErrorDetail | None:
    failure = items.document(item, name)
    if not failure:
        return None
    return ErrorDetail(type=failure["type"], message=failure["message"], traceback=failure.get("traceback"))


def _value(
    engine: Engine, item: Item, name: str, history: History | None, attached: str, *, form: _Form = "typed"
) -> Any:
    """A payload, result or state: as the value that it was ("typed": as its JSON where this process does not know its
    classes; "strict": `SerializationError` there), or always as plain JSON ("json").
    """
    stored = Stored() if name == items.INPUT and attached else Stored.of_item(item, name)
    if stored.data is None and stored.pointer is None:
        if not attached:
            return None
        kept = (
            history.attached.get(attached)
            if history is not None
            else engine.table.get(items.Key(items.text(item, items.PK), attached))
        )
        if kept is None:
            return None
        stored = Stored.of_item(kept)
    workflow = engine.workflows().get(items.text(item, items.WORKFLOW))
    annotation: Any = codec.MISSING
    if workflow is not None:
        annotation = {
            items.RESULT: workflow.result_annotation,
            items.INPUT: workflow.input_annotation,
            items.FINAL_STATE: workflow.state_schema or codec.MISSING,
        }[name]
    if form == "strict":
        return codec.decode(engine.vault.fetch(stored), annotation)
    if form == "json":
        return plain.of_text(engine.vault.fetch(stored), annotation)
    return _shown(engine, stored, annotation)


def _shown(engine: Engine, stored: Stored, annotation: Any = codec.MISSING) -> Any:
    """A value for people, or what is wrong with it: the rest of the execution is shown all the same."""
    try:
        return _readable(engine.vault.fetch(stored), annotation)
    except (SerializationError, PayloadTooLargeError) as error:
        return str(error)


def _readable(text: str, annotation: Any = codec.MISSING) -> Any:
    """A value for people: as it was, else as plain JSON, else its text (an event that came broken, say)."""
    try:
        return codec.decode(text, annotation)
    except SerializationError:
        return plain.of_text(text, annotation)


def _steps(engine: Engine, history: History) -> list[StepDetail]:
    keys = list(dict.fromkeys([*history.records, *history.marks]))
    shown: list[tuple[tuple[int, int], StepDetail]] = []
    for key in keys:
        record, mark = history.records.get(key), history.marks.get(key)
        place = (history.began(key) or 0, history.asked(key) or 0)  # the clock ticks once for many steps
        shown.append((place, _step(engine, history, key, record, mark)))
    known = {detail.key: detail for _, detail in shown}
    for kind, key, *rest in json.loads(items.text(history.execution, items.WAITING_FOR, "[]")):
        about = {"topic": rest[0]} if rest else {}
        if key in known:
            known[key].detail.update(about)
        elif items.ENDED not in history.execution:
            since = moment(rest[1]) if len(rest) > 1 else None
            shown.append(
                ((1 << 62, 0), StepDetail(key=key, kind=kind, status="waiting", started_at=since, detail=about))
            )
    return [detail for _, detail in sorted(shown, key=lambda entry: entry[0])]


def _outcome(engine: Engine, item: Item) -> dict[str, Any]:
    """The outcome of one child of a batch."""
    error = _error(item)
    result = _shown(engine, Stored.of_item(item)) if error is None else None
    return {"success": error is None, "result": result, "error": None if error is None else error.message}


def _step(engine: Engine, history: History, key: str, record: Item | None, mark: Item | None) -> StepDetail:
    detail: dict[str, Any] = {}
    source = record if record is not None else mark if mark is not None else {}
    if mark is not None and items.CHILD in mark:
        detail |= {"child": mark[items.CHILD], "workflow_id": mark.get(items.WORKFLOW)}
    for name, shown in ((items.CHILD, "child"), (items.TOPIC, "topic"), (items.WORKFLOW, "workflow_id")):
        if name in source:
            detail[shown] = source[name]
    kind = items.text(source, items.KIND, "step")
    if mark is not None and kind == "suspend":
        detail["data"] = _shown(engine, Stored.of_item(mark))
    began = history.began(key)
    status, result, error, ended_at = "started", None, None, None
    if record is not None:
        state = record.get(items.STATE)
        if items.DUE in record:
            detail["due"] = moment(items.number(record, items.DUE))
        if state == items.RETRYING:
            status, error = "retrying", _error(record)
        elif state == items.ARMED:
            until = items.number(history.execution, items.ENDED, engine.now())  # one that lost never completes
            until = min(until, history.struck_at(key) or until)
            done = kind == "timer" and items.number(record, items.DUE) <= until
            status = "completed" if done else "waiting"
            ended_at = detail.get("due") if done else None
        else:
            error = _error(record)
            status = "completed" if error is None else "failed"
            ended_at = moment(max(items.number(record, items.AT), began or 0))
            result = _shown(engine, Stored.of_item(record)) if error is None else None
    elif kind in ("child", "suspend"):
        status = "waiting"
    elif mark is not None and items.GENERATION in mark:
        outcomes = history.batch(key)
        count = items.number(mark, items.COUNT, len(outcomes))  # a fork's copy has none
        detail |= {"count": count, "ended": len(outcomes)}
        if items.COUNT in mark:
            generation = items.number(mark, items.GENERATION)
            ids = [child_id(items.text(history.execution, items.PK), key, generation, one) for one in range(count)]
            detail["children"] = ids
            detail["open"] = [one for index, one in enumerate(ids) if index not in outcomes]
        status = "waiting"
        if len(outcomes) == count:
            status, result = "completed", [_outcome(engine, outcomes[index]) for index in sorted(outcomes)]
            ended_at = moment(max(items.number(one, items.AT) for one in outcomes.values()))
    open_ended = status in ("waiting", "started") and items.ENDED in history.execution
    return StepDetail(
        key=key,
        kind=kind,
        status="abandoned" if open_ended else status,
        attempts=items.number(source, items.ATTEMPTS, 1 if kind == "step" and record is not None else 0),
        started_at=moment(began) if began is not None else None,
        ended_at=ended_at,
        result=result,
        error=error,
        detail=detail,
    )
