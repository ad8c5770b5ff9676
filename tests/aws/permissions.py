"""Requests as the permissions that they need, held against those that the template gives.

The names of actions and resources are those of the Service Authorization Reference ("Actions, resources, and condition
keys for Amazon DynamoDB", "… SQS", "… EventBridge", "… EventBridge Scheduler", "… S3", "AWS CloudFormation").
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from polos.aws.clients import Clients
from polos.testing.moto_account import ACCOUNT, MotoAccount
from polos.testing.moto_template import REGION

_RENAMED = {
    ("sqs", "SendMessageBatch"): "SendMessage",
    ("sqs", "DeleteMessageBatch"): "DeleteMessage",
    ("s3", "HeadObject"): "GetObject",
    ("s3", "ListObjectsV2"): "ListBucket",
    ("s3", "DeleteObjects"): "DeleteObject",
    ("s3", "CopyObject"): "PutObject",
    ("dynamodb", "BatchWriteItem"): "BatchWriteItem",
}


@dataclass(frozen=True, order=True)
class Need:
    """One action on one resource."""

    action: str
    resource: str

    def __str__(self) -> str:
        return f"{self.action} on {self.resource}"


def needs(service: str, operation: str, given: Mapping[str, Any]) -> set[Need]:
    """What a request needs. Fails for a request that this table does not know: then it is time to add it."""
    action = f"{service}:{_RENAMED.get((service, operation), operation)}"
    return {Need(action, resource) for resource in _resources(service, operation, given)} | _besides(
        service, operation, given
    )


def _resources(service: str, operation: str, given: Mapping[str, Any]) -> list[str]:
    match service:
        case "dynamodb":
            names = list(given["RequestItems"]) if "RequestItems" in given else [given["TableName"]]
            index = f"/index/{given['IndexName']}" if "IndexName" in given else ""
            return [f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{name}{index}" for name in names]
        case "sqs" if "QueueUrl" in given:
            return [f"arn:aws:sqs:{REGION}:{ACCOUNT}:{given['QueueUrl'].rpartition('/')[2]}"]
        case "events" if operation == "PutEvents":
            buses = {entry.get("EventBusName", "default") for entry in given["Entries"]}
            return [f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/{bus}" for bus in buses]
        case "events":
            return [f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{given.get('Name') or given.get('Rule') or '*'}"]
        case "scheduler" if operation == "ListSchedules":
            return [f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/*/*"]
        case "scheduler":
            return [f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule/{given['GroupName']}/{given['Name']}"]
        case "s3" if "Key" in given:
            return [f"arn:aws:s3:::{given['Bucket']}/{given['Key']}"]
        case "s3" if "Delete" in given:
            return [f"arn:aws:s3:::{given['Bucket']}/{one['Key']}" for one in given["Delete"]["Objects"]]
        case "s3":
            return [f"arn:aws:s3:::{given['Bucket']}"]
        case "cloudformation":
            return [f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{given['StackName']}/*"]
        case _:
            raise AssertionError(f"which resource is {service}:{operation} about?")


def _besides(service: str, operation: str, given: Mapping[str, Any]) -> set[Need]:
    """What a request needs besides its own action."""
    if service == "scheduler" and "Target" in given:
        return {Need("iam:PassRole", given["Target"]["RoleArn"])}
    listed = {Need("s3:ListBucket", f"arn:aws:s3:::{given['Bucket']}")} if service == "s3" else set[Need]()
    if (service, operation) == ("s3", "GetObject"):
        return listed  # without it a missing object is answered as forbidden ("GetObject")
    if (service, operation) == ("s3", "CopyObject"):
        source = given["CopySource"]
        return {Need("s3:GetObject", f"arn:aws:s3:::{source['Bucket']}/{source['Key']}")} | listed
    return set()


class Recorded(Clients):
    """Clients that note what their requests need."""

    def __init__(self, session: Any) -> None:
        super().__init__(REGION, session)
        self.needs: set[Need] = set()

    def _make(self, service: str) -> Any:
        client = super()._make(service)
        client.meta.events.register("provide-client-params", self._note)
        return client

    def _note(self, params: dict[str, Any], model: Any, **_: Any) -> None:
        self.needs |= needs(model.service_model.service_name, model.name, params)


# ---- what the template gives


@dataclass(frozen=True)
class Grant:
    """One action on one pattern of resources, as a statement gives it."""

    sid: str
    action: str
    resource: str

    def covers(self, need: Need) -> bool:
        return self.action == need.action and fnmatch.fnmatchcase(need.resource, self.resource)

    def __str__(self) -> str:
        return f"{self.sid}: {self.action} on {self.resource}"


class Names:
    """The resources of the template under the names that moto gave them; without the optional ones."""

    def __init__(self, account: MotoAccount) -> None:
        settings = account.settings
        arns = {
            "Table": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{settings.table}",
            "Bus": f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/{settings.bus}",
            "Payloads": f"arn:aws:s3:::{settings.bucket}",
            "SchedulerRole": settings.scheduler_role_arn,
        }
        queues = {name: account.arn(name) for name in account.queue_urls}
        self._arns = {**arns, **queues}
        self._refs = {
            "AWS::Partition": "aws",
            "AWS::Region": REGION,
            "AWS::AccountId": ACCOUNT,
            "AWS::StackName": account.stack,
            "ScheduleGroup": settings.schedule_group,
        }

    def resolve(self, value: Any) -> str:
        if isinstance(value, str):
            return value
        if "Fn::Sub" in value:
            return re.sub(r"\$\{([^}]+)\}", lambda found: self._named(found.group(1)), value["Fn::Sub"])
        if "Ref" in value:
            return self._refs.get(value["Ref"], value["Ref"])
        attribute = value["Fn::GetAtt"]
        return self._named(attribute if isinstance(attribute, str) else ".".join(attribute))

    def _named(self, name: str) -> str:
        resource, _, attribute = name.partition(".")
        if attribute == "Arn":
            return self._arns.get(resource, f"arn of {resource}")
        return self._refs.get(name, name)


def grants(resource: Mapping[str, Any], names: Names) -> list[Grant]:
    """What a role or managed policy of the template gives, one action and one resource at a time."""
    properties = resource["Properties"]
    documents = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
    documents += [properties["PolicyDocument"]] if "PolicyDocument" in properties else []
    found: list[Grant] = []
    for statement in (one for document in documents for one in document["Statement"]):
        if "Fn::If" in statement:
            continue  # for a key or for X-Ray: the services ask for these, not the code
        assert statement["Effect"] == "Allow"
        for action in _listed(statement["Action"]):
            found += [
                Grant(statement.get("Sid", ""), action, names.resolve(one)) for one in _listed(statement["Resource"])
            ]
    return found


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def of_platform(function: Mapping[str, Any], names: Names) -> set[Need]:
    """What Lambda needs for a function: the poller of each queue, the log ("Configuring an SQS event source")."""
    found: set[Need] = set()
    for event in function["Properties"].get("Events", {}).values():
        if event["Type"] == "SQS":
            arn = names.resolve(event["Properties"]["Queue"])
            found |= {Need(f"sqs:{name}", arn) for name in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")}
    log = f"arn of {function['Properties']['LoggingConfig']['LogGroup']['Ref']}"
    return found | {Need("logs:CreateLogStream", log), Need("logs:PutLogEvents", log)}
