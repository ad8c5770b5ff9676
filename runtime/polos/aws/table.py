"""The one DynamoDB table as the Table port.

What it holds (keys and attributes are spelled in `polos.core.items`, and nowhere else):

    execution         pk execution id   x       status, lease, epoch, wake count, what its start said
    long payloads                       p#      payload, result, final state and a successor's payload over 500 bytes
    step records                        r#      one outcome, armed wait or failed attempt a key
    resumes                             u#      what somebody resumed a step with
    marks                               s#      child started, suspend shown, at_most_once begun
    batches                             b# f#   outcomes of children, and the set of those that ended
    orders                              o#      in what order outcomes were observed
    descendants                         v#      those that have been open for long
    events, waiters   pk t#TOPIC        e# w#
    slots, waiting    pk q#QUEUE#KEY    slots w#
    schedules         pk c#WORKFLOW#KEY schedule
    pauses, held      pk h# h#NUMBER    paused w#
    listing           pk l#             first   before which month there is nothing
    batched events    pk g#WORKFLOW     collector e#
                      pk d#WORKFLOW#EVENT-ID event
                      pk g#             w#      workflows whose waiting events have payloads beside the table

Must not decide: a condition comes in, and its failure goes out with the stored item (`ReturnValuesOnConditionCheck\
Failure` ALL_OLD: PutItem, UpdateItem and DeleteItem in the API reference), so that no second read is needed.
What an execution stores beside its item expires at `Limits.horizon` after it was put, or renewed (`engine.retention`).
Every read of the table is consistent; the index cannot be (Developer Guide, "Read consistency").
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from polos.aws import faults, values
from polos.aws.conditions import Expressions
from polos.core import items
from polos.core.conditions import Change, Condition, Exists, Item, Value
from polos.core.items import Key
from polos.errors import BackendError
from polos.ports import Clock, ConditionFailed

_BATCH = 100  # BatchGetItem: at most 100 items
_LAST = "\U0010ffff"


class DynamoTable:
    """Costs are those of the port; a client's own retries of throttled requests come on top. Thread-safe."""

    def __init__(self, client: Any, name: str, clock: Clock, horizon: float | None = None) -> None:
        self._client, self._name, self._clock, self._horizon = client, name, clock, horizon

    def get(self, key: Key) -> Item | None:
        answer = faults.call(self._client.get_item, TableName=self._name, Key=_attributes(key), ConsistentRead=True)
        found = answer.get("Item")
        return None if found is None else _read(found)

    def get_many(self, keys: Sequence[Key]) -> list[Item]:
        distinct = list(dict.fromkeys(keys))
        found: list[Item] = []
        for start in range(0, len(distinct), _BATCH):
            found += self._get_batch([_attributes(key) for key in distinct[start : start + _BATCH]])
        return found

    def _get_batch(self, keys: list[dict[str, Any]]) -> list[Item]:
        """BatchGetItem leaves out what would pass 16 MB or was throttled: those are asked for again."""
        found: list[Item] = []
        attempt = 0
        while keys:
            request = {self._name: {"Keys": keys, "ConsistentRead": True}}
            answer = faults.call(self._client.batch_get_item, RequestItems=request)
            got = answer.get("Responses", {}).get(self._name, [])
            found += [_read(item) for item in got]
            left = answer.get("UnprocessedKeys", {}).get(self._name, {}).get("Keys", [])
            if left and not got:
                attempt += 1
                if attempt == faults.ATTEMPTS:
                    raise BackendError(f"DynamoDB throttled a read of {len(left)} items; it is tried again later.")
                faults.pause(self._clock, attempt)
            keys = left
        return found

    def put(self, item: Item, condition: Condition | None = None) -> None:
        expressions = Expressions()
        text = "" if condition is None else expressions.condition(condition)
        self._write(
            self._client.put_item,
            Item=values.to_item({**item, **self._expiry(str(item[items.PK]), str(item[items.SK]))}),
            **expressions.parameters(ConditionExpression=text),
        )

    def update(self, key: Key, change: Change, condition: Condition | None = None) -> Item:
        expressions = Expressions()
        text = "" if condition is None else expressions.condition(condition)
        expiry = self._expiry(key.pk, key.sk)
        if expiry:
            change = replace(change, set={**change.set, **expiry})
        answer = self._write(
            self._client.update_item,
            Key=_attributes(key),
            ReturnValues="ALL_NEW",
            **expressions.parameters(UpdateExpression=expressions.change(change), ConditionExpression=text),
        )
        return _read(answer["Attributes"])

    def delete(self, key: Key, condition: Condition | None = None) -> None:
        expressions = Expressions()
        text = "" if condition is None else expressions.condition(condition)
        try:
            self._write(
                self._client.delete_item,
                Key=_attributes(key),
                **expressions.parameters(ConditionExpression=text),
            )
        except ConditionFailed as failed:
            if failed.item is not None:
                raise

    def query(
        self,
        pk: str,
        *,
        prefix: str = "",
        after: str = "",
        limit: int | None = None,
        reverse: bool = False,
    ) -> list[Item]:
        expressions = Expressions()
        lower = "" if reverse else after
        terms = [f"{expressions.name(items.PK)} = {expressions.value(pk)}"]
        if prefix and lower < prefix:
            terms.append(f"begins_with({expressions.name(items.SK)}, {expressions.value(prefix)})")
        elif prefix:  # only one condition on the sort key: from just after `lower` to the end of the prefix
            if lower >= prefix + _LAST:
                return []
            low, high = expressions.value(f"{lower}\0"), expressions.value(f"{prefix}{_LAST}")
            terms.append(f"{expressions.name(items.SK)} BETWEEN {low} AND {high}")
        elif lower:
            terms.append(f"{expressions.name(items.SK)} > {expressions.value(lower)}")
        return self._pages(
            limit,
            ConsistentRead=True,
            ScanIndexForward=not reverse,
            **expressions.parameters(KeyConditionExpression=" AND ".join(terms)),
        )

    def renew(self, execution_id: str) -> list[Item]:
        found = [item for item in self.query(execution_id) if item[items.SK] != items.EXECUTION]
        for item in found:
            with contextlib.suppress(ConditionFailed):  # it was removed meanwhile
                self.update(Key(execution_id, str(item[items.SK])), Change(), Exists())
        return found

    def by_start(
        self, bucket: str, *, since: str = "", until: str = "~", limit: int = 100, reverse: bool = True
    ) -> list[Item]:
        if since >= until:
            return []
        expressions = Expressions()
        hash_key, sort_key = expressions.name(items.BUCKET), expressions.name(items.BUCKET_SORT)
        term = f"{hash_key} = {expressions.value(bucket)} AND {sort_key} "
        if since:  # an empty string is no key value
            term += f"BETWEEN {expressions.value(since)} AND {expressions.value(until)}"
        else:
            term += f"<= {expressions.value(until)}"
        found = self._pages(
            limit + 2,  # BETWEEN has both ends in it
            IndexName=items.INDEX,
            ScanIndexForward=not reverse,
            **expressions.parameters(KeyConditionExpression=term),
        )
        return [item for item in found if item[items.BUCKET_SORT] not in (since, until)][:limit]

    def _expiry(self, pk: str, sk: str) -> dict[str, Value]:
        """When an item expires that an execution has stored: at the horizon, unless it is renewed. It costs nothing."""
        if self._horizon is None or not _is_stored_by_execution(pk, sk):
            return {}
        return {items.TTL: int(self._clock.now().timestamp() + self._horizon)}

    def _pages(self, limit: int | None, **parameters: Any) -> list[Item]:
        """Every page up to `limit` items; a page ends at 1 MB ("Paginating table query results in DynamoDB")."""
        found: list[Item] = []
        while limit is None or len(found) < limit:
            if limit is not None:
                parameters["Limit"] = limit - len(found)
            answer = faults.call(self._client.query, TableName=self._name, **parameters)
            found += [_read(item) for item in answer["Items"]]
            if "LastEvaluatedKey" not in answer:
                break
            parameters["ExclusiveStartKey"] = answer["LastEvaluatedKey"]
        return found

    def _write(self, method: Any, **parameters: Any) -> Any:
        if "ConditionExpression" in parameters:
            parameters["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        try:
            return method(TableName=self._name, **parameters)
        except ClientError as error:
            if faults.code_of(error) != "ConditionalCheckFailedException":
                raise faults.explained(error) from error
            stored = faults.answer_of(error).get("Item")
            raise ConditionFailed(_read(stored) if stored else None) from None
        except BotoCoreError as error:
            raise faults.explained(error) from error


def _is_stored_by_execution(pk: str, sk: str) -> bool:
    """Its records, marks, orders, payloads; no other partition is named without a '#'."""
    return "#" not in pk and sk != items.EXECUTION


def _read(item: Any) -> Item:
    """An item as it was put: when it expires is the table's own affair."""
    found = values.of_item(item)
    if _is_stored_by_execution(str(found.get(items.PK, "#")), str(found.get(items.SK))):
        found.pop(items.TTL, None)
    return found


def _attributes(key: Key) -> dict[str, Any]:
    return {items.PK: {"S": key.pk}, items.SK: {"S": key.sk}}
