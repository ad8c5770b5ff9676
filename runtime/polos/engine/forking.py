"""A new execution that begins in the middle of another: it keeps the records before a step, as they were or replaced.

Everything that can be refused is refused before anything is written. Then the records are put under a new id, then the
start is sent: a fork that breaks off in between never existed. The source is only read. Laws: L1, L4.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from polos.clock import new_id
from polos.core import codec, items
from polos.core.conditions import Item, Value
from polos.core.failures import Failure
from polos.core.history import History
from polos.core.identity import child_id
from polos.engine import commands
from polos.engine.commands import Start, moment
from polos.engine.engine import Engine
from polos.engine.finding import find
from polos.engine.stored import Stored
from polos.errors import ChildWorkflowError, InvalidPayloadError, SerializationError
from polos.types.types import BatchStepResult, EventPayload
from polos.workflow import Workflow, find_workflow

_NOT_COPIED: Final = (items.PK, items.SK, items.GENERATION)
_OUTCOME: Final = (items.FAILURE, items.VALUE, items.POINTER)
_NO_RESULT: Final = frozenset({"timer", "publish", "resume"})
_STARTED: Final = frozenset({"invoke", "batch_invoke"})
_ENVELOPE: Final = frozenset({"id", "sequence_id", "topic", "event_type", "created_at", "data"})
_ENTRY: Final = frozenset({"workflow_id", "success", "result", "error"})
_PLAIN: Final = (dict, list, str, int, float)
_NOT_PASSED_ON: Final = frozenset({"parent", "root", "chain", "trigger", "pd", "pb", "sq", "ev", "tp"})


def fork(
    engine: Engine,
    execution_id: str,
    from_step: str | None,
    payload: Any,
    results: Mapping[str, Any],
    replace_payload: bool,
) -> Item:
    """A new execution that keeps the records of those steps that ended before `from_step` began (None: of none).

    `results` gives other outcomes, also to steps that are not kept: what the call would return, of a wait for an event
    or a resume its data, of a batch a list. 1 query, 1 put a record kept, 1 send and 1 put. Raises
    `InvalidPayloadError` if a step is not on record, or cannot have such a result, and `SerializationError`.
    """
    item = find(engine, execution_id)
    source = _Source(engine, History.of(engine.table.query(items.text(item, items.PK)), item))
    new = new_id()
    workflow = find_workflow(items.text(item, items.WORKFLOW))
    stored = source.payload() if not replace_payload else engine.stash(
        codec.encode(workflow.accept(payload), annotation=workflow.input_annotation), new, "The payload of a fork"
    )  # fmt: skip
    if stored.pointer is not None:  # a copy of its own: the source's goes when the source does
        stored = engine.stash(engine.vault.fetch(stored), new, "The payload of a fork")
    copies = _Copies(engine, new)
    kept = source.before(from_step)
    unknown = sorted(set(results) - source.steps().keys())
    if unknown:
        raise InvalidPayloadError(f"Execution {source.id} has no step {unknown[0]!r} whose result could be replaced.")
    for key in kept - results.keys():
        copies.keep(source, key)
    for key, value in results.items():
        copies.replace(source, key, value)
    copies.order(source.history)
    for one in copies.made:
        engine.ledger.note(items.Key(items.text(one, items.PK), items.text(one, items.SK)), one)
    given = items.document(item, items.START)
    options = {name: value for name, value in given.items() if name not in _NOT_PASSED_ON}
    command = Start.of(new, workflow.id, stored, engine.now(), {**options, "forked": source.id})
    engine.backend.inbox.send([command.message()])
    large = command.payload_item()
    if large is not None:
        engine.ledger.note(commands.payload_key(new, command.options), large)
    return engine.ledger.note(items.execution(new), {**command.attributes(), items.STATUS: "queued"})


class _Source:
    """The execution that is forked."""

    def __init__(self, engine: Engine, history: History) -> None:
        self.history, self._engine = history, engine
        self.id = items.text(history.execution, items.PK)
        self._waits = {
            key: (kind, rest[1] if len(rest) > 1 else engine.now())
            for kind, key, *rest in json.loads(items.text(history.execution, items.WAITING_FOR, "[]"))
        }

    def steps(self) -> dict[str, str]:
        """The kind of each step that is on record, or open at the moment."""
        history = self.history
        found = {key: kind for key, (kind, _) in self._waits.items()}
        return found | {key: history.kind(key) or "step" for key in (*history.records, *history.marks)}

    def before(self, from_step: str | None) -> set[str]:
        """The steps that ended before another one began, those of the same millisecond as the body asked for them."""
        if from_step is None:
            return set()
        first = self.history.records.get(from_step) or self.history.marks.get(from_step)
        if first is None and from_step not in self._waits:
            raise InvalidPayloadError(f"Execution {self.id} has no step {from_step!r}.")
        began = _began(first) if first is not None else self._waits[from_step][1]
        place, history = self.history.asked(from_step), self.history
        kept: set[str] = set()
        for key in history.records.keys() | history.marks.keys():
            asked, ended = history.asked(key), self._ended(key)
            earlier = asked is None or place is None or asked < place
            if key != from_step and earlier and ended is not None and max(ended, self._began(key)) <= began:
                kept.add(key)
        return kept

    def _began(self, key: str) -> int:
        record = self.history.records.get(key)
        return 0 if record is None else _began(record)

    def _ended(self, key: str) -> int | None:
        """When a step came out; None: it has not. A timer is over when it is due."""
        record, mark = self.history.records.get(key), self.history.marks.get(key, {})
        if record is not None:
            if record.get(items.STATE) == items.ARMED:
                return items.number(record, items.DUE) if items.text(record, items.KIND) == "timer" else None
            return items.number(record, items.AT) if self.history.decided(key) is not None else None
        ended = self.history.batch(key)
        if ended and len(ended) == items.number(mark, items.COUNT, len(ended)):
            return max(items.number(one, items.AT) for one in ended.values())
        return None

    def count(self, key: str) -> int:
        """How many children a batch has."""
        return items.number(self.history.marks.get(key, {}), items.COUNT, len(self.history.batch(key)))

    def payload(self) -> Stored:
        options = items.document(self.history.execution, items.START)
        if commands.payload_is_beside(options):
            return Stored.of_item(self.history.attached.get(commands.payload_key("", options).sk) or {})
        return Stored.of_item(self.history.execution, items.INPUT)

    def like(self, record: Item, value: object) -> object:
        """The value as the type that was recorded, where it is plain JSON in place of a model or the like."""
        if not isinstance(value, _PLAIN) or items.FAILURE in record or not _has_value(record):
            return cast("object", value)
        try:
            before = codec.decode(self._engine.vault.fetch_item(record))
        except SerializationError:
            return cast("object", value)
        if before is None or isinstance(before, _PLAIN):
            return cast("object", value)
        what = f"The result of a step that returned {type(before).__name__}"
        return codec.validate(cast("object", value), type(before), what=what)


@dataclass
class _Copies:
    """The items of the fork, made before any is written."""

    engine: Engine
    new: str
    made: list[Item] = field(default_factory=list[Item])
    kept: set[str] = field(default_factory=set[str])

    def keep(self, source: _Source, key: str) -> None:
        self.kept.add(key)
        history = source.history
        record = history.records.get(key)
        if record is not None:
            self._put(items.record(self.new, key), self._copied(record, f"The result of step {key!r}"))
            return
        for index, outcome in history.batch(key).items():
            copy = self._copied(outcome, f"The result {index} of step {key!r}")
            self._put(items.batch_outcome(self.new, key, index), copy)
        self._put_batch_mark(history.marks[key], key)

    def replace(self, source: _Source, key: str, value: Any) -> None:
        """Give a step another result."""
        self.kept.add(key)
        kind = source.steps()[key]
        if kind in _STARTED:
            raise InvalidPayloadError(f"The step {key!r} started children; it has no result that could be replaced.")
        if kind in _NO_RESULT and value is not None:
            raise InvalidPayloadError(f"The step {key!r} has no result: only None (null) can be given for it.")
        history = source.history
        if kind == "batch":
            self._replace_batch(source, key, value)
            return
        record = history.records.get(key, {})
        now = self.engine.now()
        dropped = (*_NOT_COPIED, *_OUTCOME, items.DUE, items.STATE)
        about = {name: one for name, one in record.items() if name not in dropped}
        about = {items.AT: now, items.BEGAN: _began(record) or now, **about, items.KIND: kind, items.EPOCH: 0}
        asked = history.asked(key)
        if asked is not None:
            about[items.ASKED] = asked
        text = self._text(source, key, kind, record, value)
        value_of = {} if text is None else self.engine.attributes(text, self.new, f"The result of step {key!r}")
        self._put(items.record(self.new, key), {**about, items.STATE: items.DECIDED, **value_of})

    def order(self, history: History) -> None:
        """The order in which outcomes were observed, as far as they are kept."""
        for (branch, tick), key in history.orders.items():
            if key in self.kept:
                about: dict[str, Value] = {items.TICKS: [tick], items.KEYS: [key], items.EPOCH: 0}
                self._put(items.order(self.new, branch, tick), about)

    def _text(self, source: _Source, key: str, kind: str, record: Item, value: Any) -> str | None:
        """The new outcome as it is recorded."""
        if kind in _NO_RESULT:
            return None
        if kind in ("event", "suspend"):
            return self._envelope(key, kind, record, value)
        if kind == "child":
            annotation = self._result_annotation(record, source.history.marks.get(key, {}))
            return codec.encode(codec.validate(value, annotation, what=f"The result of step {key!r}"), step_key=key)
        return codec.encode(source.like(record, value), step_key=key)

    def _envelope(self, key: str, kind: str, record: Item, value: object) -> str:
        """An event, or a resume, with this data; or the whole envelope, as the call returns it."""
        if isinstance(value, EventPayload):
            given: dict[str, Any] = value.model_dump(exclude={"data"}) | {"data": value.data}
        elif isinstance(value, dict) and set(cast("dict[str, Any]", value)) == {*_ENVELOPE}:
            given = cast("dict[str, Any]", value)
        else:
            given = {**self._said(key, kind, record), "data": cast("object", value)}
        payload: EventPayload = EventPayload.model_validate(
            codec.validate(given, EventPayload, what=f"The event of step {key!r}")
        )
        data = codec.encode(given["data"], step_key=key)
        head = items.as_document(payload.model_dump(mode="json", exclude={"data"}))
        return f'{head[:-1]},"data":{data}}}'

    def _said(self, key: str, kind: str, record: Item) -> dict[str, Any]:
        """The envelope that was recorded, or one of the fork's own where none was."""
        if _has_value(record):
            before = json.loads(self.engine.vault.fetch_item(record))
            return {name: before.get(name) for name in _ENVELOPE}
        now = self.engine.now()
        topic = items.text(record, items.TOPIC) if kind == "event" else ""
        about = {"id": f"fork-{self.new}-{key}"[:256], "sequence_id": now << 20, "topic": topic}
        return {**about, "event_type": None, "created_at": moment(now).isoformat()}

    def _result_annotation(self, record: Item, mark: Item) -> Any:
        workflow_id = items.text(record, items.WORKFLOW) or items.text(mark, items.WORKFLOW)
        workflow: Workflow[Any, Any] | None = self.engine.workflows().get(workflow_id)
        return codec.MISSING if workflow is None else workflow.result_annotation

    def _replace_batch(self, source: _Source, key: str, value: Any) -> None:
        count = source.count(key)
        outcomes = cast("list[Any]", value) if isinstance(value, list) else []
        if not isinstance(value, list) or len(outcomes) != count:
            raise InvalidPayloadError(f"The step {key!r} is a batch: give a list of {count} results for it.")
        now = self.engine.now()
        for index, one in enumerate(outcomes):
            about: dict[str, Value] = {items.STATE: items.DECIDED, items.AT: now, items.EPOCH: 0}
            child = child_id(source.id, key, 0, index)
            outcome = self._entry(child, one, f"The result {index} of step {key!r}")
            self._put(items.batch_outcome(self.new, key, index), {**about, **outcome})
        self._put_batch_mark(source.history.marks.get(key, {items.KIND: "batch", items.AT: now}), key)

    def _entry(self, child: str, given: object, what: str) -> dict[str, Value]:
        """One child's outcome: a value, or what `batch_invoke_and_wait` returns of it."""
        one = given
        if isinstance(given, dict) and "success" in given and set(cast("dict[str, Any]", given)) <= _ENTRY:
            one = codec.validate({"workflow_id": "", **cast("dict[str, Any]", given)}, BatchStepResult, what=what)
        if isinstance(one, BatchStepResult):
            if not one.success:
                error = ChildWorkflowError(one.workflow_id, child, "failed", one.error)
                return {items.FAILURE: items.as_document(Failure.from_exception(error, 1).to_json())}
            one = one.result
        return self.engine.attributes(codec.encode(cast("object", one)), self.new, what)

    def _copied(self, item: Item, what: str) -> Item:
        copy = {name: value for name, value in item.items() if name not in _NOT_COPIED} | {items.EPOCH: 0}
        if items.POINTER in copy:  # a copy of its own: the source's goes with the source
            text = self.engine.vault.fetch(Stored.of_item(copy))
            copy.pop(items.POINTER)
            copy |= self.engine.attributes(text, self.new, what)
        return copy

    def _put_batch_mark(self, mark: Item, key: str) -> None:
        """That of a batch whose children are not the fork's own: without their number."""
        about = {name: value for name, value in mark.items() if name not in (*_NOT_COPIED, items.COUNT)}
        self._put(items.mark(self.new, key), {**about, items.EPOCH: 0})

    def _put(self, key: items.Key, attributes: Mapping[str, Value]) -> None:
        self.made.append(items.keyed(key, attributes))


def _began(item: Item) -> int:
    return items.number(item, items.BEGAN, items.number(item, items.AT))


def _has_value(record: Item) -> bool:
    return items.VALUE in record or items.POINTER in record
