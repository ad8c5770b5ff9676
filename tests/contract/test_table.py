"""The laws of the Table port, on every backend: conditions, changes, atomicity, order, pages."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from polos.core.conditions import (
    Absent,
    AllOf,
    AnyOf,
    AtMost,
    Change,
    Condition,
    Contains,
    Equals,
    Exists,
    Has,
    Item,
    Less,
    Not,
)
from polos.core.items import Key
from polos.ports import ConditionFailed, Table
from tests.contract.backends import Side

AT_ONCE = 8


@pytest.fixture
def at_once(shared: Side) -> Callable[[Callable[[Table, int], Any]], list[Any]]:
    """Do something in 8 threads at once; half of them come from another process's view, where there is one."""

    def run(act: Callable[[Table, int], Any]) -> list[Any]:
        tables = [shared.table, shared.peer().table]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(lambda n: act(tables[n % 2], n), range(AT_ONCE)))

    return run


def refused(write: Callable[[], object]) -> Item | None:
    """The stored item that a refused write carries."""
    with pytest.raises(ConditionFailed) as failed:
        write()
    return failed.value.item


def sks(found: list[Item]) -> list[Any]:
    return [item["sk"] for item in found]


# ---- values

EVERY_VALUE: dict[str, Any] = {
    "text": "ä\U0001f600\x00\n", "empty": "", "long": "x" * 5000, "number": -(1 << 53), "large": 1 << 62, "zero": 0,
    "bytes": b"\x00\xff", "no_bytes": b"", "yes": True, "no": False, "strings": ["a", "", "a"], "numbers": [1, 2, 1],
    "nothing": [], "set": frozenset({3, -1, 0}),
}  # fmt: skip


def test_every_kind_of_value_comes_back_by_every_way(table: Table, pk: str) -> None:
    item = {"pk": pk, "sk": "x", **EVERY_VALUE}
    table.put(item)

    ways = [
        table.get(Key(pk, "x")),
        table.get_many([Key(pk, "x")])[0],
        table.query(pk)[0],
        table.update(Key(pk, "x"), Change(set={"text": item["text"]})),
        refused(lambda: table.put(item, Absent())),
    ]
    for found in ways:
        assert found == item
        assert found is not None
        assert {name: type(value) for name, value in found.items()} == {name: type(v) for name, v in item.items()}


def test_an_item_given_away_is_not_changed_by_what_is_done_to_it(table: Table, pk: str) -> None:
    given: Item = {"pk": pk, "sk": "x", "list": ["a"]}
    table.put(given)
    given["list"].append("b")  # type: ignore[union-attr]
    table.query(pk)[0]["list"].append("c")  # type: ignore[union-attr]

    assert table.get(Key(pk, "x")) == {"pk": pk, "sk": "x", "list": ["a"]}


# ---- reads


def test_a_missing_item_is_none(table: Table, pk: str) -> None:
    table.put({"pk": pk, "sk": "x"})

    assert table.get(Key(pk, "y")) is None
    assert table.get(Key(f"{pk}-other", "x")) is None


def test_many_are_found_and_missing_ones_left_out(table: Table, pk: str) -> None:
    keys = [Key(pk, f"{n:03d}") for n in range(130)]
    for key in keys[::2]:
        table.put({"pk": key.pk, "sk": key.sk})

    assert sorted(sks(table.get_many(keys))) == sks(table.query(pk)) == [key.sk for key in keys[::2]]
    assert table.get_many([]) == []


# ---- conditions

STORED: dict[str, Any] = {"n": 5, "t": "m", "l": ["a", "b"], "flag": True}
HOLD: list[tuple[Condition, bool]] = [
    (Exists(), True), (Absent(), False), (Has("n"), True), (Has("no"), False),
    (Equals("n", 5), True), (Equals("n", 6), False), (Equals("no", 5), False), (Equals("t", "m"), True),
    (Equals("l", ["a", "b"]), True), (Equals("l", ["b", "a"]), False), (Equals("flag", True), True),
    (Less("n", 6), True), (Less("n", 5), False), (Less("no", 6), False), (Less("t", "n"), True),
    (AtMost("n", 5), True), (AtMost("n", 4), False), (AtMost("no", 5), False), (AtMost("t", "m"), True),
    (Contains("l", "a"), True), (Contains("l", "c"), False), (Contains("no", "a"), False),
    (Not(Has("no")), True), (Not(Equals("no", 5)), True), (Not(Less("n", 6)), False),
    (AllOf(Has("n"), Has("t")), True), (AllOf(Has("n"), Has("no")), False), (AllOf(), True),
    (AnyOf(Has("no"), Has("t")), True), (AnyOf(Has("no"), Absent()), False), (AnyOf(), False),
    (AllOf(AnyOf(Absent(), Less("n", 9)), Not(AnyOf(Equals("t", "z"), Contains("l", "z")))), True),
]  # fmt: skip
HOLD_OF_NOTHING: list[tuple[Condition, bool]] = [
    (Absent(), True), (Exists(), False), (Has("n"), False), (Equals("n", 5), False), (Less("n", 6), False),
    (Not(Has("n")), True), (Not(Equals("n", 5)), True), (AnyOf(Absent(), Has("n")), True), (AllOf(Exists()), False),
]  # fmt: skip


@pytest.mark.parametrize("verb", ["put", "update", "delete"])
def test_a_write_happens_if_and_only_if_its_condition_holds(table: Table, pk: str, verb: str) -> None:
    key, stored = Key(pk, "x"), {"pk": pk, "sk": "x", **STORED}
    writes: dict[str, Callable[[Condition], Any]] = {
        "put": lambda condition: table.put({"pk": pk, "sk": "x", "new": 1}, condition),
        "update": lambda condition: table.update(key, Change(set={"new": 1}), condition),
        "delete": lambda condition: table.delete(key, condition),
    }
    after = {"put": {"pk": pk, "sk": "x", "new": 1}, "update": {**stored, "new": 1}, "delete": None}
    for condition, holds in HOLD:
        table.put(stored)
        if holds:
            writes[verb](condition)
            assert table.get(key) == after[verb], condition
        else:
            assert refused(lambda condition=condition: writes[verb](condition)) == stored, condition
            assert table.get(key) == stored, condition


@pytest.mark.parametrize("verb", ["put", "update"])
def test_a_condition_on_a_missing_item(table: Table, pk: str, verb: str) -> None:
    for number, (condition, holds) in enumerate(HOLD_OF_NOTHING):
        key = Key(pk, str(number))

        def write(key: Key = key, condition: Condition = condition) -> None:
            if verb == "put":
                table.put({"pk": key.pk, "sk": key.sk, "new": 1}, condition)
            else:
                table.update(key, Change(set={"new": 1}), condition)

        if holds:
            write()
            assert table.get(key) == {"pk": pk, "sk": key.sk, "new": 1}, condition
        else:
            assert refused(write) is None, condition
            assert table.get(key) is None, condition


def test_deleting_what_is_not_there_is_no_error_whatever_the_condition(table: Table, pk: str) -> None:
    table.delete(Key(pk, "x"))
    table.delete(Key(pk, "x"), Equals("n", 5))
    table.delete(Key(pk, "x"), Absent())


# ---- changes


def test_a_put_replaces_the_whole_item(table: Table, pk: str) -> None:
    table.put({"pk": pk, "sk": "x", "a": 1})
    table.put({"pk": pk, "sk": "x", "b": 2})

    assert table.get(Key(pk, "x")) == {"pk": pk, "sk": "x", "b": 2}


CHANGES: list[tuple[str, dict[str, Any], Change, dict[str, Any]]] = [
    ("sets", {"a": 1}, Change(set={"a": 2, "b": "x"}), {"a": 2, "b": "x"}),
    ("defaults", {"a": 1}, Change(default={"a": 2, "b": 3}), {"a": 1, "b": 3}),
    ("adds", {"a": 1}, Change(add={"a": 2, "b": -3}), {"a": 3, "b": -3}),
    ("appends", {"a": ["x"]}, Change(append={"a": ["x", "y"], "b": ["z"]}), {"a": ["x", "x", "y"], "b": ["z"]}),
    (
        "unites",
        {"a": frozenset({1})},
        Change(union={"a": frozenset({1, 2}), "b": frozenset({3})}),
        {"a": frozenset({1, 2}), "b": frozenset({3})},
    ),
    ("removes", {"a": 1, "b": 2}, Change(remove=("a", "no")), {"b": 2}),
    ("adds to a default", {}, Change(default={"a": 5}, add={"a": 1}), {"a": 6}),
    ("adds beside a default", {"a": 1}, Change(default={"a": 5}, add={"a": 1}), {"a": 2}),
    ("appends to what it sets", {"a": ["x"]}, Change(set={"a": []}, append={"a": ["y"]}), {"a": ["y"]}),
    (
        "all at once",
        {"gone": 1, "n": 1},
        Change(
            set={"s": "x"}, default={"d": 1}, add={"n": 1}, append={"l": ["a"]},
            union={"u": frozenset({7})}, remove=("gone",),
        ),
        {"s": "x", "d": 1, "n": 2, "l": ["a"], "u": frozenset({7})},
    ),
]  # fmt: skip


def test_a_change_means_the_same_everywhere_and_shows_the_item_after_it(table: Table, pk: str) -> None:
    for sk, before, change, after in CHANGES:
        table.put({"pk": pk, "sk": sk, **before})
        shown = table.update(Key(pk, sk), change)
        assert shown == table.get(Key(pk, sk)) == {"pk": pk, "sk": sk, **after}, sk


def test_an_update_creates_what_is_missing(table: Table, pk: str) -> None:
    for sk, before, change, _ in CHANGES:
        if not before:
            continue
        fresh = change.apply({"pk": pk, "sk": sk})
        assert table.update(Key(pk, sk), change) == table.get(Key(pk, sk)) == fresh, sk


def test_a_union_that_adds_nothing_shows_the_whole_set(table: Table, pk: str) -> None:
    """What the fan-in of children rests on: whoever comes again sees that all are there."""
    change = Change(union={"m": frozenset({1})})
    table.update(Key(pk, "x"), Change(union={"m": frozenset({1, 2})}))

    assert table.update(Key(pk, "x"), change)["m"] == frozenset({1, 2})


# ---- atomicity


def test_of_eight_writers_exactly_one_puts_and_the_others_see_its_item(table: Table, pk: str, at_once: Any) -> None:
    for turn in range(5):
        item = {"pk": pk, "sk": str(turn)}

        def put(view: Table, n: int, item: dict[str, Any] = item) -> Item | None:
            try:
                view.put({**item, "w": n}, Absent())
            except ConditionFailed as failed:
                return failed.item
            return None

        seen = at_once(put)
        stored = table.get(Key(pk, str(turn)))
        assert stored is not None
        assert [n for n, one in enumerate(seen) if one is None] == [stored["w"]]
        assert all(one in (None, stored) for one in seen)


def test_of_eight_that_compare_and_swap_exactly_one_wins(table: Table, pk: str, at_once: Any) -> None:
    table.put({"pk": pk, "sk": "x", "epoch": 0})
    for epoch in range(5):

        def swap(view: Table, n: int, epoch: int = epoch) -> bool:
            try:
                view.update(Key(pk, "x"), Change(set={"owner": n}, add={"epoch": 1}), Equals("epoch", epoch))
            except ConditionFailed as failed:
                return not (failed.item is not None and failed.item["epoch"] == epoch + 1)
            return True

        assert sum(at_once(swap)) == 1
    assert (table.get(Key(pk, "x")) or {})["epoch"] == 5


def test_of_eight_that_delete_exactly_one_deletes(table: Table, pk: str, at_once: Any) -> None:
    """Each writer moves the item on only from what it has read."""
    table.put({"pk": pk, "sk": "x", "n": 1})

    def take(view: Table, n: int) -> bool:
        try:
            view.update(Key(pk, "x"), Change(set={"taken": n}), AllOf(Exists(), Not(Has("taken"))))
        except ConditionFailed:
            return False
        view.delete(Key(pk, "x"), Equals("taken", n))
        return True

    assert sum(at_once(take)) == 1
    assert table.get(Key(pk, "x")) is None


def test_nothing_that_eight_add_at_once_is_lost(table: Table, pk: str, at_once: Any) -> None:
    def add(view: Table, n: int) -> None:
        for turn in range(5):
            view.update(
                Key(pk, "x"),
                Change(add={"count": 1}, append={"list": [f"{n}-{turn}"]}, union={"set": frozenset({n * 10 + turn})}),
            )

    at_once(add)
    item = table.get(Key(pk, "x"))
    assert item is not None
    assert item["count"] == 40
    assert sorted(item["list"]) == sorted(f"{n}-{turn}" for n in range(8) for turn in range(5))  # type: ignore[arg-type]
    assert item["set"] == frozenset(n * 10 + turn for n in range(8) for turn in range(5))


def test_the_sizes_that_eight_see_when_they_enter_a_set_are_all_different(pk: str, at_once: Any) -> None:
    """So exactly one of them is the last to come."""

    def enter(view: Table, n: int) -> int:
        return len(view.update(Key(pk, "x"), Change(union={"m": frozenset({n})}))["m"])  # type: ignore[arg-type]

    assert sorted(at_once(enter)) == [1, 2, 3, 4, 5, 6, 7, 8]
