"""What a run of a case leaves behind, and in what it differs from the run in which nothing went wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from polos.aws import values
from polos.core import items
from polos.core.conditions import Item
from polos.testing import Environment
from tests.chaos.corpus import Case, Outside

_DRAWN = (
    (re.compile(r"\b[0-9a-f]{32}\b"), "ID"),
    (re.compile(r"\b[0-9a-f]{15}\b"), "TAG"),
    (re.compile(r"\b2030-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00"), "TIME"),
    (re.compile(r'"sequence_id": ?\d+'), "SEQUENCE"),
)
_STATES = {items.DECIDED: "decided", items.ARMED: "armed", items.RETRYING: "between two attempts"}


@dataclass
class Observed:
    """`records` by execution and sort key; `wrong` is what no run may leave behind."""

    result: Any
    statuses: dict[str, str] = field(default_factory=dict)
    records: dict[str, Any] = field(default_factory=dict)
    effects: dict[str, int] = field(default_factory=dict)
    keys: dict[str, list[str]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)


def all_items(env: Environment) -> list[Item]:
    """The whole table."""
    harness: Any = env.harness
    if hasattr(harness, "local"):
        return [json.loads(str(row[0])) for row in harness.local.database.read("SELECT body FROM items")]
    account = harness.account
    pages = account.aws.dynamodb.get_paginator("scan").paginate(TableName=account.settings.table)
    return [values.of_item(item) for page in pages for item in page["Items"]]


def observe(env: Environment, outside: Outside, result: Any) -> Observed:
    """Look at everything, once nothing moves any more."""
    seen = Observed(_named(result))
    found = all_items(env)
    ended: dict[str, Item] = {
        str(item[items.PK]): item
        for item in found
        if item[items.SK] == items.EXECUTION and items.WORKFLOW in item  # otherwise the tombstone of a cancel
    }
    for execution_id, item in ended.items():
        seen.statuses[_named(execution_id)] = str(item.get(items.STATUS))
        if items.ENDED not in item:
            seen.wrong.append(f"{execution_id} is still {item.get(items.STATUS)}, waiting for {item.get('wt')}")
        if items.LEASE_TOKEN in item:
            seen.wrong.append(f"{execution_id} has ended and holds a lease")
    for item in found:
        _look_at(env, seen, item)
    seen.effects = {_named(f"{execution}: {key}"): n for (execution, key), n in outside.effects.items()}
    seen.keys = {_named(f"{execution}: {key}"): sorted(keys) for (execution, key), keys in outside.keys.items()}
    seen.wrong += [
        f"{execution}: {key} had {len(keys)} idempotency keys"
        for (execution, key), keys in outside.keys.items()
        if len(keys) > 1
    ]
    seen.wrong += [f"{where} ran after it was recorded" for where in outside.repeated]
    seen.wrong += _left_in_queues(env)
    return seen


def _look_at(env: Environment, seen: Observed, item: Item) -> None:
    pk, sk = str(item[items.PK]), str(item[items.SK])
    if sk.startswith("r#"):
        state = _STATES[str(item.get(items.STATE))]
        seen.records[_named(f"{pk} {sk}")] = [state, item.get(items.KIND), _value(env, item), _failure(item)]
    elif sk.startswith("b#"):
        seen.records[_named(f"{pk} {sk}")] = [_value(env, item), _failure(item)]
    elif sk.startswith("w#") and pk.startswith("t#"):
        seen.wrong.append(f"the waiter {sk[2:]} is left on the topic {pk[2:]}")
    elif sk.startswith("w#") and pk.startswith("q#"):
        seen.wrong.append(f"the place {sk} is left in the queue {pk[2:]}")
    elif sk == "slots" and (items.number(item, items.LIMIT_COUNT) or any(name.startswith("h:") for name in item)):
        seen.wrong.append(f"a slot of the queue {pk[2:]} is still held: {dict(item)}")
    elif pk.startswith("g#") and sk.startswith("e#"):
        seen.wrong.append(f"the event {sk} is left for a batch of {pk[2:]}")


def _value(env: Environment, item: Item) -> Any:
    """What a record holds, wherever it is stored."""
    if items.VALUE not in item and items.POINTER not in item:
        return None
    return _named(env.harness.engine.vault.fetch_item(item))


def _failure(item: Item) -> Any:
    failure = items.document(item, items.FAILURE)
    return [failure.get("type"), _named(failure.get("message"))] if failure else None


def _named(value: Any) -> Any:
    """Without ids that were drawn, and without times."""
    text = named = value if isinstance(value, str) else repr(value)
    for pattern, name in _DRAWN:
        named = pattern.sub(name, named)
    return named if isinstance(value, str) or named != text else value


def _left_in_queues(env: Environment) -> list[str]:
    harness: Any = env.harness
    left: list[str] = []
    if harness.pending():
        left.append(f"{harness.pending()} messages are left in the queues")
    if hasattr(harness, "local"):
        left += [f"a dead message: {row}" for row in harness.local.database.read("SELECT body, reason FROM dead")]
    else:
        left += [f"a dead letter: {body}" for body in harness.dead_letters()]
    return left


def differences(case: Case, calm: Observed, seen: Observed, kills: int) -> list[str]:
    """What a crash has changed that it may not change."""
    found = list(seen.wrong)
    if seen.result != calm.result and not any(seen.result == other for other in case.also):
        found.append(f"the result is {_short(seen.result)} instead of {_short(calm.result)}")
    found += _differ("status", calm.statuses, seen.statuses, case.loose)
    found += _differ("record", calm.records, seen.records, case.loose)
    for where, count in calm.effects.items():
        if where.partition(": ")[0] in case.loose:
            continue
        got = seen.effects.get(where, 0)
        most = count if case.never_again else count * (1 + kills)  # the attempts that left no record run again
        if not (0 if case.never_again else 1) <= got <= most:
            found.append(f"the side effect {where!r} happened {got} times instead of {count}")
    found += [
        f"the side effect {where!r} had the idempotency keys {seen.keys[where]} instead of {keys}"
        for where, keys in calm.keys.items()
        if seen.keys.get(where, keys) != keys and "ID" not in where  # the id of an execution may be drawn
    ]
    found += [
        f"the side effect {where!r} is new"
        for where in seen.effects
        if where not in calm.effects and where.partition(": ")[0] not in case.loose
    ]
    return found


def _differ(what: str, calm: Mapping[str, Any], seen: Mapping[str, Any], loose: frozenset[str]) -> list[str]:
    return [
        f"{what} of {where}: {_short(seen.get(where))} instead of {_short(calm.get(where))}"
        for where in sorted({*calm, *seen})
        if calm.get(where) != seen.get(where)
        and not loose.intersection((where.partition(" ")[0], where.partition(" ")[2], where))
    ]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 300 else f"{text[:300]}…"
