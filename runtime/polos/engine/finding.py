"""Finding the execution that an id names: the newest link of a chain, or a child whose start is on its way."""

from __future__ import annotations

from polos.core import items
from polos.core.conditions import Item
from polos.core.identity import check_execution_id
from polos.engine import on_the_way, successors
from polos.engine.engine import Engine
from polos.errors import ExecutionNotFoundError, InvalidPayloadError


def find(engine: Engine, execution_id: str) -> Item:
    """The execution item, or that of the newest link of the chain that it went on as.

    1 request; for a chain that went on n times 2 log2(n) + 1. Raises `ExecutionNotFoundError`.
    """
    try:
        item = engine.table.get(items.execution(check_execution_id(execution_id)))
    except InvalidPayloadError:
        item = None
    if item is None or items.WORKFLOW not in item:
        raise ExecutionNotFoundError(str(execution_id))
    return _newest(engine, item)


def find_started(engine: Engine, execution_id: str) -> Item:
    """As `find`; a child whose start is on its way is what its parent has on record of it (`on_the_way.of_parent`)."""
    try:
        return find(engine, execution_id)
    except ExecutionNotFoundError:
        item = on_the_way.of_parent(engine, execution_id)
        if item is None:
            raise
        return item


def _newest(engine: Engine, item: Item) -> Item:
    """The newest link of a chain from one of its links; where the start of the next is on its way, this one as open.

    The first knows a late one, or that before it. From there, and from others, the ids of the links count up: strides
    double up to the first that is not there, and then halve.
    """
    link = items.number(item, items.LINK)
    for ahead in (link, link - 1) if link else ():
        late = engine.table.get(items.execution(successors.id_after(item, ahead)))
        if late is not None and items.WORKFLOW in late:
            item = late
            break
    stride, growing = 1, True
    while items.NEXT in item:
        following = engine.table.get(items.execution(successors.id_after(item, stride)))
        if following is not None and items.WORKFLOW in following:
            item, stride = following, stride * 2 if growing else max(1, stride // 2)
        elif stride > 1:
            growing, stride = False, stride // 2
        else:
            return {name: value for name, value in item.items() if name != items.ENDED} | {items.STATUS: "queued"}
    return item
