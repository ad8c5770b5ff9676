"""What a checkup of a stack says. moto has no functions and no policies: those parts run in tests/emulator."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from polos.aws.checkup import Check, Checkup
from polos.aws.clients import Clients
from polos.testing.moto_account import MotoAccount


class DenyingClients(Clients):
    """Clients of a caller who lacks some permissions: AWS answers before anything happens."""

    def __init__(self, aws: Clients, denied: set[str]) -> None:
        super().__init__("us-east-1")
        self._aws, self._denied = aws, denied

    def of(self, service: str) -> Any:
        return _Denying(self._aws.of(service), self._denied)


class _Denying:
    def __init__(self, client: Any, denied: set[str]) -> None:
        self._client, self._denied = client, denied

    def __getattr__(self, name: str) -> Any:
        if name in self._denied:
            return self._deny
        return getattr(self._client, name)

    def _deny(self, *_: Any, **__: Any) -> Any:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no policy allows it"}}, "AnOperation")


def checks(account: MotoAccount, *denied: str) -> dict[str, Check]:
    checkup = Checkup(account.settings, DenyingClients(account.aws, set(denied)))
    return {one.name: one for one in (checkup._resources(), checkup._permissions(), checkup._dead_letters())}


def test_a_stack_that_is_as_it_should_be(account: MotoAccount) -> None:
    found = checks(account)

    assert {name: one.verdict for name, one in found.items()} == dict.fromkeys(found, "ok")
    assert found["dead letters"].said == "No dead letters are kept."


def test_a_part_that_is_missing_is_named(account: MotoAccount) -> None:
    account.aws.sqs.delete_queue(QueueUrl=account.settings.wake_queue_url)

    found = checks(account)["resources"]

    assert found.verdict == "wrong"
    (missing,) = found.details
    assert account.settings.wake_queue_url.rpartition("/")[2] in missing


@pytest.mark.parametrize(
    ("denied", "named"),
    [
        ("update_item", "dynamodb:UpdateItem"),
        ("query", "dynamodb:Query, dynamodb:Query of the index"),
        ("put_events", "events:PutEvents"),
        ("list_schedules", "scheduler:ListSchedules"),
    ],
)
def test_a_permission_that_the_caller_lacks_is_named(account: MotoAccount, denied: str, named: str) -> None:
    found = checks(account, denied)["permissions"]

    assert found.verdict == "wrong"
    assert f"lacks {named};" in found.said
    assert "ClientPolicyArn" in found.said


def test_what_may_not_be_looked_at_is_unknown_and_not_wrong(account: MotoAccount) -> None:
    found = checks(account, "get_queue_attributes", "describe_table")

    assert (found["resources"].verdict, found["dead letters"].verdict) == ("unknown", "unknown")
    assert "not allowed" in found["resources"].details[0]


def test_trying_the_permissions_changes_nothing(account: MotoAccount) -> None:
    before = account.aws.dynamodb.scan(TableName=account.settings.table)["Items"]

    checks(account)

    assert account.aws.dynamodb.scan(TableName=account.settings.table)["Items"] == before


def test_dead_letters_are_counted_and_say_why(account: MotoAccount) -> None:
    url = account.queue_urls["KeptLetters"]
    wake = json.dumps({"t": "wake", "x": "an-execution", "wf": "order"})
    for body in ("not JSON", wake, '{"detail": {"t": "start"}, "source": "polos"}'):
        account.aws.sqs.send_message(QueueUrl=url, MessageBody=body)
    reason = {"reason": {"DataType": "String", "StringValue": "the execution has ended"}}
    account.aws.sqs.send_message(QueueUrl=url, MessageBody=wake, MessageAttributes=reason)

    found = checks(account)["dead letters"]

    assert (found.verdict, found.said.startswith("4 dead letters are kept in ")) == ("wrong", True)
    told = "\n".join(found.details)
    assert "is not JSON" in told
    assert "UTC: the execution has ended" in told
    assert "'wake' about an-execution" in told
    assert "not an event of a topic" in told
    assert checks(account)["dead letters"].details == found.details  # they are still there, for everybody
