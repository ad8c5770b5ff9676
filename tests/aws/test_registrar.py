"""The registrar: schedules become what the code declares, and CloudFormation always gets its answer (SPEC 8.7)."""

from __future__ import annotations

import json
import sys
import textwrap
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from polos.aws import entry, lambda_handler
from polos.aws.default_bus import EventBridgeDefaultBus
from polos.aws.recurrences import SchedulerRecurrences
from polos.aws.registrar import Registrar
from polos.engine.registration import Targets
from polos.errors import BackendError, InvalidPayloadError
from polos.ports import PatternRule, Recurring
from polos.testing.moto_account import MotoAccount
from tests.aws.cloudformation import AnswerBox, RegistrarContext, answer_box, request

pytestmark = [pytest.mark.sockets, pytest.mark.process]

DAILY = 'from polos import workflow\n@workflow(schedule="0 8 * * *")\nasync def daily(ctx): ...\n'
HOURLY = 'from polos import workflow\n@workflow(schedule="0 * * * *")\nasync def hourly(ctx): ...\n'
UPLOADS = """
from polos import EventPattern, workflow
@workflow(trigger_on_event=EventPattern({"source": ["aws.s3"]}))
async def uploads(ctx): ...
"""
UNSCHEDULED = "from polos import workflow\n@workflow\nasync def daily(ctx): ...\n"


class Deployment:
    """The stack of a test, and the code that its functions have."""

    def __init__(self, account: MotoAccount, directory: Path, box: AnswerBox) -> None:
        self.account, self.directory, self.box = account, directory, box
        self.targets = Targets(
            SchedulerRecurrences(account.runtime, account.settings),
            EventBridgeDefaultBus(account.runtime, account.settings),
        )

    def code(self, source: str) -> None:
        (self.directory / "shop.py").write_text(textwrap.dedent(source))

    def call(
        self, kind: str, *, seconds: float = 110, import_seconds: float = 30, memory: int = 4096, **more: Any
    ) -> dict[str, Any]:
        """One request; the answer to it."""
        registrar = Registrar(lambda: self.targets, self.account.clock, import_seconds=import_seconds)
        registrar.handle(request(kind, self.box.url, **more), RegistrarContext(seconds, memory))
        return self.box.answers[-1]

    @property
    def rules(self) -> dict[str, str]:
        return {one.workflow_id: one.pattern for one in self.targets.default_bus.list()}

    @property
    def schedules(self) -> dict[str, str]:
        return {one.workflow_id: one.cron for one in self.targets.recurrences.list()}


@pytest.fixture
def box() -> Iterator[AnswerBox]:
    with answer_box() as box:
        yield box


@pytest.fixture
def deployment(account: MotoAccount, tmp_path: Path, box: AnswerBox, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    for name, value in account.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("POLOS_APP", "shop")
    return Deployment(account, tmp_path, box)


# ---- what it does


def test_create_makes_the_declared_schedules(deployment: Deployment) -> None:
    deployment.code(DAILY)

    answer = deployment.call("Create")

    assert answer["Status"] == "SUCCESS", answer
    assert deployment.schedules == {"daily": "0 8 * * *"}


def test_update_creates_changes_and_removes(deployment: Deployment) -> None:
    deployment.code(DAILY + HOURLY)
    deployment.call("Create")
    deployment.code(DAILY.replace("0 8", "0 9"))

    deployment.call("Update", version=2, before=1)

    assert deployment.schedules == {"daily": "0 9 * * *"}


def test_a_schedule_taken_out_of_the_code_is_removed(deployment: Deployment) -> None:
    deployment.code(DAILY)
    deployment.call("Create")
    deployment.code(UNSCHEDULED)

    deployment.call("Update", version=2, before=1)

    assert deployment.schedules == {}


def test_a_schedule_made_at_run_time_stays(deployment: Deployment) -> None:
    deployment.targets.recurrences.apply(Recurring("daily", "eu", "0 7 * * *", "Europe/Berlin"))
    deployment.code(HOURLY)
    deployment.call("Create")

    deployment.call("Delete")

    assert deployment.schedules == {"daily": "0 7 * * *"}


def test_a_pause_outlives_a_deployment(deployment: Deployment) -> None:
    deployment.code(DAILY)
    deployment.call("Create")
    (one,) = deployment.targets.recurrences.list()
    deployment.targets.recurrences.apply(Recurring(one.workflow_id, one.key, one.cron, one.timezone, True, True))

    deployment.call("Update", version=2, before=1)

    assert [one.paused for one in deployment.targets.recurrences.list()] == [True]


def test_delete_removes_what_was_declared_without_importing(deployment: Deployment) -> None:
    deployment.code(DAILY)
    deployment.call("Create")
    deployment.code("raise RuntimeError('never to be imported')")

    answer = deployment.call("Delete")

    assert answer["Status"] == "SUCCESS"
    assert deployment.schedules == {}


@pytest.mark.parametrize("kind", ["Create", "Update", "Delete"])
def test_every_request_may_come_twice(deployment: Deployment, kind: str) -> None:
    deployment.code(DAILY)
    deployment.call("Create")
    first, there = deployment.call(kind), deployment.schedules

    assert deployment.call(kind) == first
    assert deployment.schedules == there


def test_a_repeat_of_a_request_writes_nothing(deployment: Deployment, requests: Counter[str]) -> None:
    deployment.code(DAILY)
    deployment.call("Create")
    requests.clear()

    deployment.call("Create")

    assert set(requests) == {"ListSchedules", "GetSchedule", "ListRules"}


# ---- rules of the default bus


def test_rules_of_patterns_are_made_changed_and_removed(deployment: Deployment) -> None:
    deployment.code(UPLOADS)
    deployment.call("Create")
    assert deployment.rules == {"uploads": '{"source":["aws.s3"]}'}

    deployment.code(UPLOADS.replace("aws.s3", "aws.ec2"))
    deployment.call("Update", version=2, before=1)
    assert deployment.rules == {"uploads": '{"source":["aws.ec2"]}'}

    deployment.code(UNSCHEDULED)
    deployment.call("Update", version=3, before=2)
    assert deployment.rules == {}


def test_delete_removes_the_rules_which_would_outlive_the_stack(deployment: Deployment) -> None:
    deployment.code(UPLOADS)
    deployment.call("Create")

    deployment.call("Delete")

    assert deployment.account.aws.events.list_rules()["Rules"] == []


# ---- the answer


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


# ---- imports that fail

RAISES = """
    def deep():
        raise RuntimeError("no database")
    deep()
"""


def _failed(deployment: Deployment, source: str, **options: Any) -> str:
    """Deploy, then deploy code that fails; the reason."""
    deployment.code(DAILY)
    deployment.call("Create")
    deployment.code(source)
    answer = deployment.call("Update", version=2, before=1, **options)
    assert answer["Status"] == "FAILED"
    assert deployment.schedules == {"daily": "0 8 * * *"}  # as before
    assert len(deployment.box.bodies[-1]) <= 4096
    assert "us-east-1.console.aws.amazon.com/cloudwatch" in answer["Reason"]
    return str(answer["Reason"])


def test_an_import_that_raises_fails_the_deployment_with_its_traceback(deployment: Deployment) -> None:
    reason = _failed(deployment, RAISES)

    assert "The application 'shop' could not be imported: RuntimeError: no database" in reason
    assert 'shop.py", line 3, in deep' in reason
    assert "importlib" not in reason


def test_a_long_traceback_is_cut_from_its_start(deployment: Deployment) -> None:
    source = 'raise RuntimeError("".join(f"line {n} \\"ä\\"\\n" for n in range(5000)))'

    reason = _failed(deployment, source)

    assert "[...]" in reason
    assert reason.rstrip().endswith('line 4999 "ä"')


def test_an_import_that_exits_fails_the_deployment(deployment: Deployment) -> None:
    assert "SystemExit: 3" in _failed(deployment, "import sys\nsys.exit(3)")


def test_an_import_that_ends_the_process_fails_the_deployment(deployment: Deployment) -> None:
    reason = _failed(deployment, "import os\nprint('so far', flush=True)\nos._exit(0)")

    assert "ended its process with the exit code 0" in reason
    assert reason.endswith("so far")


def test_an_import_that_is_killed_fails_the_deployment(deployment: Deployment) -> None:
    reason = _failed(deployment, "import os, signal\nos.kill(0, signal.SIGKILL)")

    assert "was killed by SIGKILL" in reason


def test_an_import_that_hangs_is_stopped_and_says_where(deployment: Deployment) -> None:
    source = """
        import threading
        def wait_for_ever():
            threading.Event().wait()
        wait_for_ever()
    """

    reason = _failed(deployment, source, import_seconds=6)

    assert "was stopped after 6 s" in reason
    assert "in wait_for_ever" in reason


def test_what_a_hanging_import_has_started_is_stopped_with_it(deployment: Deployment, tmp_path: Path) -> None:
    source = f"""
        import subprocess, sys, threading
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        open({str(tmp_path / "pid")!r}, "w").write(str(child.pid))
        threading.Event().wait()
    """
    _failed(deployment, source, import_seconds=6)

    status = Path(f"/proc/{(tmp_path / 'pid').read_text()}/status")
    assert not status.exists() or "State:\tZ" in status.read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_an_import_that_takes_too_much_memory_is_stopped(deployment: Deployment) -> None:
    source = """
        kept = []
        for _ in range(100):
            kept.append(b"x" * 20_000_000)
    """

    reason = _failed(deployment, source, memory=600)

    assert "MB of memory" in reason
    assert "parameter Memory" in reason


def test_an_import_that_prints_without_end_is_read_and_stopped(deployment: Deployment) -> None:
    reason = _failed(deployment, "while True:\n    print('tick' * 1000)", import_seconds=6)

    assert "was stopped after 6 s" in reason


def test_threads_and_exit_handlers_of_the_application_do_not_keep_it(deployment: Deployment) -> None:
    deployment.code("import threading, atexit\nthreading.Thread(target=threading.Event().wait).start()\n" + DAILY)

    assert deployment.call("Create")["Status"] == "SUCCESS"


def test_a_missing_module_is_named(deployment: Deployment) -> None:
    assert "ModuleNotFoundError: No module named 'nowhere'" in _failed(deployment, "import nowhere")


def test_a_bad_declaration_is_named(deployment: Deployment) -> None:
    source = DAILY.replace("0 8 * * *", "0 25 * * *")

    assert "WorkflowDefinitionError" in _failed(deployment, source)


def test_what_an_import_prints_is_no_answer(deployment: Deployment) -> None:
    deployment.code("print('{\"declared\": {}}')\n" + DAILY)

    assert deployment.call("Create")["Status"] == "SUCCESS"
    assert deployment.schedules == {"daily": "0 8 * * *"}


# ---- changes that fail


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


# ---- the handler


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


@pytest.mark.parametrize(
    "broken", [{"RequestType": "Read"}, {"ResponseURL": ""}, {"ResponseURL": "file:///etc/passwd"}, {"StackId": None}]
)
def test_what_is_no_request_of_cloudformation_is_refused(deployment: Deployment, broken: dict[str, Any]) -> None:
    event = request("Create", deployment.box.url) | broken

    with pytest.raises(InvalidPayloadError):
        lambda_handler("registrar")(event, RegistrarContext())
    assert json.dumps(deployment.box.answers) == "[]"
