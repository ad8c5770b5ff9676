"""CloudFormation always gets its answer, and a change that fails is put back (SPEC 8.7)."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from typing import Any

import pytest

from polos.aws import entry, lambda_handler
from polos.errors import BackendError, InvalidPayloadError
from polos.ports import PatternRule, Recurring
from tests.aws.cloudformation import AnswerBox, RegistrarContext, request
from tests.aws.registrar.deployment import DAILY, HOURLY, UPLOADS, Deployment

pytestmark = [pytest.mark.sockets, pytest.mark.process]


def test_the_answer_is_what_cloudformation_expects(deployment: Deployment) -> None:
    deployment.code(DAILY)

    answer = deployment.call("Create")

    sent = request("Create", deployment.box.url)
    assert answer == {
        "Status": "SUCCESS",
        "PhysicalResourceId": "polos-declarations",
        "StackId": sent["StackId"],
        "RequestId": sent["RequestId"],
        "LogicalResourceId": "Registration",
    }
    assert deployment.box.headers[0]["Content-Type"] == ""  # what the URL is signed for


def test_the_physical_id_is_kept(deployment: Deployment) -> None:
    """Another one would make CloudFormation delete the resource, and with it every schedule."""
    deployment.code(DAILY)

    answer = deployment.call("Update", PhysicalResourceId="of-an-older-version")

    assert answer["PhysicalResourceId"] == "of-an-older-version"


def test_an_answer_that_is_not_taken_is_sent_again(deployment: Deployment) -> None:
    deployment.code(DAILY)
    deployment.box.refuse = [503, 403]

    assert deployment.call("Create")["Status"] == "SUCCESS"


def test_an_answer_that_is_never_taken_fails_the_invocation_so_that_lambda_repeats_it(deployment: Deployment) -> None:
    deployment.code(DAILY)
    deployment.box.refuse = [403] * 5

    with pytest.raises(BackendError, match="did not take the answer"):
        deployment.call("Create")

    assert deployment.call("Create")["Status"] == "SUCCESS"


class Breaking:
    """A backend's schedules that refuse the changes of some workflows."""

    def __init__(self, inner: Any) -> None:
        self._inner, self.broken = inner, set[str]()

    def apply(self, schedule: Recurring) -> None:
        if schedule.workflow_id in self.broken:
            raise BackendError("AWS throttled CreateSchedule.")
        self._inner.apply(schedule)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class FullBus:
    """A default bus that has all the rules that it may have."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def apply(self, rule: PatternRule) -> None:
        raise BackendError("AWS refused PutRule (LimitExceededException: ...).")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def test_a_change_that_fails_half_way_is_put_back(deployment: Deployment) -> None:
    recurrences = Breaking(deployment.targets.recurrences)
    deployment.targets = replace(deployment.targets, recurrences=recurrences)
    deployment.code(DAILY)
    deployment.call("Create")
    recurrences.broken = {"hourly"}
    deployment.code(DAILY.replace("0 8", "0 9") + HOURLY)

    answer = deployment.call("Update", version=2, before=1)

    assert answer["Status"] == "FAILED"
    assert "AWS throttled CreateSchedule." in answer["Reason"]
    assert deployment.schedules == {"daily": "0 8 * * *"}


def test_schedules_are_put_back_when_a_rule_cannot_be_made(deployment: Deployment) -> None:
    deployment.code(DAILY)
    deployment.call("Create")
    deployment.targets = replace(deployment.targets, default_bus=FullBus(deployment.targets.default_bus))
    deployment.code(HOURLY + UPLOADS)

    answer = deployment.call("Update", version=2, before=1)

    assert "LimitExceededException" in answer["Reason"]
    assert deployment.schedules == {"daily": "0 8 * * *"}
    assert deployment.rules == {}


def test_a_rollback_converges_to_the_code_before(deployment: Deployment) -> None:
    """What a failed change could not put back: CloudFormation calls again, with the code and the version before."""
    deployment.code(DAILY)
    deployment.call("Create")
    deployment.targets.recurrences.apply(Recurring("hourly", "hourly", "0 * * * *", "UTC", declared=True))
    deployment.targets.recurrences.remove("daily", deployment.targets.recurrences.list()[0].key)

    deployment.call("Update", version=1, before=2)

    assert deployment.schedules == {"daily": "0 8 * * *"}


class Hanging:
    """A backend's schedules that do not answer before CloudFormation has its own answer."""

    def __init__(self, box: AnswerBox) -> None:
        self._box = box

    def list(self) -> list[Recurring]:
        while not self._box.bodies:
            threading.Event().wait(0.02)
        return []


def test_an_answer_is_sent_before_the_time_of_the_function_is_over(deployment: Deployment) -> None:
    deployment.targets = replace(deployment.targets, recurrences=Hanging(deployment.box))

    answer = deployment.call("Delete", seconds=12.1)

    assert answer["Status"] == "FAILED"
    assert "was not done in the function's time" in answer["Reason"]
    assert len(deployment.box.answers) == 1


def test_the_handler_of_the_role_serves_a_request(deployment: Deployment) -> None:
    deployment.code(DAILY)

    lambda_handler("registrar")(request("Create", deployment.box.url), RegistrarContext())

    assert deployment.box.answers[-1]["Status"] == "SUCCESS"
    assert deployment.schedules == {"daily": "0 8 * * *"}


def test_one_function_for_everything_tells_a_request_by_its_shape(deployment: Deployment) -> None:
    deployment.code(DAILY)

    lambda_handler()(request("Delete", deployment.box.url), RegistrarContext())

    assert deployment.box.answers[-1]["Status"] == "SUCCESS"


def test_the_registrar_starts_up_with_an_application_that_cannot_be_imported(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_NAME", "shop-RegistrarFunction-3Q")
    monkeypatch.setattr(entry, "_container", entry._Container())
    deployment.code("raise RuntimeError('no')")

    lambda_handler("registrar")(request("Create", deployment.box.url), RegistrarContext())

    assert deployment.box.answers[-1]["Status"] == "FAILED"


def test_a_half_made_environment_is_answered(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POLOS_SCHEDULE_GROUP")

    lambda_handler("registrar")(request("Delete", deployment.box.url), RegistrarContext())

    assert "The environment lacks POLOS_SCHEDULE_GROUP" in deployment.box.answers[-1]["Reason"]


@pytest.mark.parametrize("kind", ["Read", "", None, 7])
def test_12_a_request_of_an_unknown_type_is_answered(deployment: Deployment, kind: Any) -> None:
    """Without an answer CloudFormation would wait for an hour."""
    deployment.code(DAILY)
    deployment.call("Create")

    lambda_handler("registrar")(request("Create", deployment.box.url) | {"RequestType": kind}, RegistrarContext())

    assert deployment.box.answers[-1]["Status"] == "FAILED"
    assert f"asks for {str(kind)!r}; this resource knows Create" in deployment.box.answers[-1]["Reason"]
    assert deployment.schedules == {"daily": "0 8 * * *"}


class Bare:
    """A context of a runtime that says nothing of its log and memory."""

    def get_remaining_time_in_millis(self) -> int:
        return 110_000


@pytest.mark.parametrize(("source", "status"), [(DAILY, "SUCCESS"), ("raise RuntimeError('no')", "FAILED")])
def test_a_context_without_a_log_is_answered(deployment: Deployment, source: str, status: str) -> None:
    deployment.code(source)

    lambda_handler("registrar")(request("Create", deployment.box.url), Bare())

    assert deployment.box.answers[-1]["Status"] == status
    assert status == "SUCCESS" or "The function's log says more." in deployment.box.answers[-1]["Reason"]


@pytest.mark.parametrize("broken", [{"ResponseURL": ""}, {"ResponseURL": "file:///etc/passwd"}, {"StackId": None}])
def test_what_is_no_request_of_cloudformation_is_refused(deployment: Deployment, broken: dict[str, Any]) -> None:
    event = request("Create", deployment.box.url) | broken

    with pytest.raises(InvalidPayloadError):
        lambda_handler("registrar")(event, RegistrarContext())
    assert json.dumps(deployment.box.answers) == "[]"
