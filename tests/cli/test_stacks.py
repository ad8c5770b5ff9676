"""SPEC 12: a stack that is missing, half deployed or out of reach is a sentence and exit code 4, for every command."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from typer.testing import Result

from polos.aws import faults
from polos.aws.settings import NAMES
from polos.clock import SystemClock
from polos.testing.harness import EPOCH, VirtualClock
from polos.testing.moto_account import MotoAccount
from polos.testing.moto_template import REGION

Polos = Callable[..., Result]
COMMANDS = [
    "list",
    "show x",
    "why x",
    "watch x",
    "publish t 1",
    "resume x s 1",
    "cancel x",
    "terminate x",
    "retry x",
    "fork x --from-step s --app greetings",
    "pause x",
    "unpause x",
    "schedules list",
    "queues list",
    "workflows list",
    'run hello --app greetings --input {"name":"Ada"}',
]


@pytest.fixture
def account(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MotoAccount]:
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_REGION", REGION)
    made = MotoAccount(VirtualClock(EPOCH, SystemClock()), Counter())
    yield made
    made.close()


def refused(result: Result, *words: str) -> None:
    assert (result.exit_code, result.stdout) == (4, ""), result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("polos: ")
    assert [word for word in words if word not in line] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_a_stack_that_is_missing_is_told_by_every_command(polos: Polos, account: MotoAccount, command: str) -> None:
    refused(polos(*command.split(), "--stack", "nope"), "There is no stack 'nope'", REGION)


def test_a_stack_that_is_half_deployed_is_told_with_what_it_lacks(polos: Polos, account: MotoAccount) -> None:
    template = {
        "Resources": {"Queue": {"Type": "AWS::SQS::Queue"}},
        "Outputs": {output: {"Value": "1"} for _, output in NAMES.values() if output != "BusName"},
    }
    account.aws.of("cloudformation").create_stack(StackName="half", TemplateBody=json.dumps(template))
    refused(polos("list", "--stack", "half"), "'half'", "lacks the outputs BusName", "half deployed")


def test_a_table_that_was_deleted_from_a_stack_is_told(polos: Polos, account: MotoAccount) -> None:
    account.aws.dynamodb.delete_table(TableName=account.settings.table)
    refused(polos("list", "--stack", account.stack), "missing", "deploy the stack again")


def test_credentials_that_expire_on_the_way_are_told(
    polos: Polos, account: MotoAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing = ClientError({"Error": {"Code": "ExpiredTokenException", "Message": "The token is old."}}, "Query")

    def expired(method: Any, /, **_: Any) -> Any:
        raise faults.explained(refusing)

    monkeypatch.setattr(faults, "call", expired)
    refused(polos("list", "--stack", account.stack), "have expired; sign in again")


def test_commands_work_on_a_stack(polos: Polos, account: MotoAccount) -> None:
    stack = ("--stack", account.stack)
    started = polos("run", "asks", "--app", "greetings", "--id", "one", "--no-wait", "--json", *stack)
    assert started.exit_code == 0, started.output
    listed = json.loads(polos("list", "--json", *stack).stdout)["executions"]
    assert [(one["id"], one["status"]) for one in listed] == [("one", "queued")]
    assert polos("cancel", "one", *stack).exit_code == 0
    assert polos("show", "nope", *stack).exit_code == 3
