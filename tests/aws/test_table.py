"""The Table port on DynamoDB."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from polos.aws import values
from polos.aws.table import DynamoTable
from polos.core import items
from polos.core.conditions import Absent, AtMost, Change, Equals
from polos.core.items import Key
from polos.errors import BackendError
from polos.ports import ConditionFailed
from polos.testing.harness import VirtualClock
from polos.testing.moto_account import MotoAccount


@pytest.fixture
def table(account: MotoAccount) -> DynamoTable:
    return DynamoTable(account.runtime.dynamodb, account.settings.table, account.clock)


def _put(table: DynamoTable, pk: str, *sks: str) -> None:
    for sk in sks:
        table.put({"pk": pk, "sk": sk})


def _sks(found: list[dict[str, Any]]) -> list[str]:
    return [item["sk"] for item in found]


def test_every_type_comes_back_as_it_was(table: DynamoTable) -> None:
    item = {
        "pk": "p", "sk": "x", "text": "ä\U0001f600", "empty": "", "number": -(1 << 63), "bytes": b"\x00\xff",
        "yes": True, "no": False, "strings": ["a", ""], "numbers": [1, 2], "none": [], "set": frozenset({3, 1}),
    }  # fmt: skip
    table.put(item)

    found = table.get(Key("p", "x"))

    assert found == item
    assert found is not None
    assert {name: type(value) for name, value in found.items()} == {name: type(v) for name, v in item.items()}


def test_a_value_of_another_type_is_refused_before_it_is_sent() -> None:
    with pytest.raises(TypeError, match="float"):
        values.to_item({"pk": 1.5})  # type: ignore[dict-item]


def test_an_attribute_of_an_unknown_type_is_refused() -> None:
    with pytest.raises(TypeError, match="'M'"):
        values.of_item({"x": {"M": {}}})


def test_a_missing_item_is_none(table: DynamoTable, requests: Counter[str]) -> None:
    assert table.get(Key("p", "x")) is None
    assert requests == {"GetItem": 1}


def test_a_condition_that_failed_gives_the_stored_item_in_one_request(
    table: DynamoTable, requests: Counter[str]
) -> None:
    table.put({"pk": "p", "sk": "x", "w": "first"})

    with pytest.raises(ConditionFailed) as put:
        table.put({"pk": "p", "sk": "x", "w": "second"}, Absent())
    with pytest.raises(ConditionFailed) as update:
        table.update(Key("p", "x"), Change(set={"w": "third"}), Equals("w", "other"))
    with pytest.raises(ConditionFailed) as missing:
        table.update(Key("p", "y"), Change(set={"w": "third"}), Equals("w", "other"))

    assert put.value.item == update.value.item == {"pk": "p", "sk": "x", "w": "first"}
    assert missing.value.item is None
    assert requests == {"PutItem": 2, "UpdateItem": 2}


def test_deleting_what_is_missing_is_no_error(table: DynamoTable) -> None:
    table.delete(Key("p", "x"))
    table.delete(Key("p", "x"), AtMost(items.EPOCH, 3))


def test_a_delete_is_conditional(table: DynamoTable) -> None:
    table.put({"pk": "p", "sk": "x", items.EPOCH: 4})

    with pytest.raises(ConditionFailed):
        table.delete(Key("p", "x"), AtMost(items.EPOCH, 3))
    table.delete(Key("p", "x"), AtMost(items.EPOCH, 4))

    assert table.get(Key("p", "x")) is None


def test_a_query_is_by_prefix_in_order(table: DynamoTable) -> None:
    _put(table, "p", "w#2", "e#1", "e#3", "e#2", "x", "e")
    _put(table, "q", "e#9")

    assert _sks(table.query("p")) == ["e", "e#1", "e#2", "e#3", "w#2", "x"]
    assert _sks(table.query("p", prefix="e#")) == ["e#1", "e#2", "e#3"]
    assert _sks(table.query("p", prefix="e#", after="e#1")) == ["e#2", "e#3"]
    assert _sks(table.query("p", prefix="e#", after="e#10")) == ["e#2", "e#3"]
    assert _sks(table.query("p", prefix="e#", after="a")) == ["e#1", "e#2", "e#3"]
    assert _sks(table.query("p", prefix="e#", after="e#3")) == []
    assert _sks(table.query("p", prefix="e#", after="z")) == []
    assert _sks(table.query("p", after="e#3")) == ["w#2", "x"]
    assert _sks(table.query("p", prefix="e#", limit=2)) == ["e#1", "e#2"]
    assert _sks(table.query("p", prefix="e#", limit=1, reverse=True)) == ["e#3"]
    assert _sks(table.query("p", prefix="e#", after="e#2", reverse=True)) == ["e#3", "e#2", "e#1"]
    assert table.query("none") == []


def test_a_query_reads_every_page(table: DynamoTable, requests: Counter[str]) -> None:
    for index in range(4):
        table.put({"pk": "p", "sk": f"r#{index}", "v": "x" * 390_000})
    requests.clear()

    assert len(table.query("p", prefix="r#")) == 4
    assert requests["Query"] >= 2
    assert len(table.query("p", prefix="r#", limit=3)) == 3


def test_many_keys_are_read_100_at_a_time(table: DynamoTable, requests: Counter[str]) -> None:
    _put(table, "p", *(f"x{index:03d}" for index in range(120)))
    requests.clear()

    found = table.get_many([*(Key("p", f"x{index:03d}") for index in range(130)), Key("p", "x000")])

    assert sorted(_sks(found)) == [f"x{index:03d}" for index in range(120)]
    assert requests == {"BatchGetItem": 2}
    assert table.get_many([]) == []


class Throttling:
    """A client whose batch reads leave keys unprocessed: all of them at first, then all but one."""

    def __init__(self, answers: int) -> None:
        self.answers, self.asked = answers, 0

    def batch_get_item(self, RequestItems: dict[str, Any]) -> dict[str, Any]:
        ((table, request),) = RequestItems.items()
        self.asked += 1
        assert request["ConsistentRead"]
        served = request["Keys"][:1] if self.asked > self.answers else []
        left = request["Keys"][len(served) :]
        return {
            "Responses": {table: served},
            "UnprocessedKeys": {table: {"Keys": left}} if left else {},
        }


def test_unprocessed_keys_are_asked_for_again(clock: VirtualClock) -> None:
    client = Throttling(2)

    found = DynamoTable(client, "t", clock).get_many([Key("p", "a"), Key("p", "b")])

    assert _sks(found) == ["a", "b"]
    assert client.asked == 4


def test_a_batch_read_that_stays_throttled_is_an_error(clock: VirtualClock) -> None:
    with pytest.raises(BackendError, match="throttled a read of 1 items"):
        DynamoTable(Throttling(99), "t", clock).get_many([Key("p", "a")])


def test_executions_are_found_by_start_time(table: DynamoTable) -> None:
    for stamp in ("001", "002", "003"):
        table.put({"pk": f"x{stamp}", "sk": "x", "gb": "2030-01-01#3", "gs": f"{stamp}#x", "wf": "w", "big": "b"})

    newest = table.by_start("2030-01-01#3", limit=2)

    assert [item["pk"] for item in newest] == ["x003", "x002"]
    assert newest[0] == {"pk": "x003", "sk": "x", "gb": "2030-01-01#3", "gs": "003#x", "wf": "w"}
    assert [item["pk"] for item in table.by_start("2030-01-01#3", since="002", reverse=False)] == ["x002", "x003"]
    assert [item["pk"] for item in table.by_start("2030-01-01#3", until="002")] == ["x001"]
    assert table.by_start("2030-01-01#3", since="2", until="1") == []
    assert table.by_start("2030-01-02#3") == []


def test_a_table_that_is_missing_says_what_to_do(account: MotoAccount) -> None:
    table = DynamoTable(account.runtime.dynamodb, "gone", account.clock)

    with pytest.raises(BackendError, match=r"part of the stack is missing.*deploy the stack again"):
        table.get(Key("p", "x"))
    with pytest.raises(BackendError, match="part of the stack is missing"):
        table.put({"pk": "p", "sk": "x"})
