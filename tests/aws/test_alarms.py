"""What the template watches: alarms, the dashboard, keys for what is written, traces by parameter."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from polos.aws.metrics import NAMESPACE
from polos.ports import Notice
from polos.testing import moto_template
from tests.aws.template import FUNCTIONS, QUEUES, RESOURCES, ROOT, TEMPLATE, named, of_type

ALARMS = of_type("AWS::CloudWatch::Alarm")
OURS = {*Notice, "MessagesHandled", "MessagesKept", "MessagesFailed", "MessagesRefused", "MessageAge"}


def _watched(metric: str) -> set[str]:
    """The resources that alarms on a metric are about."""
    found: set[str] = set()
    for alarm in ALARMS.values():
        if alarm["Properties"]["MetricName"] == metric:
            (dimension,) = alarm["Properties"]["Dimensions"]
            found.add(named(dimension["Value"]))
    return found


def test_every_queue_and_every_function_is_watched() -> None:
    waiting = _watched("ApproximateAgeOfOldestMessage") | _watched("ApproximateNumberOfMessagesVisible")
    assert waiting == set(QUEUES)
    assert _watched("Errors") == set(FUNCTIONS)
    assert _watched("Throttles") <= set(FUNCTIONS)


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_tells_somebody_and_says_where_to_read_on(name: str) -> None:
    alarm = ALARMS[name]
    guide = (ROOT / "docs" / "operating.md").read_text()
    section = re.search(r'docs/operating\.md, "([^"]+)"', alarm["Properties"]["AlarmDescription"])

    assert alarm["Condition"] == "HasAlarms"
    assert section is not None
    assert re.search(rf"^#+ {re.escape(section.group(1))}$", guide, re.MULTILINE), section.group(1)
    told = [one["Fn::If"][1]["Ref"] for one in alarm["Properties"]["AlarmActions"]]
    assert told == ["AlarmsTopic", "AlarmTopicArn"]


def test_alarms_on_our_own_metrics_name_metrics_that_are_written() -> None:
    own = [alarm["Properties"] for alarm in ALARMS.values() if alarm["Properties"]["Namespace"] == NAMESPACE]
    assert own
    for properties in own:
        assert properties["MetricName"] in OURS
        assert [one["Name"] for one in properties["Dimensions"]] == ["stack"]


def test_the_dashboard_shows_metrics_that_there_are() -> None:
    body = RESOURCES["Overview"]["Properties"]["DashboardBody"]["Fn::Sub"]
    inserted = re.findall(r"\$\{([A-Za-z:.]+)\}", body)
    for name in inserted:
        assert name.split(".")[0] in RESOURCES or name.startswith("AWS::"), name
    shown = json.loads(re.sub(r"\$\{[^}]+\}", "x", body))["widgets"]
    metrics = [metric for widget in shown for metric in widget["properties"]["metrics"]]

    assert {metric[1] for metric in metrics if metric[0] == NAMESPACE} <= OURS
    for name in [*FUNCTIONS, *QUEUES]:
        assert name in {one.split(".")[0] for one in inserted}, f"{name} is not on the dashboard"
    for widget in shown:
        assert widget["x"] + widget["width"] <= 24
        assert widget["properties"]["title"]


def test_a_key_that_is_given_is_used_for_everything_that_is_kept() -> None:
    keyed = {
        "AWS::DynamoDB::Table": "SSESpecification",
        "AWS::S3::Bucket": "BucketEncryption",
        "AWS::SQS::Queue": "KmsMasterKeyId",
        "AWS::SNS::Topic": "KmsMasterKeyId",
        "AWS::Logs::LogGroup": "KmsKeyId",
    }
    for name, one in RESOURCES.items():
        if one["Type"] in keyed:
            assert "KmsKeyArn" in json.dumps(one["Properties"][keyed[one["Type"]]]), name
    kinds = ("AWS::IAM::Role", "AWS::IAM::ManagedPolicy")
    without = {name for name, one in RESOURCES.items() if one["Type"] in kinds and "KmsKeyArn" not in json.dumps(one)}
    assert without == {"RegistrarRole", "MaintenanceScheduleRole"}  # they touch nothing that the key encrypts


def test_every_function_has_logs_of_its_own_that_do_not_stay_for_ever() -> None:
    groups = [RESOURCES[name]["Properties"]["LoggingConfig"]["LogGroup"]["Ref"] for name in FUNCTIONS]
    assert len(set(groups)) == len(FUNCTIONS)
    for group in groups:
        assert RESOURCES[group]["Properties"]["RetentionInDays"] == {"Ref": "LogRetentionDays"}


def test_only_for_traces_a_permission_names_no_resource() -> None:
    """X-Ray has none (Service Authorization Reference); all that is conditional is a statement of its own."""
    for name in FUNCTIONS:
        (policy,) = RESOURCES[named(RESOURCES[name]["Properties"]["Role"])]["Properties"]["Policies"]
        conditional = [one["Fn::If"] for one in policy["PolicyDocument"]["Statement"] if "Fn::If" in one]
        open_ended = [(condition, one) for condition, one, _ in conditional if one["Resource"] == "*"]
        assert [condition for condition, _ in open_ended] == ["HasXRay"], name
        assert all(action.startswith("xray:Put") for _, one in open_ended for action in one["Action"])


@pytest.mark.parametrize(
    ("given", "mode", "layers"),
    [({}, "PassThrough", None), ({"Tracing": "xray", "TracingLayerArn": "arn:aws:lambda:x:1:layer:a:1"}, "Active", 1)],
)
def test_traces_are_by_parameter(given: dict[str, str], mode: str, layers: int | None) -> None:
    conditions = {
        "HasXRay": given.get("Tracing") == "xray",
        "HasTracingLayer": bool(given.get("TracingLayerArn")),
    }

    def chosen(value: Any) -> Any:
        return value["Fn::If"][1 if conditions[value["Fn::If"][0]] else 2]

    whole = moto_template.translate(TEMPLATE, {"App": "tested", **given})
    functions = [one["Properties"] for one in whole["Resources"].values() if one["Type"] == "AWS::Lambda::Function"]
    assert len(functions) == len(FUNCTIONS)
    for properties in functions:
        assert chosen(properties["TracingConfig"]["Mode"]) == mode
        found = chosen(properties["Layers"])
        assert (len(found) if isinstance(found, list) else None) == layers
        wrapper = chosen(properties["Environment"]["Variables"]["AWS_LAMBDA_EXEC_WRAPPER"])
        assert (wrapper == "/opt/otel-instrument") == bool(layers)
