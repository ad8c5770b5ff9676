"""What a condition or a change means on DynamoDB is what polos.core.conditions says."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polos.aws.conditions import Expressions
from polos.aws.table import DynamoTable
from polos.clock import SystemClock
from polos.core import conditions as c
from polos.core.conditions import Change, Condition, Item
from polos.core.items import Key
from polos.ports import ConditionFailed
from polos.testing.harness import EPOCH, VirtualClock
from polos.testing.moto_account import MotoAccount

_keys = itertools.count()
_relaxed = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(scope="module")
def table() -> Iterator[DynamoTable]:
    account = MotoAccount(VirtualClock(EPOCH, SystemClock()), Counter())
    yield DynamoTable(account.runtime.dynamodb, account.settings.table, account.clock)
    account.close()


words = st.sampled_from(["", "a", "ab", "b", "\U0001f600"])
numbers = st.sampled_from([-1, 0, 1, 2, 1 << 62])
values: dict[str, st.SearchStrategy[c.Value]] = {
    "status": words,
    "name": words,
    "count": numbers,
    "until": numbers,
    "data": st.sampled_from([b"", b"x", b"\x00\xff"]),
    "flag": st.booleans(),
    "list": st.lists(words, max_size=3),
    "ticks": st.lists(numbers, max_size=2),
    "members": st.frozensets(numbers, min_size=1, max_size=3),
}
attributes = st.fixed_dictionaries({}, optional=values)


def _compared(kind: type[c.Less] | type[c.AtMost]) -> st.SearchStrategy[Condition]:
    text = st.builds(kind, st.sampled_from(["status", "name", "missing"]), words)
    number = st.builds(kind, st.sampled_from(["count", "until", "missing"]), numbers)
    return st.one_of(text, number)


leaves: st.SearchStrategy[Condition] = st.one_of(
    st.builds(c.Absent),
    st.builds(c.Exists),
    st.builds(c.Has, st.sampled_from([*values, "missing"])),
    st.sampled_from(sorted(values)).flatmap(lambda name: st.builds(c.Equals, st.just(name), values[name])),
    _compared(c.Less),
    _compared(c.AtMost),
    st.builds(c.Contains, st.sampled_from(["list", "missing"]), words),
)
conditions: st.SearchStrategy[Condition] = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(c.Not, inner),
        st.lists(inner, max_size=3).map(lambda terms: c.AllOf(*terms)),
        st.lists(inner, max_size=3).map(lambda terms: c.AnyOf(*terms)),
    ),
    max_leaves=6,
)


@_relaxed
@given(stored=st.none() | attributes, condition=conditions)
def test_a_condition_on_dynamodb_means_what_holds_says(
    table: DynamoTable, stored: dict[str, c.Value] | None, condition: Condition
) -> None:
    key = Key(f"p{next(_keys)}", "x")
    item: Item | None = None
    if stored is not None:
        item = {"pk": key.pk, "sk": key.sk, **stored}
        table.put(item)

    if c.holds(condition, item):
        table.put({"pk": key.pk, "sk": key.sk, "written": 1}, condition)
    else:
        with pytest.raises(ConditionFailed) as failed:
            table.put({"pk": key.pk, "sk": key.sk, "written": 1}, condition)
        assert failed.value.item == item


names = st.sampled_from
changes = st.builds(
    Change,
    set=st.fixed_dictionaries({}, optional={"status": words, "count": numbers, "list": st.lists(words, max_size=2)}),
    default=st.fixed_dictionaries({}, optional={"status": words, "name": words, "until": st.integers(0, 9)}),
    add=st.dictionaries(names(["until", "other"]), st.integers(-5, 5), max_size=2),
    append=st.dictionaries(names(["list", "log"]), st.lists(words, min_size=1, max_size=2), max_size=2),
    union=st.dictionaries(names(["members"]), st.frozensets(st.integers(0, 5), max_size=2), max_size=1),
    remove=st.lists(names(["flag", "data", "status", "log", "until"]), max_size=3),
).filter(lambda change: change.set or change.default or change.remove)  # moto cannot make an update of nothing


@_relaxed
@given(
    stored=st.fixed_dictionaries({}, optional={**values, "until": st.integers(0, 9), "count": st.integers(0, 9)}),
    change=changes,
)
def test_a_change_on_dynamodb_means_what_apply_says(
    table: DynamoTable, stored: dict[str, c.Value], change: Change
) -> None:
    key = Key(f"p{next(_keys)}", "x")
    item: Item = {"pk": key.pk, "sk": key.sk, **stored}
    table.put(item)
    expected = {name: value for name, value in change.apply(item).items() if value != frozenset()}

    assert table.update(key, change) == expected
    assert table.get(key) == expected


def test_an_update_creates_a_missing_item(table: DynamoTable) -> None:
    key = Key(f"p{next(_keys)}", "x")

    item = table.update(key, Change(set={"status": "a"}, add={"count": 2}, append={"list": ["b"]}), c.Absent())

    assert item == {"pk": key.pk, "sk": key.sk, "status": "a", "count": 2, "list": ["b"]}


def test_every_name_is_a_placeholder() -> None:
    expressions = Expressions()
    text = expressions.condition(c.AllOf(c.Equals("status", "a"), c.Not(c.Has("status")), c.Less("ttl", 5)))

    assert text == "(#0 = :0 AND (NOT attribute_exists(#0)) AND #1 < :1)"
    assert expressions.parameters(ConditionExpression=text) == {
        "ConditionExpression": text,
        "ExpressionAttributeNames": {"#0": "status", "#1": "ttl"},
        "ExpressionAttributeValues": {":0": {"S": "a"}, ":1": {"N": "5"}},
    }
