"""Every command with --stack, from a laptop whose user has the stack's client policy and nothing else."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.emulator.packages import Packages
from tests.emulator.places import ENFORCED, on
from tests.emulator.server import POLOS, clean_environment
from tests.emulator.stack import Stack, administrator
from tests.emulator.table import Measured

pytestmark = on(ENFORCED)

Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def polos(stack: Stack, packages: Packages) -> Call:
    def call(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(POLOS), *arguments, "--stack", stack.name],
            cwd=packages.modules(),
            env={**clean_environment(), **stack.credentials, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return call


def said(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


def start(polos: Call, workflow: str, payload: str = "null") -> str:
    found = said(polos("run", workflow, "--app", "lane", "--input", payload, "--no-wait", "--json"))
    return str(json.loads(found)["execution_id"])


def until(polos: Call, execution_id: str, status: str) -> None:
    for _ in range(60):
        if json.loads(said(polos("show", execution_id, "--json")))["status"] == status:
            return
    raise AssertionError(f"{execution_id} is not {status}")


def test_looking_at_an_execution_and_resuming_it(polos: Call, stack: Stack, measured: Measured) -> None:
    with measured.scenario(stack, "polos run, list, show, why, resume, watch"):
        execution_id = start(polos, "approval", '"spec"')
        until(polos, execution_id, "waiting")
        assert execution_id in said(polos("list", "--workflow", "approval"))
        assert "ask" in said(polos("show", execution_id))
        assert "polos resume" in said(polos("why", execution_id))
        assert said(polos("resume", execution_id, "ask", '{"verdict": "fine"}'))
        assert "fine" in said(polos("watch", execution_id))


def test_steering_executions(polos: Call, stack: Stack, measured: Measured, tmp_path: Path) -> None:
    with measured.scenario(stack, "polos pause, unpause, cancel, terminate, retry, fork"):
        marker = tmp_path / "marker"
        failing = start(polos, "flaky", json.dumps(str(marker)))
        one, other = start(polos, "approval", '"a"'), start(polos, "approval", '"b"')
        until(polos, failing, "failed")
        until(polos, one, "waiting")
        until(polos, other, "waiting")
        assert said(polos("pause", one))
        assert "paused" in said(polos("why", one))
        assert said(polos("unpause", one))
        assert said(polos("cancel", one))
        assert said(polos("terminate", other))
        until(polos, one, "cancelled")
        until(polos, other, "cancelled")
        marker.touch()
        assert said(polos("retry", failing))
        until(polos, failing, "completed")
        assert said(polos("fork", failing, "--app", "lane"))


def test_publishing_and_schedules(polos: Call, stack: Stack, measured: Measured) -> None:
    with measured.scenario(stack, "polos publish, schedules"):
        assert said(polos("publish", "lane/nobody", '{"number": 9}'))
        listed = said(polos("schedules", "list"))
        assert "daily_report" in listed
        assert said(polos("schedules", "pause", "daily_report"))
        assert "paused" in said(polos("schedules", "list"))
        assert said(polos("schedules", "resume", "daily_report"))


def test_a_doctor_with_a_clients_permissions_names_what_it_may_not_see(polos: Call, stack: Stack) -> None:
    done = polos("doctor", "--json", "--minutes", "60")

    checks = {one["name"]: one for one in json.loads(done.stdout)["checks"]}
    assert checks["permissions"]["verdict"] == "ok", checks
    assert checks["dead letters"]["verdict"] == "unknown"
    assert "not allowed to call GetQueueAttributes" in checks["dead letters"]["details"][0]


def test_a_doctor_with_all_permissions_finds_a_whole_stack(polos: Call, stack: Stack, measured: Measured) -> None:
    with measured.scenario(stack, "polos doctor"):
        done = polos("doctor", "--json", "--minutes", "60", **stack.emulator.environment())

    checks = {one["name"]: one for one in json.loads(done.stdout)["checks"]}
    assert {name: checks[name]["verdict"] for name in ("resources", "permissions", "functions")} == {
        "resources": "ok",
        "permissions": "ok",
        "functions": "ok",
    }, checks


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"AWS_DEFAULT_REGION": "eu-west-1", "AWS_REGION": "eu-west-1"}, "There is no stack 'lane' in eu-west-1"),
        ({"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE"}, "AWS does not know these credentials"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "AWS could not be reached"),
    ],
)
def test_what_is_wrong_is_one_sentence(polos: Call, stack: Stack, environment: dict[str, str], sentence: str) -> None:
    """In another region the policy does not hold either, so that one is asked by somebody who may do everything."""
    allowed = stack.emulator.environment() if "AWS_REGION" in environment else {}

    done = polos("list", **{**allowed, **environment})

    assert done.returncode == 4
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_user_without_the_client_policy_is_told_what_to_attach(polos: Call, stack: Stack) -> None:
    iam = administrator(stack.emulator, "iam")
    iam.create_user(UserName="stranger")
    key = iam.create_access_key(UserName="stranger")["AccessKey"]

    done = polos("list", AWS_ACCESS_KEY_ID=key["AccessKeyId"], AWS_SECRET_ACCESS_KEY=key["SecretAccessKey"])

    assert done.returncode == 4
    assert "attach the stack's client policy" in done.stderr


def test_without_credentials_it_says_so(polos: Call, tmp_path: Path) -> None:
    none = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_EC2_METADATA_DISABLED": "true"}

    done = polos("list", **none, HOME=str(tmp_path))

    assert done.returncode == 4
    assert "There are no AWS credentials here" in done.stderr
