"""`template.yaml` as CloudFormation that moto can make: translated by SAM's own translator, once a process.

Left out is what moto does not know, or what would get in the way: functions (the harness calls the handlers itself; an
event source mapping of moto's would swallow messages), their roles and logs, resource policies. The environment of the
functions is kept, as outputs, so that the handlers get their settings as they would in Lambda.
"""

from __future__ import annotations

import copy
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from polos.aws import sources

REGION = "us-east-1"
_MADE = frozenset(
    {
        "AWS::DynamoDB::Table",
        "AWS::S3::Bucket",
        "AWS::SQS::Queue",
        "AWS::Events::EventBus",
        "AWS::Events::Rule",
        "AWS::IAM::Role",
    }
)
_NAMED = frozenset({"AWS::Events::EventBus", "AWS::Scheduler::ScheduleGroup"})
"""moto answers a Ref of these with an object of its own, or not at all; the template names them."""


@dataclass(frozen=True, slots=True)
class Source:
    """An event source mapping: the queue, by its name in the template, and the handler that gets its messages."""

    queue: str
    handler: str


@dataclass(frozen=True, slots=True)
class Translated:
    """`template` makes the resources. `environment` and `queues` say by which output a name is found."""

    template: dict[str, Any]
    environment: dict[str, str]
    queues: dict[str, str]
    sources: list[Source]


def find() -> Path:
    """The template: beside the source root, or packaged with the library."""
    return sources.root() / sources.TEMPLATE


def load(path: Path) -> dict[str, Any]:
    """The template as data, CloudFormation's short forms written out."""
    from samtranslator.yaml_helper import yaml_parse

    return yaml_parse(path.read_text())


def translate(template: dict[str, Any], parameters: dict[str, Any], package: str = "package.zip") -> dict[str, Any]:
    """What SAM's transform makes of a template. The code is named as in a packaged template: by its hash, there."""
    from samtranslator.parser.parser import Parser
    from samtranslator.translator.translator import Translator

    template = copy.deepcopy(template)
    template["Globals"]["Function"]["CodeUri"] = {"Bucket": "artifacts", "Key": package}
    translator: Any = Translator({}, Parser(), boto_session=boto3.Session(region_name=REGION))
    return dict(translator.translate(template, parameters))


@functools.cache
def prepared() -> Translated:
    """The project's template, ready for moto."""
    return prepare(load(find()))


def prepare(template: dict[str, Any]) -> Translated:
    """A template, ready for moto."""
    whole = translate(template, {"App": "tested"})
    functions = [one for one in whole["Resources"].values() if one["Type"] == "AWS::Lambda::Function"]
    names = {name: one["Properties"]["Name"] for name, one in whole["Resources"].items() if one["Type"] in _NAMED}
    kept = {
        name: one for name, one in whole["Resources"].items() if one["Type"] in _MADE and not _is_role_of_function(one)
    }
    outputs: dict[str, Any] = dict(whole["Outputs"])
    environment: dict[str, str] = {}
    for function in functions:
        for variable, value in function["Properties"]["Environment"]["Variables"].items():
            if not variable.startswith("POLOS_"):
                continue
            environment[variable] = f"Env{variable.replace('_', '')}"
            outputs[environment[variable]] = {"Value": value}
    queues = {name: f"Queue{name}" for name, one in kept.items() if one["Type"] == "AWS::SQS::Queue"}
    outputs |= {output: {"Value": {"Ref": name}} for name, output in queues.items()}
    outputs = {
        name: one
        for name, one in outputs.items()
        if not _refers_to(one, set(whole["Resources"]) - set(kept) - set(names))
    }
    buses = [name for name, one in kept.items() if one["Type"] == "AWS::Events::EventBus"]
    kept = {
        name: {**one, "DependsOn": buses} if one["Type"] == "AWS::Events::Rule" else one for name, one in kept.items()
    }
    made = {**whole, "Resources": kept, "Outputs": outputs}
    made.pop("Metadata", None)
    return Translated(_replace_refs(made, names), environment, queues, _sources(template))


def _is_role_of_function(resource: dict[str, Any]) -> bool:
    """A function's own, or that of what calls one."""
    properties = resource["Properties"]
    own = "lambda.amazonaws.com" in str(properties.get("AssumeRolePolicyDocument", ""))
    return own or "lambda:InvokeFunction" in str(properties.get("Policies", ""))


def _refers_to(part: Any, names: set[str]) -> bool:
    if isinstance(part, dict):
        found: dict[str, Any] = part
        refs = {str(found.get("Ref")), _resource_of(found.get("Fn::GetAtt"))}
        return bool(refs & names) or any(_refers_to(value, names) for value in found.values())
    members: list[Any] = part if isinstance(part, list) else []
    return any(_refers_to(value, names) for value in members)


def _replace_refs(part: Any, names: dict[str, Any]) -> Any:
    if isinstance(part, list):
        members: list[Any] = part
        return [_replace_refs(value, names) for value in members]
    if not isinstance(part, dict):
        return part
    found: dict[str, Any] = part
    if list(found) == ["Ref"] and found["Ref"] in names:
        return names[found["Ref"]]
    return {key: _replace_refs(value, names) for key, value in found.items()}


def _resource_of(attribute: Any) -> str:
    """The resource in a Fn::GetAtt, which is a list or has a dot; empty where there is none."""
    if attribute is None:
        return ""
    return attribute.partition(".")[0] if isinstance(attribute, str) else str(attribute[0])


def _sources(template: dict[str, Any]) -> list[Source]:
    found: list[Source] = []
    for resource in template["Resources"].values():
        if resource["Type"] != "AWS::Serverless::Function":
            continue
        own: dict[str, Any] = resource["Properties"]
        for event in own.get("Events", {}).values():
            if event["Type"] == "SQS":
                name = _resource_of(event["Properties"]["Queue"]["Fn::GetAtt"])
                found.append(Source(name, str(own["Handler"])))
    return found
