"""The account's default EventBridge bus as the DefaultBus port: one rule a workflow, into a queue of the stack's own.

    STACK-HASH      HASH is made from the workflow's id, which the description names; DISABLED means half made
    target          {"t": "native", "wf", "event": <aws.events.event.json>}, the whole event in EventBridge's envelope

The message says which rule matched, so nothing here has to match again; EventBridge puts the event in place of the
variable (User Guide, "Amazon EventBridge input transformation", predefined variables). A rule is enabled only when it
has its target, and disabled before it loses it, so one that broke off in between shows in a listing and is made again.

A bus has 300 rules at most unless the quota is raised (User Guide, "EventBridge quotas", "Rules"); PutRule then says
LimitExceededException. What is changed takes effect "after a short period" (API reference, "PutRule").
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from polos.aws import faults
from polos.aws.clients import Clients
from polos.aws.settings import Settings
from polos.aws.topics import refused
from polos.core.identity import digest
from polos.errors import BackendError, InvalidPayloadError
from polos.ports import PatternRule

_HASH: Final = 24
_LONGEST_STACK: Final = 64 - 1 - _HASH  # a rule's name has 64 characters at most (API reference, "PutRule")
_TARGET: Final = "events"
_DESCRIPTION: Final = "polos starts "
_MISSING: Final = "ResourceNotFoundException"


class EventBridgeDefaultBus:
    """Thread-safe, but two changes of one rule at the same time may leave it half changed."""

    def __init__(self, clients: Clients, settings: Settings) -> None:
        self._clients, self._settings = clients, settings

    def apply(self, rule: PatternRule) -> None:
        """DescribeRule, PutRule for a new one, PutTargets, PutRule. The pattern is replaced at once."""
        if len(self._settings.stack) > _LONGEST_STACK:
            raise BackendError(
                f"The stack's name {self._settings.stack!r} is too long for rules on the default bus, which begin with "
                f"it: use at most {_LONGEST_STACK} characters where workflows are triggered by an EventPattern."
            )
        name = rule_name(self._settings.stack, rule.workflow_id)
        if not self._is_live(name):
            self._put_rule(name, rule, "DISABLED")
        self._put_target(name, rule.workflow_id)
        self._put_rule(name, rule, "ENABLED")

    def remove(self, workflow_id: str) -> None:
        """DisableRule, RemoveTargets, DeleteRule."""
        name, events = rule_name(self._settings.stack, workflow_id), self._clients.events
        for method, more in (
            (events.disable_rule, {"Name": name}),
            (events.remove_targets, {"Rule": name, "Ids": [_TARGET]}),
            (events.delete_rule, {"Name": name}),
        ):
            try:
                method(**more)
            except ClientError as error:
                if faults.code_of(error) != _MISSING:
                    raise faults.explained(error) from error
            except BotoCoreError as error:
                raise faults.explained(error) from error

    def list(self) -> list[PatternRule]:
        found: list[PatternRule] = []
        own = re.compile(re.escape(self._settings.stack) + f"-[0-9a-f]{{{_HASH}}}")
        more: dict[str, Any] = {}
        while True:
            answer = faults.call(self._clients.events.list_rules, NamePrefix=f"{self._settings.stack}-", **more)
            for one in answer["Rules"]:
                said = str(one.get("Description", ""))
                if own.fullmatch(str(one["Name"])) and said.startswith(_DESCRIPTION):
                    live = one.get("State") == "ENABLED"
                    pattern = canonical(str(one["EventPattern"])) if live else ""
                    found.append(PatternRule(said[len(_DESCRIPTION) :], pattern))
            if not answer.get("NextToken"):
                return found
            more = {"NextToken": answer["NextToken"]}

    def put(self, source: str, detail_type: str, detail: str, event_id: str | None = None) -> str:
        """PutEvents. The caller needs the permission on the default bus, which the stack's policy does not give."""
        if event_id is not None:
            raise InvalidPayloadError("EventBridge makes the id of an event itself; leave event_id out.")
        entry = {"Source": source, "DetailType": detail_type, "Detail": detail}
        answer = faults.call(self._clients.events.put_events, Entries=[entry])
        (result,) = answer["Entries"]
        if result.get("ErrorCode"):
            raise refused(result)
        return str(result["EventId"])

    def _is_live(self, name: str) -> bool:
        try:
            return self._clients.events.describe_rule(Name=name)["State"] == "ENABLED"
        except ClientError as error:
            if faults.code_of(error) == _MISSING:
                return False
            raise faults.explained(error) from error
        except BotoCoreError as error:
            raise faults.explained(error) from error

    def _put_rule(self, name: str, rule: PatternRule, state: str) -> None:
        faults.call(
            self._clients.events.put_rule,
            Name=name,
            Description=f"{_DESCRIPTION}{rule.workflow_id}",
            EventPattern=rule.pattern,
            State=state,
        )

    def _put_target(self, name: str, workflow_id: str) -> None:
        target = {
            "Id": _TARGET,
            "Arn": self._settings.native_events_queue_arn,
            "InputTransformer": {"InputTemplate": template(workflow_id)},
            "RetryPolicy": {"MaximumEventAgeInSeconds": 86_400, "MaximumRetryAttempts": 185},
            "DeadLetterConfig": {"Arn": self._settings.dead_letters_arn},
        }
        answer = faults.call(self._clients.events.put_targets, Rule=name, Targets=[target])
        if answer.get("FailedEntryCount"):
            raise refused(answer["FailedEntries"][0])


def rule_name(stack: str, workflow_id: str) -> str:
    """The name of a workflow's rule."""
    return f"{stack}-{digest('rule', workflow_id, length=_HASH)}"


def template(workflow_id: str) -> str:
    """What the rule sends; a workflow's id has no character that JSON or the transformer would read otherwise."""
    return f'{{"t":"native","wf":"{workflow_id}","event":<aws.events.event.json>}}'


def canonical(pattern: str) -> str:
    """A pattern as EventBridge gives it back, as `PatternRule` has it."""
    return json.dumps(json.loads(pattern), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
