"""Children that a parent has started and whose start is still on its way: what the parent has on record of them.

A child costs its parent one send and one record (SPEC 9), so between the two and the delivery of the start nothing is
in the child's own partition. Who asks for it then is told what the parent knows: it is queued.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Final

from polos.core import items
from polos.core.conditions import Item
from polos.core.identity import child_id, is_execution_id
from polos.engine import commands
from polos.engine.engine import Engine

_READABLE: Final = re.compile(r"(?P<key>[A-Za-z0-9_.-]{1,40})(@[0-9]+)?(:[0-9]+)?")


def of_parent(engine: Engine, execution_id: str) -> Item | None:
    """What a parent's records say of a child that is not there, as its item. None: nothing, or it may have expired.

    A child that was started less than the retention ago can't have expired. At most 3 requests, or where the step's key
    can't be told from the child's id, 1 and 1 per MB of the parent's records. None for a child whose id is over 200
    characters, of a parent whose own is over 100: it does not tell the parent's.
    """
    parent_id, _, name = execution_id.rpartition("/") if is_execution_id(execution_id) else ("", "", "")
    if not is_execution_id(parent_id):
        return None
    parent = engine.table.get(items.execution(parent_id))
    if parent is None or items.WORKFLOW not in parent:
        return None
    since = engine.now() - int(engine.limits.retention * 1000)
    for step in _steps(engine, parent_id, name):
        found = _started(engine, step, execution_id, parent_id) if items.number(step, items.AT) > since else None
        if found is not None:
            return _item(execution_id, parent, step, *found)
    return None


def _steps(engine: Engine, parent_id: str, name: str) -> Iterable[Item]:
    """The records and marks that may be about a child whose id ends so."""
    readable = _READABLE.fullmatch(name)
    if readable is None:
        return [one for prefix in ("s#", "r#") for one in engine.table.query(parent_id, prefix=prefix)]
    key = readable["key"]
    return engine.table.get_many([items.mark(parent_id, key), items.record(parent_id, key)])


def _started(engine: Engine, step: Item, execution_id: str, parent_id: str) -> tuple[str, dict[str, int]] | None:
    """The workflow of a child that a record or a mark says was started, and its place if it is one of a batch.

    Not told by a record of kind "child", which is the outcome of one, nor by the mark of a batch that is waited for,
    which names no workflows.
    """
    kind, is_record = items.text(step, items.KIND), items.text(step, items.SK).startswith("r#")
    if kind == ("invoke" if is_record else "child") and items.text(step, items.CHILD) == execution_id:
        return items.text(step, items.WORKFLOW), {}
    if kind == "batch_invoke" and is_record:
        key, count = items.text(step, items.SK)[2:], items.number(step, items.COUNT)
        for index in range(count):
            if child_id(parent_id, key, items.number(step, items.GENERATION), index) == execution_id:
                handles = json.loads(engine.vault.fetch_item(step))
                return handles[index]["workflow_id"], {"i": index, "n": count}
    return None


def _item(execution_id: str, parent: Item, step: Item, workflow_id: str, place: dict[str, int]) -> Item:
    before = items.document(parent, items.START)
    options: dict[str, Any] = {
        "root": commands.root_of(parent),
        "parent": {
            "x": items.text(parent, items.PK),
            "k": items.text(step, items.SK)[2:],
            "wf": items.text(parent, items.WORKFLOW),
            **place,
        },
        **{name: before[name] for name in ("session", "user") if name in before},
    }
    about = {
        items.WORKFLOW: workflow_id,
        items.CREATED: items.number(step, items.AT),
        items.STATUS: "queued",
        items.START: items.as_document(options),
    }
    return items.keyed(items.execution(execution_id), about)
