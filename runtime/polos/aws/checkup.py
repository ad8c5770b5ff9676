"""A look at a deployed stack: are its parts there, do they fit together, may the caller use them, what is dead.

Each check says one thing in one sentence. A check that the caller may not make is `unknown`, and names the permission
that it needs; the client policy of the stack is for clients and has few of them. Nothing is changed: the writes that
try a permission carry a condition that never holds, or match no rule.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Literal

from botocore.exceptions import BotoCoreError, ClientError

from polos.aws import faults, records
from polos.aws.clients import Clients
from polos.aws.recurrences import PREFIX as RECURRENCE
from polos.aws.settings import NAMES, Settings
from polos.core import items
from polos.errors import InvalidPayloadError

Verdict = Literal["ok", "wrong", "unknown"]
_PROBE: Final = "polos-doctor"
_LOOKED_AT: Final = 10
_DENIED: Final = "not allowed"
_AS_IT_SHOULD: Final = frozenset({"ConditionalCheckFailedException", "NoSuchKey"})


@dataclass(frozen=True, slots=True)
class Check:
    """`details` are for people: what is wrong one by one."""

    name: str
    verdict: Verdict
    said: str
    details: list[str] = field(default_factory=list[str])


class Checkup:
    """Some 25 requests, and 2 for each function of the stack."""

    def __init__(self, settings: Settings, clients: Clients | None = None) -> None:
        self._settings = settings
        self._clients = clients or Clients(settings.region)

    def all(self) -> Iterator[Check]:
        yield self._resources()
        yield self._permissions()
        yield self._functions()
        yield self._dead_letters()

    # ---- what is there

    def _resources(self) -> Check:
        own, clients = self._settings, self._clients
        parts: dict[str, Callable[[], Any]] = {
            f"the table {own.table}": lambda: clients.dynamodb.describe_table(TableName=own.table),
            f"the bucket {own.bucket}": lambda: clients.s3.head_bucket(Bucket=own.bucket),
            f"the bus {own.bus}": lambda: clients.events.describe_event_bus(Name=own.bus),
            f"the schedule group {own.schedule_group}": lambda: clients.scheduler.get_schedule_group(
                Name=own.schedule_group
            ),
        }
        queues = (own.start_queue_url, own.wake_queue_url, own.events_queue_url, own.native_events_queue_url)
        for url in (*queues, own.dead_letters_url, own.kept_letters_url):
            parts[f"the queue {url.rpartition('/')[2]}"] = lambda url=url: self._attributes(url, "QueueArn")
        tried = {part: _try(look) for part, look in parts.items()}
        missing = [f"{part}: {said}" for part, said in tried.items() if said and not said.startswith(_DENIED)]
        if missing:
            return Check("resources", "wrong", "Parts of the stack are missing; deploy it again.", missing)
        denied = [f"{part}: {said}" for part, said in tried.items() if said]
        if denied:
            return Check("resources", "unknown", "Not every part of the stack may be looked at.", denied)
        return Check("resources", "ok", f"All {len(parts)} parts of the stack that hold something are there.")

    def _attributes(self, url: str, *names: str) -> dict[str, str]:
        answer = self._clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(names))
        return dict(answer.get("Attributes", {}))

    # ---- what the caller may do

    def _permissions(self) -> Check:
        own, clients, table = self._settings, self._clients, self._settings.table
        nothing = {items.PK: {"S": _PROBE}, items.SK: {"S": _PROBE}}
        never = {"TableName": table, "ConditionExpression": f"attribute_exists({items.PK})"}
        key = {"ExpressionAttributeValues": {":k": {"S": _PROBE}}}
        probes: dict[str, Callable[[], Any]] = {
            "dynamodb:GetItem": lambda: clients.dynamodb.get_item(TableName=table, Key=nothing),
            "dynamodb:BatchGetItem": lambda: clients.dynamodb.batch_get_item(RequestItems={table: {"Keys": [nothing]}}),
            "dynamodb:Query": lambda: clients.dynamodb.query(
                TableName=table, KeyConditionExpression=f"{items.PK} = :k", **key
            ),
            "dynamodb:Query of the index": lambda: clients.dynamodb.query(
                TableName=table, IndexName=items.INDEX, KeyConditionExpression=f"{items.BUCKET} = :k", **key
            ),
            "dynamodb:PutItem": lambda: clients.dynamodb.put_item(Item=nothing, **never),
            "dynamodb:UpdateItem": lambda: clients.dynamodb.update_item(Key=nothing, **never),
            "dynamodb:DeleteItem": lambda: clients.dynamodb.delete_item(Key=nothing, **never),
            "s3:GetObject": lambda: clients.s3.get_object(Bucket=own.bucket, Key=f"payloads/{_PROBE}"),
            "events:PutEvents": lambda: clients.events.put_events(
                Entries=[{"Source": _PROBE, "DetailType": _PROBE, "Detail": "{}", "EventBusName": own.bus}]
            ),
            "scheduler:GetSchedule": lambda: clients.scheduler.get_schedule(
                GroupName=own.schedule_group, Name=f"{RECURRENCE}{_PROBE}"
            ),
            "scheduler:ListSchedules": lambda: clients.scheduler.list_schedules(
                GroupName=own.schedule_group, MaxResults=1
            ),
        }
        lacking = [name for name, probe in probes.items() if _try(probe).startswith(_DENIED)]
        if lacking:
            said = f"The caller lacks {', '.join(lacking)}; attach the policy that the output ClientPolicyArn names."
            return Check("permissions", "wrong", said)
        return Check(
            "permissions",
            "ok",
            f"The caller has the {len(probes)} permissions of a client that can be tried without an effect "
            "(sqs:SendMessage, s3:PutObject and the writing of schedules cannot).",
        )

    # ---- how it fits together

    def _functions(self) -> Check:
        wrong: list[str] = []
        unknown: list[str] = []
        try:
            pages = self._clients.of("cloudformation").get_paginator("list_stack_resources")
            listed: list[dict[str, Any]] = [
                one for page in pages.paginate(StackName=self._settings.stack) for one in page["StackResourceSummaries"]
            ]
        except (ClientError, BotoCoreError) as error:
            return Check("functions", "unknown", "The functions may not be looked at.", [_said(error)])
        for one in listed:
            kind, name = one["ResourceType"], one.get("PhysicalResourceId", "")
            if kind == "AWS::Lambda::Function":
                self._look(lambda name=name: self._function(name), name, wrong, unknown)
            elif kind == "AWS::Lambda::EventSourceMapping":
                self._look(lambda name=name: self._mapping(name), name, wrong, unknown)
        if wrong:
            return Check("functions", "wrong", "Functions are not as the stack says they are; deploy it again.", wrong)
        if unknown:
            return Check("functions", "unknown", "Not every function may be looked at.", unknown)
        return Check("functions", "ok", "The functions have the settings of the stack, and take from its queues.")

    def _look(self, look: Callable[[], list[str]], name: str, wrong: list[str], unknown: list[str]) -> None:
        try:
            wrong += look()
        except (ClientError, BotoCoreError) as error:
            said = _said(error)
            (unknown if said.startswith(_DENIED) else wrong).append(f"{name}: {said}")

    def _function(self, name: str) -> list[str]:
        found = self._clients.of("lambda").get_function_configuration(FunctionName=name)
        given: dict[str, str] = found.get("Environment", {}).get("Variables", {})
        differing = [
            variable
            for setting, (variable, _) in NAMES.items()
            if variable in given and given[variable] != str(getattr(self._settings, setting))
        ]
        said = [f"{name} has another {variable} than the stack's outputs say" for variable in differing]
        state = found.get("State", "Active")
        return said if state in ("Active", "Inactive") else [*said, f"{name} is {state}"]

    def _mapping(self, name: str) -> list[str]:
        """SQS needs a visibility of at least the function's timeout, or a message comes while its invocation runs."""
        found = self._clients.of("lambda").get_event_source_mapping(UUID=name)
        queue = str(found["EventSourceArn"]).rpartition(":")[2]
        said = (
            []
            if found.get("State") in ("Enabled", "Enabling", "Updating")
            else [f"the function of the queue {queue} does not take from it: its mapping is {found.get('State')}"]
        )
        function = self._clients.of("lambda").get_function_configuration(FunctionName=found["FunctionArn"])
        base = self._settings.start_queue_url.rpartition("/")[0]
        visible = int(self._attributes(f"{base}/{queue}", "VisibilityTimeout")["VisibilityTimeout"])
        if visible < int(function["Timeout"]):
            said.append(f"the visibility timeout of {queue} is {visible} s, its function's {function['Timeout']} s")
        return said

    # ---- what is dead

    def _dead_letters(self) -> Check:
        """Kept are those that nothing more can be done for. The dead ones before them are a function's to sort."""
        url, passing = self._settings.kept_letters_url, self._settings.dead_letters_url
        try:
            kept, on_the_way = self._count(url), self._count(passing)
            also = f" {on_the_way} more are being sorted." if on_the_way else ""
            if not kept:
                return Check("dead letters", "ok", f"No dead letters are kept.{also}")
            said = f"{'1 dead letter is' if kept == 1 else f'{kept} dead letters are'} kept in {url}.{also}"
            return Check("dead letters", "wrong", said, self._peek(url))
        except (ClientError, BotoCoreError) as error:
            return Check("dead letters", "unknown", "The dead letters may not be looked at.", [_said(error)])

    def _count(self, url: str) -> int:
        counted = self._attributes(url, "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        return sum(int(number) for number in counted.values())

    def _peek(self, url: str) -> list[str]:
        """The oldest of those that one request brings, first. They stay where they are, visible to everybody."""
        answer = self._clients.sqs.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=_LOOKED_AT,
            VisibilityTimeout=0,
            MessageSystemAttributeNames=["SentTimestamp"],
            MessageAttributeNames=["All"],
        )
        found = sorted(answer.get("Messages", []), key=lambda one: int(one["Attributes"]["SentTimestamp"]))
        return [_letter(one) for one in found]


def _letter(message: Any) -> str:
    sent = datetime.fromtimestamp(int(message["Attributes"]["SentTimestamp"]) / 1000, UTC)
    reason = message.get("MessageAttributes", {}).get("reason", {}).get("StringValue")
    return f"sent {sent:%Y-%m-%d %H:%M:%S} UTC: {reason or _reason(str(message['Body']))}"


def _reason(body: str) -> str:
    try:
        read = records.message_of(body, None)
    except InvalidPayloadError as error:
        return str(error)
    about = f" about {read['x']}" if isinstance(read.get("x"), str) else ""
    return f"a message of the type {read.get('t')!r}{about}, which failed each time: {json.dumps(body[:120])}"


def _try(probe: Callable[[], Any]) -> str:
    """What went wrong; empty: nothing, or what a probe for a permission is to end with."""
    try:
        probe()
    except (ClientError, BotoCoreError) as error:
        return "" if isinstance(error, ClientError) and faults.code_of(error) in _AS_IT_SHOULD else _said(error)
    return ""


def _said(error: ClientError | BotoCoreError) -> str:
    if isinstance(error, ClientError) and faults.is_denied(error):
        told = str(faults.answer_of(error).get("Error", {}).get("Message", ""))
        return f"{_DENIED} to call {error.operation_name} ({told})"
    return str(faults.explained(error))
