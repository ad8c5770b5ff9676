"""Finding a stack: from the environment of a function, or from the outputs of the stack."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError, TokenRetrievalError

from polos.aws import faults
from polos.aws.settings import NAMES, OPTIONS, Settings, in_environment
from polos.errors import BackendError
from polos.testing.moto_account import MotoAccount
from polos.testing.moto_template import REGION


def test_every_setting_has_a_variable_and_an_output() -> None:
    assert {field.name for field in fields(Settings)} == {*NAMES, *OPTIONS, "stack", "region"}


def test_the_stack_and_the_environment_of_its_functions_say_the_same(account: MotoAccount) -> None:
    assert Settings.from_stack(account.stack, REGION, session=account.session) == Settings.from_environment(
        account.environment
    )


def test_the_environment_of_the_process_is_the_default(account: MotoAccount, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not in_environment()
    for name, value in account.environment.items():
        monkeypatch.setenv(name, value)

    assert in_environment()
    assert Settings.from_environment() == account.settings


def test_retention_becomes_a_limit(account: MotoAccount) -> None:
    environment = {**account.environment, "POLOS_RETENTION_DAYS": "30", "POLOS_EVENT_RETENTION_HOURS": "2"}

    limits = Settings.from_environment(environment).limits()

    assert limits.retention == 30 * 86_400
    assert limits.event_retention == 7_200


def test_what_is_missing_is_named(account: MotoAccount) -> None:
    environment = dict(account.environment)
    del environment["POLOS_TABLE"]
    environment["POLOS_BUS"] = ""

    with pytest.raises(BackendError, match=r"lacks POLOS_TABLE, POLOS_BUS;"):
        Settings.from_environment(environment)


def test_a_missing_region_is_named(account: MotoAccount) -> None:
    environment = {name: value for name, value in account.environment.items() if name != "AWS_REGION"}

    with pytest.raises(BackendError, match="set AWS_REGION"):
        Settings.from_environment(environment)


@pytest.mark.parametrize("value", ["soon", "0", "-1", "1.5", "²"])
def test_a_number_that_is_none_is_named(account: MotoAccount, value: str) -> None:
    with pytest.raises(BackendError, match="POLOS_RETENTION_DAYS"):
        Settings.from_environment({**account.environment, "POLOS_RETENTION_DAYS": value})


def test_a_queue_is_found_by_the_arn_of_a_record(account: MotoAccount) -> None:
    settings = account.settings

    assert settings.queue_url(account.arn("StartQueue")) == settings.start_queue_url
    assert settings.queue_url(settings.wake_queue_arn) == settings.wake_queue_url
    assert settings.queue_url(settings.events_queue_arn) == settings.events_queue_url
    assert settings.queue_url("arn:aws:sqs:us-east-1:1:other") is None


def test_a_stack_that_does_not_exist(account: MotoAccount) -> None:
    with pytest.raises(BackendError, match="There is no stack 'nope' in us-east-1"):
        Settings.from_stack("nope", REGION, session=account.session)
    with pytest.raises(BackendError, match="in eu-central-1"):
        Settings.from_stack(account.stack, "eu-central-1", session=account.session)


def test_no_region(account: MotoAccount) -> None:
    with pytest.raises(BackendError, match="no AWS region"):
        Settings.from_stack(account.stack)


@pytest.mark.parametrize("variable", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_the_region_of_the_environment(account: MotoAccount, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, REGION)
    assert Settings.from_stack(account.stack) == account.settings
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    with pytest.raises(BackendError, match="in eu-west-1"):
        Settings.from_stack(account.stack)
    assert Settings.from_stack(account.stack, REGION) == account.settings


def _stack(account: MotoAccount, outputs: dict[str, str]) -> None:
    template = {
        "Resources": {"Queue": {"Type": "AWS::SQS::Queue"}},
        "Outputs": {name: {"Value": value} for name, value in outputs.items()},
    }
    account.aws.of("cloudformation").create_stack(StackName="other", TemplateBody=json.dumps(template))


def test_a_stack_of_something_else(account: MotoAccount) -> None:
    _stack(account, {"Website": "https://example.com"})

    with pytest.raises(BackendError, match="not a polos stack"):
        Settings.from_stack("other", REGION, session=account.session)


def test_a_stack_of_an_older_version(account: MotoAccount) -> None:
    _stack(account, {output: "1" for _, output in NAMES.values() if output not in ("BusName", "BucketName")})

    with pytest.raises(BackendError, match=r"lacks the outputs BusName, BucketName: it is half deployed"):
        Settings.from_stack("other", REGION, session=account.session)


class FakeSession:
    """A session whose one client answers, or raises, what it was given."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.meta = self
        self.region_name = REGION

    def client(self, *_: Any, **__: Any) -> FakeSession:
        return self

    def describe_stacks(self, StackName: str) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return {"Stacks": [{"StackName": StackName, **self.answer}]}


@pytest.mark.parametrize("status", ["CREATE_IN_PROGRESS", "ROLLBACK_COMPLETE", "DELETE_IN_PROGRESS"])
def test_a_stack_that_is_not_there_yet_or_any_more(status: str) -> None:
    session = FakeSession({"StackStatus": status})

    with pytest.raises(BackendError, match=f"cannot be used: it is {status}"):
        Settings.from_stack("mine", REGION, session=session)


def _answer(code: str, operation: str = "DescribeStacks") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "because."}}, operation)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (_answer("ExpiredToken"), "have expired; sign in again"),
        (_answer("InvalidClientTokenId"), "does not know these credentials"),
        (_answer("AccessDenied"), "attach the stack's client policy"),
        (_answer("Throttling"), "throttled DescribeStacks"),
        (_answer("Whatever"), r"refused DescribeStacks \(Whatever: because\)\."),
        (NoCredentialsError(), "no AWS credentials here"),
        (TokenRetrievalError(provider="sso", error_msg="old"), "could not be fetched or have expired"),
        (EndpointConnectionError(endpoint_url="https://x"), "could not be reached"),
    ],
)
def test_an_error_of_aws_is_a_sentence_with_what_to_do(error: Any, said: str) -> None:
    with pytest.raises(BackendError, match=said) as raised:
        Settings.from_stack("mine", REGION, session=FakeSession(error))

    assert raised.value.__cause__ is error
    assert str(faults.explained(error)) == str(raised.value)
