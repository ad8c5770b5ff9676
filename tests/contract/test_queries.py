"""Reading the Table port, on every backend: order, prefixes, pages, the index. DynamoDB orders keys by their bytes."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from polos.core import items
from polos.core.conditions import Change, Item
from polos.core.items import Key
from polos.ports import Table
from tests.contract.backends import Side


def sks(found: list[Item]) -> list[Any]:
    return [item["sk"] for item in found]


# ---- queries

ROWS = [
    "a",
    "e#0001#x",
    "e#0001#y",
    "e#0002#",
    "e#0010#a",
    "f",
    "r#",
    "r#\x01",
    "r#b",
    "r#ä",
    "r#\uffff",
    "r#\U0001f600",
]


@pytest.fixture
def filled(table: Table, pk: str) -> Table:
    for sk in reversed(ROWS):
        table.put({"pk": pk, "sk": sk})
        table.put({"pk": f"{pk}x", "sk": sk})
    return table


def test_a_partition_comes_in_the_order_of_its_keys_bytes(filled: Table, pk: str) -> None:
    assert sks(filled.query(pk)) == ROWS
    assert sks(filled.query(pk, reverse=True)) == ROWS[::-1]
    assert filled.query(f"{pk}-none") == []


PREFIXES = ["", "e#", "e#0001", "e#0001#x", "e#3", "r#", "z"]
AFTERS = ["", "e", "e#0001#x", "e#0001#xx", "e#0010#b", "r#", "r#\uffff", "zz"]


@pytest.mark.parametrize("limit", [None, 2])
def test_a_query_by_prefix_after_and_limit(filled: Table, pk: str, limit: int | None) -> None:
    for prefix, after in itertools.product(PREFIXES, AFTERS):
        wanted = [sk for sk in ROWS if sk.startswith(prefix) and sk > after][:limit]
        assert sks(filled.query(pk, prefix=prefix, after=after, limit=limit)) == wanted, (prefix, after)


@pytest.mark.parametrize("limit", [None, 1, 3])
def test_a_query_in_reverse_does_not_look_at_after(filled: Table, pk: str, limit: int | None) -> None:
    for prefix in PREFIXES:
        wanted = [sk for sk in ROWS[::-1] if sk.startswith(prefix)][:limit]
        assert sks(filled.query(pk, prefix=prefix, limit=limit, reverse=True)) == wanted
        assert sks(filled.query(pk, prefix=prefix, after="e#0001#x", limit=limit, reverse=True)) == wanted


def test_a_partition_of_more_than_a_megabyte_is_read_whole(table: Table, pk: str) -> None:
    names = [f"r#{n:02d}" for n in range(14)]
    for n, name in enumerate(names):
        table.put({"pk": pk, "sk": name, "v": bytes([n]) * 200_000})

    found = table.query(pk)
    assert sks(found) == names
    assert all(item["v"] == bytes([n]) * 200_000 for n, item in enumerate(found))
    assert sks(table.query(pk, prefix="r#", after="r#01", limit=9)) == names[2:11]
    assert sks(table.query(pk, limit=9, reverse=True)) == names[:4:-1]


def test_a_write_is_seen_by_the_next_read_of_another_view(shared: Side, pk: str) -> None:
    other = shared.peer().table
    for n in range(20):
        shared.table.put({"pk": pk, "sk": "x", "n": n})
        assert (other.get(Key(pk, "x")) or {})["n"] == n
        assert other.query(pk)[0]["n"] == n


# ---- the index


def listed(table: Table, pk: str) -> tuple[str, list[str]]:
    bucket, names = f"{pk}#0", [f"{n:04d}#{pk}" for n in range(6)]
    for n, name in enumerate(names):
        about: Item = {items.WORKFLOW: "flow", items.BUCKET: bucket, items.BUCKET_SORT: name, "more": 1}
        table.put({"pk": f"{pk}-{n}", "sk": "x", **about})
    table.put({"pk": f"{pk}-9", "sk": "x", items.BUCKET: f"{pk}#1", items.BUCKET_SORT: names[0]})
    return bucket, names


def test_a_bucket_of_the_index_comes_newest_first(table: Table, pk: str) -> None:
    bucket, names = listed(table, pk)

    found = table.by_start(bucket)
    assert [item[items.BUCKET_SORT] for item in found] == names[::-1]
    needed = {items.PK: f"{pk}-5", items.SK: "x", items.WORKFLOW: "flow", items.BUCKET_SORT: names[5]}
    assert needed.items() <= found[0].items()
    assert "more" not in found[0]
    assert [item[items.BUCKET_SORT] for item in table.by_start(bucket, reverse=False, limit=2)] == names[:2]
    assert table.by_start(f"{bucket}-none") == []


def test_the_ends_of_a_span_of_the_index_are_not_in_it(table: Table, pk: str) -> None:
    """A page goes on where the one before ended, without its last line."""
    bucket, names = listed(table, pk)

    def span(**options: Any) -> list[Any]:
        return [item[items.BUCKET_SORT] for item in table.by_start(bucket, **options)]

    assert span(until=names[4]) == names[3::-1]
    assert span(since=names[1]) == names[:1:-1]
    assert span(since=names[1], until=names[4]) == [names[3], names[2]]
    assert span(since=names[1], until=names[4], limit=1) == [names[3]]
    assert span(since=names[1], until=names[4], limit=1, reverse=False) == [names[2]]
    assert span(since=names[3], until=names[3]) == []
    assert span(since="0002", until="0003~", limit=9) == [names[3], names[2]]
    assert span(since=names[4], until=names[1]) == []


def test_what_moves_out_of_the_index_is_not_listed(table: Table, pk: str) -> None:
    bucket, names = listed(table, pk)
    table.delete(Key(f"{pk}-5", "x"))
    table.update(Key(f"{pk}-4", "x"), Change(remove=(items.BUCKET, items.BUCKET_SORT)))

    assert [item[items.BUCKET_SORT] for item in table.by_start(bucket)] == names[3::-1]
