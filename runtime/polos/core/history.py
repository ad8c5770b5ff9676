"""What an execution's partition says, as the replay needs it. Pure.

Laws: L1 (a decided record is what every replay sees), L4 (found by key), L8 (recorded orders).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from polos.core import items
from polos.core.conditions import Item


@dataclass
class History:
    """The records, marks and orders of one execution, as last read plus what this turn has written itself."""

    execution: Item
    loaded: bool = True
    records: dict[str, Item] = field(default_factory=dict[str, Item])
    marks: dict[str, Item] = field(default_factory=dict[str, Item])
    orders: dict[tuple[int, int], str] = field(default_factory=dict[tuple[int, int], str])
    attached: dict[str, Item] = field(default_factory=dict[str, Item])
    resumes: dict[str, Item] = field(default_factory=dict[str, Item])
    listed: dict[str, Item] = field(default_factory=dict[str, Item])
    batches: dict[str, dict[int, Item]] = field(default_factory=dict[str, "dict[int, Item]"])
    newest_epoch: int = 0

    @classmethod
    def of(cls, partition: Iterable[Item], execution: Item) -> History:
        """From all items of the partition; `execution` is used where the partition holds no execution item."""
        history = cls(execution)
        for item in partition:
            history.add(item)
        return history

    def add(self, item: Item) -> None:
        """Take in one item; a later version of the same item replaces it."""
        sk = items.text(item, items.SK)
        self.newest_epoch = max(self.newest_epoch, items.number(item, items.EPOCH) if sk != items.EXECUTION else 0)
        match sk[:2]:
            case "x":
                self.execution = item
            case "r#":
                self.records[sk[2:]] = item
            case "s#":
                self.marks[sk[2:]] = item
            case "u#":
                self.resumes[sk[2:]] = item
            case "o#":
                branch = int(sk[2])
                pairs = zip(items.numbers(item, items.TICKS), items.strings(item, items.KEYS), strict=True)
                self.orders.update({(branch, tick): key for tick, key in pairs})
            case "b#":
                key, index = sk[2:].rsplit("#", 1)
                self.batches.setdefault(key, {})[int(index)] = item
            case "p#":
                self.attached[sk] = item
            case "e#":
                self.listed[sk] = item
            case _:
                pass

    def decided(self, key: str) -> Item | None:
        """The record of a step that has its outcome, or None.

        The outcome of a child counts only if it is that of the child on record as started. Whoever started it may have
        died before it was put on record; the turn that asks for it mends that.
        """
        record = self.records.get(key)
        if record is None or record.get(items.STATE) != items.DECIDED:
            return None
        if items.CHILD in record and items.GENERATION in record:
            started = self.marks.get(key, {}).get(items.CHILD)
            return record if started == record[items.CHILD] else None
        return record

    @property
    def generation(self) -> int:
        """How often the execution was retried."""
        return items.number(self.execution, items.GENERATION)

    def batch(self, key: str) -> dict[int, Item]:
        """The outcomes of a batch's children by index, those of the generation in which the batch was started."""
        mark = self.marks.get(key)
        generation = self.generation if mark is None else items.number(mark, items.GENERATION)
        found = self.batches.get(key, {})
        return {index: one for index, one in found.items() if items.number(one, items.GENERATION) == generation}

    def began(self, key: str) -> int | None:
        """When a step began (ms): what says so, or else the first write about it."""
        found = (self.records.get(key, {}), self.marks.get(key, {}))
        said = [items.number(one, items.BEGAN) for one in found if items.BEGAN in one]
        return min(said or [items.number(one, items.AT) for one in found if items.AT in one], default=None)

    def kind(self, key: str) -> str | None:
        """The kind under which a key was recorded; None: never seen."""
        for where in (self.records, self.marks):
            if key in where and items.KIND in where[key]:
                return items.text(where[key], items.KIND)
        return None

    def asked(self, key: str) -> int | None:
        """Which of the operations that the body asked for a key was; None: no owner has written it, or an older one."""
        for where in (self.records, self.marks):
            if key in where and items.ASKED in where[key]:
                return items.number(where[key], items.ASKED)
        return None

    @property
    def cancel_at(self) -> int | None:
        """The tick at which a cancel was thrown into the body, if it was."""
        value = self.execution.get(items.CANCEL_AT)
        return value if isinstance(value, int) else None

    def struck_at(self, key: str) -> int | None:
        """When a cancel struck (ms), if it did after the body had asked for this operation."""
        moment, asked = items.numbers(self.execution, items.STRUCK) or (None, 0)
        return moment if (self.asked(key) or 0) <= asked else None
