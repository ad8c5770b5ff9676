"""template.yaml as data, for the tests that look at it."""

from __future__ import annotations

from typing import Any

from polos.testing import moto_template

ROOT = moto_template.find().parent
TEMPLATE = moto_template.load(ROOT / "template.yaml")
RESOURCES: dict[str, Any] = TEMPLATE["Resources"]


def of_type(kind: str) -> dict[str, Any]:
    """The resources of a type, by their names."""
    return {name: one for name, one in RESOURCES.items() if one["Type"] == kind}


def named(value: Any) -> str:
    """The resource that a Ref or a GetAtt names."""
    attribute = value.get("Fn::GetAtt")
    return value.get("Ref") or (attribute.split(".")[0] if isinstance(attribute, str) else attribute[0])


def listed(value: Any) -> list[Any]:
    """What a policy may say as one or as a list."""
    return value if isinstance(value, list) else [value]


FUNCTIONS = of_type("AWS::Serverless::Function")
QUEUES = of_type("AWS::SQS::Queue")
SOURCES = [
    (function, event["Properties"])
    for function in FUNCTIONS.values()
    for event in function["Properties"].get("Events", {}).values()
    if event["Type"] == "SQS"
]
