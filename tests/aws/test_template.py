"""What no linter of templates checks: that template.yaml, the handlers and the settings fit together."""

from __future__ import annotations

import ast
import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
from aws_lambda_powertools.shared import constants as powertools

from polos.aws.entry import MAINTENANCE
from polos.aws.payloads import PREFIX
from polos.aws.records import ROLES
from polos.aws.recurrences import PREFIX as RECURRENCES
from polos.aws.settings import HORIZON_DAYS, NAMES, OPTIONS, STACK_NAME
from polos.aws.timers import PREFIX as TIMERS
from polos.aws.topics import DETAIL_TYPE, SOURCE
from polos.core import items
from polos.testing import moto_template
from tests.aws.template import FUNCTIONS, RESOURCES, ROOT, SOURCES, TEMPLATE, of_type

ENVIRONMENT: dict[str, Any] = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_handler_exists_and_is_one_call_of_its_role(name: str) -> None:
    package, module, attribute = FUNCTIONS[name]["Properties"]["Handler"].split(".")
    path = ROOT / package / f"{module}.py"
    source = path.read_text()

    assert attribute == "handler"
    assert module in ROLES
    assert f'handler = lambda_handler("{module}")' in source
    assert len(source.splitlines()) <= 15
    imported = [node.module for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
    assert imported == ["polos.aws"]


def test_a_deployment_calls_the_registrar_because_the_version_of_the_code_is_its_property() -> None:
    registration = RESOURCES["Registration"]["Properties"]
    function = RESOURCES["RegistrarFunction"]["Properties"]

    assert registration["Version"] == {"Ref": "WorkFunction.Version"}
    assert registration["ServiceToken"] == {"Fn::GetAtt": ["RegistrarFunction", "Arn"]}
    assert function["Timeout"] < registration["ServiceTimeout"] <= 120  # an answer within two minutes, come what may


def test_declarations_come_after_what_serves_them() -> None:
    """What a deployment declares may fire at once: what takes it must be there, and those who send be allowed to."""
    sources = {
        f"{name}{key}"
        for name, one in FUNCTIONS.items()
        for key, event in one["Properties"].get("Events", {}).items()
        if event["Type"] == "SQS"
    }

    assert set(RESOURCES["Registration"]["DependsOn"]) == sources | set(of_type("AWS::SQS::QueuePolicy"))


def test_the_registrar_may_do_at_import_what_the_work_function_may() -> None:
    roles = [RESOURCES[name]["Properties"]["ManagedPolicyArns"] for name in ("WorkRole", "RegistrarRole")]
    sizes = [RESOURCES[name]["Properties"]["MemorySize"] for name in ("WorkFunction", "RegistrarFunction")]

    assert roles[0] == roles[1]
    assert sizes[0] == sizes[1]


def test_every_handler_file_is_used() -> None:
    used = {function["Properties"]["Handler"].split(".")[1] for function in FUNCTIONS.values()}

    assert {path.stem for path in (ROOT / "handlers").glob("*.py")} - {"__init__"} == used


def test_every_variable_that_is_read_is_set_and_the_other_way_round() -> None:
    read = {variable for variable, *_ in (*NAMES.values(), *OPTIONS.values())} | {STACK_NAME, "POLOS_APP"}

    assert read == {name for name in ENVIRONMENT if name.startswith("POLOS_")}
    assert "POLOS_STACK" not in ENVIRONMENT  # a function must not ask CloudFormation for what it was given


def test_every_other_variable_that_is_set_is_read_by_a_library() -> None:
    """Powertools takes its level from one; Lambda starts a layer's wrapper by the other ("Modifying the runtime")."""
    others = {name for name in ENVIRONMENT if not name.startswith("POLOS_")}

    assert others == {powertools.POWERTOOLS_LOG_LEVEL_ENV, "AWS_LAMBDA_EXEC_WRAPPER"}


def test_every_output_that_is_read_is_there_and_says_what_the_environment_says() -> None:
    for variable, output, *_ in (*NAMES.values(), *OPTIONS.values()):
        assert TEMPLATE["Outputs"][output]["Value"] == ENVIRONMENT[variable]


def test_every_variable_of_the_code_is_known() -> None:
    known = {*ENVIRONMENT, "POLOS_STACK"}
    for path in (ROOT / "runtime" / "polos" / "aws").rglob("*.py"):
        for name in re.findall(r'"(POLOS_[A-Z_]+)"', path.read_text()):
            assert name in known, f"{path.name} reads {name}"


def test_executions_outlive_the_messages_about_them() -> None:
    assert min(int(days) for days in TEMPLATE["Parameters"]["RetentionDays"]["AllowedValues"]) >= 14


def test_the_timeout_leaves_room_for_a_lease() -> None:
    assert TEMPLATE["Parameters"]["Timeout"]["MinValue"] >= 60
    assert TEMPLATE["Parameters"]["Timeout"]["MaxValue"] <= 900


def test_the_table_has_the_keys_and_the_index_of_the_code() -> None:
    table = RESOURCES["Table"]["Properties"]
    (index,) = table["GlobalSecondaryIndexes"]

    assert [key["AttributeName"] for key in table["KeySchema"]] == [items.PK, items.SK]
    assert index["IndexName"] == items.INDEX
    assert [key["AttributeName"] for key in index["KeySchema"]] == [items.BUCKET, items.BUCKET_SORT]
    assert index["Projection"] == {"ProjectionType": "INCLUDE", "NonKeyAttributes": [items.WORKFLOW]}
    assert table["TimeToLiveSpecification"] == {"AttributeName": items.TTL, "Enabled": True}
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["BillingMode"] == "PAY_PER_REQUEST"


def test_the_rule_matches_the_events_of_the_code() -> None:
    assert RESOURCES["TopicsRule"]["Properties"]["EventPattern"] == {"source": [SOURCE], "detail-type": [DETAIL_TYPE]}


def test_objects_are_kept_as_long_as_the_records_that_point_to_them() -> None:
    """An open execution's are renewed (SPEC 8.9); the code adds the days, the template has a table."""
    days = TEMPLATE["Parameters"]["RetentionDays"]
    kept = TEMPLATE["Mappings"]["Kept"]

    assert list(kept) == days["AllowedValues"]
    assert days["Default"] in kept
    assert {int(name): one["Days"] for name, one in kept.items()} == {
        int(name): int(name) + HORIZON_DAYS for name in kept
    }
    rules = RESOURCES["Payloads"]["Properties"]["LifecycleConfiguration"]["Rules"]
    (expiring,) = [rule for rule in rules if [name for name in rule if name.startswith("Expiration")]]
    assert expiring["Prefix"] == PREFIX
    assert expiring["ExpirationInDays"] == {"Fn::FindInMap": ["Kept", {"Ref": "RetentionDays"}, "Days"]}


def test_no_event_outlives_the_object_that_it_points_to() -> None:
    hours = TEMPLATE["Parameters"]["EventRetentionHours"]["MaxValue"]

    assert hours <= min(one["Days"] for one in TEMPLATE["Mappings"]["Kept"].values()) * 24


def test_the_maintenance_is_called_in_time_under_a_name_of_its_stack() -> None:
    (event,) = RESOURCES["MaintenanceFunction"]["Properties"]["Events"].values()

    assert event["Type"] == "ScheduleV2"
    assert event["Properties"]["GroupName"] == {"Ref": "ScheduleGroup"}
    assert json.loads(event["Properties"]["Input"]) == {"t": MAINTENANCE}


def _statements() -> list[tuple[str, dict[str, Any]]]:
    found: list[tuple[str, dict[str, Any]]] = []
    for name, one in RESOURCES.items():
        properties = one.get("Properties", {})
        documents = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
        if one["Type"] == "AWS::IAM::ManagedPolicy":
            documents.append(properties["PolicyDocument"])
        for document in documents:
            found += [(name, statement) for statement in document["Statement"] if "Action" in statement]
    return found


def test_no_permission_is_for_everything() -> None:
    for name, statement in _statements():
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        assert not [action for action in actions if "*" in action], name
        resources = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
        assert "*" not in resources, f"{name}: {statement['Action']}"


def test_clients_may_ask_for_the_stack_by_its_name() -> None:
    """The resource of a request by name is stack/NAME/*: a policy with the stack's id, NAME/UUID, denies it."""
    (asked,) = [one for _, one in _statements() if one["Action"] == "cloudformation:DescribeStacks"]

    assert asked["Resource"]["Fn::Sub"].endswith(":stack/${AWS::StackName}/*")


def test_functions_may_make_timers_and_clients_schedules_and_not_the_other_way_round() -> None:
    made = {
        name: str(statement["Resource"])
        for name, statement in _statements()
        if "scheduler:CreateSchedule" in str(statement["Action"])
    }

    assert f"/{TIMERS}*" in made["WorkRole"]
    assert f"/{RECURRENCES}*" in made["ClientPolicy"]
    assert f"/{RECURRENCES}*" in made["RegistrarRole"]
    assert "EventsRole" not in made


def test_functions_have_roles_of_their_own() -> None:
    """SAM would attach a managed policy for SQS that is good for every queue of the account."""
    for function in FUNCTIONS.values():
        assert "Role" in function["Properties"]
        assert "Policies" not in function["Properties"]


def test_sam_translates_it() -> None:
    translated = moto_template.translate(TEMPLATE, {"App": "tested"})
    kinds = [one["Type"] for one in translated["Resources"].values()]

    assert kinds.count("AWS::Lambda::EventSourceMapping") == len(SOURCES)
    assert kinds.count("AWS::Lambda::Alias") == len(FUNCTIONS)


def test_every_function_has_a_build_recipe() -> None:
    for function in FUNCTIONS.values():
        assert function["Metadata"]["BuildMethod"] == "makefile"
        recipe = (ROOT / function["Metadata"]["ContextPath"] / "Makefile").read_text()
        assert re.search(r"^build-%: package", recipe, re.MULTILINE)


def test_what_is_kept_is_encrypted_and_private() -> None:
    bucket = RESOURCES["Payloads"]["Properties"]

    assert all(bucket["PublicAccessBlockConfiguration"].values())
    assert bucket["BucketEncryption"]
    for one in RESOURCES.values():
        if one["Type"] == "AWS::SQS::Queue":
            assert "SqsManagedSseEnabled" in one["Properties"]
    for name in ("Table", "Payloads"):
        assert RESOURCES[name]["DeletionPolicy"] == "Retain"


def test_the_template_is_found_beside_the_source_root() -> None:
    assert moto_template.find() == Path(__file__).resolve().parents[2] / "template.yaml"


def test_every_check_that_is_left_out_has_its_reason() -> None:
    lines = (ROOT / ".checkov.yaml").read_text().split("skip-check:\n")[1].splitlines()

    assert len(lines) > 1
    for before, line in itertools.pairwise(["", *lines]):
        assert line.startswith("  # ") or before.startswith("  # "), line
