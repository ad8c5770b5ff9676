"""A project as `polos init` writes it: built, deployed and driven by the commands that its README names, and deleted.

Without enforced policies, on an emulator of its own: what the policies allow, the other scenarios show.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.emulator.server import POLOS, Emulator, run
from tests.emulator.stack import ARTIFACTS, Stack, administrator
from tests.emulator.table import Measured

NAME = "shop"
APP = ("--app", "app/workflows.py")


@pytest.fixture(scope="module")
def plain(workplace: Path) -> Iterator[Emulator]:
    made = Emulator(workplace / "plain.log", auth=False)
    made.start()
    try:
        administrator(made, "s3").create_bucket(Bucket=ARTIFACTS)
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def project(plain: Emulator, workplace: Path, measured: Measured) -> Stack:
    folder = workplace / NAME
    run(str(POLOS), "init", str(folder), cwd=workplace, environment={})
    stack = Stack(plain, NAME, folder, folder / "app", folder / ".aws-sam" / "build")
    with measured.scenario(plain, "polos init, build, deploy"):
        stack.build()
        stack.deploy(App="workflows")
    return stack


def call(project: Stack, *arguments: str) -> str:
    folder = project.folder
    environment = project.emulator.environment() | {"PATH": str(Path(sys.executable).parent)}
    return run(str(POLOS), *arguments, "--stack", NAME, cwd=folder, environment=environment)


def test_the_commands_of_its_readme(project: Stack, measured: Measured) -> None:
    with measured.scenario(project.emulator, "polos run, list, why, resume"):
        small = call(project, "run", "order", *APP, "--input", '{"item": "kettle", "amount": 42}')
        assert small.splitlines()[-1] == '"shipped by reservation of kettle"'

        large = '{"item": "oven", "amount": 900}'
        started = json.loads(call(project, "run", "order", *APP, "--input", large, "--no-wait", "--json"))
        execution_id = started["execution_id"]
        while "waiting" not in call(project, "list", "--status", "waiting", "--json"):
            pass
        assert "waits for" in call(project, "why", execution_id)
        call(project, "resume", execution_id, "approve", '{"approved": true}')
        assert "shipped by reservation of oven" in call(project, "watch", execution_id)


def test_deleting_the_stack_leaves_only_what_it_says(project: Stack, measured: Measured) -> None:
    """The table and the bucket hold executions: their deletion policy keeps them."""
    kept = {name: id for name, id in project.resources().items() if name in ("Table", "Payloads")}

    with measured.scenario(project.emulator, "sam delete"):
        project.delete()

    def of_stack(names: list[str]) -> list[str]:
        return [name for name in names if NAME in name]

    client = project.client
    assert of_stack(client("dynamodb").list_tables()["TableNames"]) == [kept["Table"]]
    assert of_stack([one["Name"] for one in client("s3").list_buckets()["Buckets"]]) == [kept["Payloads"]]
    assert of_stack(client("sqs").list_queues().get("QueueUrls", [])) == []
    assert of_stack([one["FunctionName"] for one in client("lambda").list_functions()["Functions"]]) == []
    assert client("lambda").list_event_source_mappings()["EventSourceMappings"] == []
    assert of_stack([one["RoleName"] for one in client("iam").list_roles()["Roles"]]) == []
    assert of_stack([one["PolicyName"] for one in client("iam").list_policies(Scope="Local")["Policies"]]) == []
    assert of_stack([one["Name"] for one in client("events").list_event_buses()["EventBuses"]]) == []
    assert of_stack([one["Name"] for one in client("scheduler").list_schedule_groups()["ScheduleGroups"]]) == []
    assert of_stack([one["logGroupName"] for one in client("logs").describe_log_groups()["logGroups"]]) == []
