"""What the reference run costs on AWS: every billed request counted, at us-east-1 list prices.

The reference run (SPEC 9): 10 steps, 1 timer, 1 event wait, 1 child of 1 step. Prices in $ per million, as AWS listed
them in 2025: DynamoDB on demand 0.625 a write unit (1 KB), 0.125 a read unit (4 KB, consistent); SQS standard 0.40 a
request; EventBridge 1.00 an event; Scheduler 1.00 an invocation. Lambda's own price is not part of it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

from polos import WorkflowContext, workflow
from polos.core import items
from polos.core.conditions import Change, Condition, Item
from polos.core.items import Key
from polos.ports import ConditionFailed, Table
from polos.testing import Environment

PRICES = {
    "write units": 0.625,
    "index write units": 0.625,
    "read units": 0.125,
    "SQS sends": 0.40,
    "SQS receives": 0.40,
    "SQS deletes": 0.40,
    "SQS visibility changes": 0.40,
    "rule deliveries to SQS": 0.40,
    "events published": 1.00,
    "timers": 1.00,
}
LIMIT = 32.0


def work(number: int) -> dict[str, Any]:
    return {"number": number, "text": "result of a usual size", "tags": ["a", "b", "c"]}


@workflow(id="bench_cost_child")
async def child(ctx: WorkflowContext, number: int) -> int:
    await ctx.step.run("only", work, number)
    return number


@workflow(id="bench_cost_reference")
async def reference(ctx: WorkflowContext, number: int) -> int:
    for step in range(5):
        await ctx.step.run(f"before_{step}", work, step)
    await ctx.step.wait_for("timer", minutes=5)
    await ctx.step.wait_for_event("event", topic="bench/cost")
    await ctx.step.invoke_and_wait("child", child, number)
    for step in range(5):
        await ctx.step.run(f"after_{step}", work, step)
    return number


def size(item: Item) -> int:
    """Bytes of an item by DynamoDB's rule: UTF-8 names and values, numbers at half their digits (Developer Guide)."""
    total = 0
    for name, value in item.items():
        total += len(name.encode())
        match value:
            case bool():
                total += 1
            case int():
                total += len(str(value)) // 2 + 2
            case str():
                total += len(value.encode())
            case bytes():
                total += len(value)
            case _:
                total += 3 + sum(1 + len(str(member).encode()) for member in value)
    return total


class Meter:
    """A table that adds up units by item size."""

    def __init__(self, table: Table, units: Counter[str]) -> None:
        self._table, self._units = table, units

    def _written(self, item: Item) -> None:
        self._units["write units"] += -(-size(item) // 1024)

    def _read(self, found: Sequence[Item]) -> None:
        self._units["read units"] += max(1, -(-sum(size(item) for item in found) // 4096))

    def get(self, key: Key) -> Item | None:
        found = self._table.get(key)
        self._read([found] if found is not None else [])
        return found

    def get_many(self, keys: Sequence[Key]) -> list[Item]:
        found = self._table.get_many(keys)
        for item in found:
            self._read([item])
        return found

    def put(self, item: Item, condition: Condition | None = None) -> None:
        self._written(item)
        if items.BUCKET in item:
            self._units["index write units"] += 1
        self._table.put(item, condition)

    def update(self, key: Key, change: Change, condition: Condition | None = None) -> Item:
        try:
            item = self._table.update(key, change, condition)
        except ConditionFailed:
            self._units["write units"] += 1
            raise
        self._written(item)
        if items.BUCKET in change.default and item[items.EPOCH] == 1 and "/" in key.pk:
            self._units["index write units"] += 1  # the claim created the child
        return item

    def delete(self, key: Key, condition: Condition | None = None) -> None:
        self._units["write units"] += 1
        self._table.delete(key, condition)

    def query(self, pk: str, **options: Any) -> list[Item]:
        found = self._table.query(pk, **options)
        self._read(found)
        return found

    def by_start(self, bucket: str, **options: Any) -> list[Item]:
        return self._table.by_start(bucket, **options)


async def measure() -> Counter[str]:
    """Billed units of one reference run."""
    units: Counter[str] = Counter()
    async with Environment(workflows=[reference, child]) as env:
        engine = env.harness.engine
        engine.table = Meter(engine.table, units)
        engine.ledger.table = engine.table
        handle = await env.start(reference, 1)
        await env.advance(minutes=6)
        await env.publish("bench/cost", {"ok": True})
        await env.settle()
        assert (await env.describe(handle)).status == "completed"
        spent = env.requests
        sends, published = spent["SendMessage"], spent["PutEvents"]
        units["SQS sends"] = sends
        units["rule deliveries to SQS"] = units["events published"] = published
        units["timers"] = spent["CreateSchedule"]
        handled = spent["ReceiveMessage"]
        units["SQS receives"] = units["SQS deletes"] = handled
        detail = await env.client.describe(handle.id)
        children = [await env.client.describe(one) for one in detail.children]
        units["SQS visibility changes"] = detail.invocations + sum(one.invocations for one in children)
        units["read units"] -= 2 + len(children)  # what this function itself looked at
    return units


def cost(units: Counter[str]) -> float:
    """Dollars per million runs."""
    return sum(PRICES[name] * number for name, number in units.items())


def main() -> None:
    units = asyncio.run(measure())
    print(f"{'per reference run':28}{'number':>8}{'$ per million runs':>22}")
    for name, price in PRICES.items():
        print(f"{name:28}{units[name]:>8}{units[name] * price:>22.2f}")
    print(f"{'total':28}{'':>8}{cost(units):>22.2f}   (limit {LIMIT:.0f})")


if __name__ == "__main__":
    main()
