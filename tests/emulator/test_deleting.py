"""Taking a stack away, after all that was done with it."""

from __future__ import annotations

from tests.emulator.places import PROJECT_PLAIN, on
from tests.emulator.stack import Stack
from tests.emulator.table import Measured

pytestmark = on(PROJECT_PLAIN)


def test_deleting_a_stack_leaves_its_table_and_its_bucket_with_what_is_in_them(
    stack: Stack, measured: Measured
) -> None:
    """Their deletion policy keeps them, as they hold executions. A bucket with something in it could not go anyway."""
    client = stack.client
    kept = {name: id for name, id in stack.resources().items() if name in ("Table", "Payloads")}
    payloads = client("s3").list_objects_v2(Bucket=kept["Payloads"])["KeyCount"]
    assert payloads > 0

    with measured.scenario(stack, "sam delete"):
        stack.delete()

    def of_stack(names: list[str]) -> list[str]:
        return [name for name in names if f"{stack.name}-" in name]

    assert of_stack(client("dynamodb").list_tables()["TableNames"]) == [kept["Table"]]
    assert of_stack([one["Name"] for one in client("s3").list_buckets()["Buckets"]]) == [kept["Payloads"]]
    assert client("s3").list_objects_v2(Bucket=kept["Payloads"])["KeyCount"] == payloads
    assert of_stack(client("sqs").list_queues().get("QueueUrls", [])) == []
    assert of_stack([one["FunctionName"] for one in client("lambda").list_functions()["Functions"]]) == []
    mappings = client("lambda").list_event_source_mappings()["EventSourceMappings"]
    assert of_stack([one["FunctionArn"] for one in mappings]) == []
    assert of_stack([one["RoleName"] for one in client("iam").list_roles()["Roles"]]) == []
    assert of_stack([one["PolicyName"] for one in client("iam").list_policies(Scope="Local")["Policies"]]) == []
    assert of_stack([one["Name"] for one in client("events").list_event_buses()["EventBuses"]]) == []
    assert of_stack([one["Name"] for one in client("events").list_rules()["Rules"]]) == []
    assert of_stack([one["Name"] for one in client("scheduler").list_schedule_groups()["ScheduleGroups"]]) == []
    schedules = client("scheduler").list_schedules()["Schedules"]
    assert of_stack([one["GroupName"] for one in schedules]) == []
    assert of_stack([one["logGroupName"] for one in client("logs").describe_log_groups()["logGroups"]]) == []
