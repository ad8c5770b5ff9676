"""The Table port in plain dicts. Every call is one request of the world, named after what it means to the protocol."""

from __future__ import annotations

import functools
from bisect import bisect_right, insort
from collections.abc import Sequence
from typing import TYPE_CHECKING

from polos.core import items
from polos.core.conditions import Change, Condition, Item, holds
from polos.core.items import Key
from polos.ports import ConditionFailed
from tests.chaos.sim.expiry import Expiry
from tests.chaos.sim.strands import here

if TYPE_CHECKING:
    from tests.chaos.sim.world import World

_NAMES_OF_PUTS = {
    "s#": "put mark",
    "o#": "put order",
    "u#": "put resume",
    "b#": "put batch outcome",
    "p#": "put beside",
    "x": "put start",
}
_NAMES_OF_READS = {"x": "read x", "slots": "read slots", "collector": "collector", "paused": "read paused"}
_STATES = {items.ARMED: "put armed", items.RETRYING: "put retrying", items.DECIDED: "put record"}


class SimTable:
    """The Table port. Items are never changed in place; `writes` counts the writes that took effect."""

    def __init__(self, world: World, expiry: Expiry) -> None:
        self._world, self.expiry = world, expiry
        self.partitions: dict[str, dict[str, Item]] = {}
        self._sorted: dict[str, list[str]] = {}
        self.writes = 0

    # ---- without a request: for the world and its laws

    def peek(self, pk: str, sk: str) -> Item | None:
        partition = self.partitions.get(pk)
        return None if partition is None else partition.get(sk)

    def _write(self, key: Key, item: Item | None) -> None:
        self.writes += 1
        before = self.peek(*key)
        if self._world.trace is not None:
            self._world.trace.wrote(before, item)
        if item is None:
            if before is not None:
                del self.partitions[key.pk][key.sk]
                self._sorted[key.pk].remove(key.sk)
        else:
            partition = self.partitions.setdefault(key.pk, {})
            if before is None:
                insort(self._sorted.setdefault(key.pk, []), key.sk)
            partition[key.sk] = item
            self.expiry.keep(self, key)
        self._world.observer.written.wrote(key, before, item)

    def forget(self, key: Key) -> None:
        """Remove what has expired: no write of anybody's."""
        del self.partitions[key.pk][key.sk]
        self._sorted[key.pk].remove(key.sk)

    # ---- the port

    def get(self, key: Key) -> Item | None:
        name = _NAMES_OF_READS.get(key.sk, "read item")

        def effect() -> Item | None:
            self.expiry.remove(self, key.pk)
            return self.peek(*key)

        return self._world.request(name, f"{key.pk} {key.sk}", effect)

    def get_many(self, keys: Sequence[Key]) -> list[Item]:
        def effect() -> list[Item]:
            return [item for key in keys if (item := self.peek(*key)) is not None]

        return self._world.request("read holders", ", ".join(key.pk for key in keys), effect)

    def put(self, item: Item, condition: Condition | None = None) -> None:
        key = Key(str(item["pk"]), str(item["sk"]))
        name = _name_of_put(key, item)
        self._world.observer.sends_write(here(), name, key, item)

        def effect() -> None:
            before = self.peek(*key)
            if condition is not None and not holds(condition, before):
                raise ConditionFailed(before)
            self._write(key, item)

        self._world.request(name, f"{key.pk} {key.sk}", effect)

    def update(self, key: Key, change: Change, condition: Condition | None = None) -> Item:
        name = _name_of_update(key, change)
        self._world.observer.sends_update(here(), name, key, change)

        def effect() -> Item:
            before = self.peek(*key)
            if condition is not None and not holds(condition, before):
                raise ConditionFailed(before)
            after = change.apply(before if before is not None else {items.PK: key.pk, items.SK: key.sk})
            self._write(key, after)
            return after

        return self._world.request(name, f"{key.pk} {key.sk}", effect)

    def delete(self, key: Key, condition: Condition | None = None) -> None:
        name = {"t#w#": "delete waiter", "q#w#": "delete place", "h#w#": "leave line"}.get(
            key.pk[:2] + key.sk[:2], "drop"
        )
        if key.pk[:2] in ("g#", "d#"):
            name = "gathered"

        def effect() -> None:
            before = self.peek(*key)
            if condition is not None and not holds(condition, before):
                raise ConditionFailed(before)
            if before is not None:
                self._write(key, None)

        self._world.request(name, f"{key.pk} {key.sk}", effect)

    def query(
        self, pk: str, *, prefix: str = "", after: str = "", limit: int | None = None, reverse: bool = False
    ) -> list[Item]:
        kind, found, reads = pk[:2], list[Item](), -1
        if kind == "t#":
            name = "look" if prefix == "e#" else "waiters"
        else:
            name = {"q#": "line", "g#": "collector", "h#": "held"}.get(kind, "read last" if reverse else "load")
        bound = "" if reverse else after

        def effect() -> tuple[list[Item], bool]:
            nonlocal reads
            reads = self.writes if reads < 0 else reads  # what is written between two pages need not be seen
            return self._page(pk, prefix, bound, None if limit is None else limit - len(found), reverse)

        while True:
            page, more = self._world.request(name, f"{pk} {prefix}", effect)
            found += page
            if not more:
                here().reads[pk] = reads
                return found
            bound = _behind(page)

    def _page(self, pk: str, prefix: str, bound: str, limit: int | None, reverse: bool) -> tuple[list[Item], bool]:
        """The next page, and whether there is another. `bound` is the last key of the page before."""
        partition, order = self.partitions.get(pk), self._sorted.get(pk, ())
        if not partition:
            return [], False
        self.expiry.remove(self, pk)
        keys = [sk for sk in order if sk.startswith(prefix) and (not bound or (sk < bound if reverse else sk > bound))]
        if reverse:
            keys.reverse()
        size, wanted = self._world.faults.page or len(keys), len(keys) if limit is None else limit
        return [partition[sk] for sk in keys[: min(size, wanted)]], min(wanted, len(keys)) > size

    def by_start(
        self, bucket: str, *, since: str = "", until: str = "~", limit: int = 100, reverse: bool = True
    ) -> list[Item]:
        def effect() -> list[Item]:
            found = [
                partition[items.EXECUTION]
                for partition in self.partitions.values()
                if partition.get(items.EXECUTION, {}).get(items.BUCKET) == bucket
            ]
            found = [one for one in found if since < items.text(one, items.BUCKET_SORT) < until]
            return sorted(found, key=lambda one: items.text(one, items.BUCKET_SORT), reverse=reverse)[:limit]

        return self._world.request("sweep", bucket, effect)

    def renew(self, execution_id: str) -> list[Item]:
        found = [item for item in self.query(execution_id) if item[items.SK] != items.EXECUTION]
        for item in found:
            key = Key(execution_id, str(item[items.SK]))
            self._world.request("renew item", f"{key.pk} {key.sk}", functools.partial(self.expiry.keep, self, key))
        return found

    def first_after(self, pk: str, sk: str) -> list[Item]:
        """The items of a partition behind a sort key, without a request."""
        order = self._sorted.get(pk, [])
        return [self.partitions[pk][one] for one in order[bisect_right(order, sk) :]]


def _behind(page: list[Item]) -> str:
    """The key after which the next page begins."""
    return str(page[-1][items.SK])


def _name_of_put(key: Key, item: Item) -> str:
    kind, sk = key.pk[:2], key.sk[:2]
    if kind == "t#":
        return "put waiter" if sk == "w#" else "put event"
    if kind in ("q#", "h#"):
        return "put place" if kind == "q#" else "put held"
    if kind in ("g#", "d#"):
        return "gathered"
    if sk == "r#":
        if items.CHILD in item and items.GENERATION in item and items.KIND in item and item[items.KIND] == "child":
            return "put child"
        return _STATES.get(str(item.get(items.STATE)), "put record")
    return _NAMES_OF_PUTS.get(sk, "put")


def _name_of_update(key: Key, change: Change) -> str:
    if key.sk == "slots":
        return "give slot" if items.LIMIT_COUNT in change.add and change.add[items.LIMIT_COUNT] < 0 else "take slot"
    if key == items.CONTROLS:
        return "unhold" if change.remove else "hold"
    if key.sk != items.EXECUTION:
        return {"f#": "fan in", "sc": "schedule", "co": "collector", "ev": "gathered"}.get(key.sk[:2], "update")
    given = change.set
    if items.LEASE_TOKEN in given:
        return "claim"
    if items.FINISHER in given:
        return "finish"
    if items.ENDED in given:
        return "terminate"
    if items.SPENT in given:
        return "suspend"
    if items.LEASE_UNTIL in given:
        return "renew"
    if items.GENERATION in given:
        return "retry"
    if items.PROGRESS in given:
        return "hand back"
    if items.CANCEL_AT in change.default:
        return "strike"
    if items.CANCEL in change.default:
        return "note cancel"
    if items.PAUSED in change.default or items.PAUSED in change.remove:
        return "pause"
    return "mark"
