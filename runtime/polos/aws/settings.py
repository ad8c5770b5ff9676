"""Where everything of one stack is. Read from the environment of a function, or from the outputs of the stack.

Owns the names of both (`template.yaml` sets them). Must not create a client before it is asked to look at a stack.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from polos.aws import faults
from polos.errors import BackendError
from polos.limits import Limits

NAMES: Final[Mapping[str, tuple[str, str]]] = {
    "table": ("POLOS_TABLE", "TableName"),
    "start_queue_url": ("POLOS_START_QUEUE_URL", "StartQueueUrl"),
    "wake_queue_url": ("POLOS_WAKE_QUEUE_URL", "WakeQueueUrl"),
    "wake_queue_arn": ("POLOS_WAKE_QUEUE_ARN", "WakeQueueArn"),
    "events_queue_url": ("POLOS_EVENTS_QUEUE_URL", "EventsQueueUrl"),
    "events_queue_arn": ("POLOS_EVENTS_QUEUE_ARN", "EventsQueueArn"),
    "native_events_queue_url": ("POLOS_NATIVE_EVENTS_QUEUE_URL", "NativeEventsQueueUrl"),
    "native_events_queue_arn": ("POLOS_NATIVE_EVENTS_QUEUE_ARN", "NativeEventsQueueArn"),
    "dead_letters_arn": ("POLOS_DEAD_LETTERS_ARN", "DeadLettersArn"),
    "dead_letters_url": ("POLOS_DEAD_LETTERS_URL", "DeadLettersUrl"),
    "kept_letters_url": ("POLOS_KEPT_LETTERS_URL", "KeptLettersUrl"),
    "bus": ("POLOS_BUS", "BusName"),
    "bucket": ("POLOS_BUCKET", "BucketName"),
    "schedule_group": ("POLOS_SCHEDULE_GROUP", "ScheduleGroup"),
    "scheduler_role_arn": ("POLOS_SCHEDULER_ROLE_ARN", "SchedulerRoleArn"),
    "retention_days": ("POLOS_RETENTION_DAYS", "RetentionDays"),
    "event_retention_hours": ("POLOS_EVENT_RETENTION_HOURS", "EventRetentionHours"),
}
"""Each setting's environment variable and stack output."""

OPTIONS: Final[Mapping[str, tuple[str, str, str]]] = {
    "payload_codec": ("POLOS_PAYLOAD_CODEC", "PayloadCodec", "none"),
    "lifecycle_events": ("POLOS_LIFECYCLE_EVENTS", "LifecycleEvents", "off"),
    "workflow_metrics": ("POLOS_WORKFLOW_METRICS", "WorkflowMetrics", "on"),
}
"""As `NAMES`, with what holds where it is not said."""

HORIZON_DAYS: Final = 60
"""Days that records and payloads are kept beyond the retention of executions, unless they are renewed."""

STACK_NAME: Final = "POLOS_STACK_NAME"
_SWITCHES = frozenset({"lifecycle_events", "workflow_metrics"})
_NUMBERS = frozenset({"retention_days", "event_retention_hours"})
_UNUSABLE = frozenset(
    {
        "CREATE_IN_PROGRESS",
        "CREATE_FAILED",
        "ROLLBACK_IN_PROGRESS",
        "ROLLBACK_FAILED",
        "ROLLBACK_COMPLETE",
        "DELETE_IN_PROGRESS",
        "DELETE_FAILED",
        "DELETE_COMPLETE",
        "REVIEW_IN_PROGRESS",
    }
)


@dataclass(frozen=True, slots=True)
class Settings:
    """One deployed stack. Queues that Scheduler or a rule sends to are named by ARN as well."""

    stack: str
    region: str
    table: str
    start_queue_url: str
    wake_queue_url: str
    wake_queue_arn: str
    events_queue_url: str
    events_queue_arn: str
    native_events_queue_url: str
    native_events_queue_arn: str
    dead_letters_arn: str
    dead_letters_url: str
    kept_letters_url: str
    bus: str
    bucket: str
    schedule_group: str
    scheduler_role_arn: str
    retention_days: int = 14
    event_retention_hours: int = 24
    payload_codec: str = "none"
    lifecycle_events: bool = False
    workflow_metrics: bool = True

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """What the template put into a function's environment. Raises `BackendError` naming what is missing."""
        given = os.environ if environment is None else environment
        region = given.get("AWS_REGION") or given.get("AWS_DEFAULT_REGION")
        if not region:
            raise BackendError("There is no AWS region here; set AWS_REGION.")
        found = {name: given.get(variable, "") for name, (variable, _) in NAMES.items()}
        missing = [NAMES[name][0] for name, value in found.items() if not value]
        if missing:
            raise BackendError(
                f"The environment lacks {', '.join(missing)}; a function of the stack has them from template.yaml, and "
                f"other programs name the stack with POLOS_STACK."
            )
        found |= {name: given.get(variable) or default for name, (variable, _, default) in OPTIONS.items()}
        return cls._of(given.get(STACK_NAME) or found["table"], region, found, "the environment")

    @classmethod
    def from_stack(cls, name: str, region: str | None = None, *, session: Any = None) -> Settings:
        """What the stack's outputs say. 1 request (DescribeStacks).

        Raises `BackendError` for a stack that does not exist, is not (or not any more) deployed, is of an older
        version, or is not a polos stack, and for missing or expired credentials.
        """
        client, region = _cloudformation(region, session)
        try:
            stack = client.describe_stacks(StackName=name)["Stacks"][0]
        except ClientError as error:
            if faults.code_of(error) == "ValidationError":
                raise BackendError(
                    f"There is no stack {name!r} in {region}; check the name, the region and the account."
                ) from error
            raise faults.explained(error) from error
        except BotoCoreError as error:
            raise faults.explained(error) from error
        status = str(stack["StackStatus"])
        if status in _UNUSABLE:
            raise BackendError(f"The stack {name!r} in {region} cannot be used: it is {status}. Deploy it again.")
        outputs = {str(one["OutputKey"]): str(one["OutputValue"]) for one in stack.get("Outputs", [])}
        found = {setting: outputs.get(output, "") for setting, (_, output) in NAMES.items()}
        missing = [NAMES[setting][1] for setting, value in found.items() if not value]
        if len(missing) == len(NAMES):
            raise BackendError(f"The stack {name!r} in {region} is not a polos stack: it has none of its outputs.")
        if missing:
            raise BackendError(
                f"The stack {name!r} in {region} lacks the outputs {', '.join(missing)}: it is half deployed, or of an "
                f"older version. Deploy it again."
            )
        found |= {setting: outputs.get(output) or default for setting, (_, output, default) in OPTIONS.items()}
        return cls._of(name, region, found, f"the stack {name!r}")

    @classmethod
    def _of(cls, stack: str, region: str, found: Mapping[str, str], where: str) -> Settings:
        values: dict[str, Any] = dict(found)
        for name in _NUMBERS:
            text = found[name]
            if not text.isascii() or not text.isdigit() or int(text) < 1:
                raise BackendError(f"{NAMES[name][0]} in {where} is {text!r}; it must be a whole number above 0.")
            values[name] = int(text)
        for name in _SWITCHES:
            if found[name] not in ("on", "off"):
                raise BackendError(f"{OPTIONS[name][0]} in {where} is {found[name]!r}; it must be 'on' or 'off'.")
            values[name] = found[name] == "on"
        return cls(stack=stack, region=region, **values)

    def limits(self) -> Limits:
        """The protocol's numbers, with this stack's retention."""
        return Limits(
            retention=self.retention_days * 86_400.0,
            horizon=(self.retention_days + HORIZON_DAYS) * 86_400.0,
            event_retention=self.event_retention_hours * 3_600.0,
        )

    def queue_of(self, arn: str) -> str:
        """What the queue of an ARN is for: "start", "wake", "events", "native", "dead"; "other": a user's own."""
        name = arn.rpartition(":")[2]
        lanes = {
            "start": self.start_queue_url,
            "wake": self.wake_queue_url,
            "events": self.events_queue_url,
            "native": self.native_events_queue_url,
            "dead": self.dead_letters_url,
        }
        return next((lane for lane, url in lanes.items() if url.rpartition("/")[2] == name), "other")

    def queue_url(self, arn: str) -> str | None:
        """The URL of one of the stack's queues, by the ARN that a received record names; None: not one of them."""
        name = arn.rpartition(":")[2]
        for url in (
            self.start_queue_url,
            self.wake_queue_url,
            self.events_queue_url,
            self.native_events_queue_url,
            self.dead_letters_url,
        ):
            if url.rpartition("/")[2] == name:
                return url
        return None


def in_environment(environment: Mapping[str, str] | None = None) -> bool:
    """Whether this process has the settings of a stack in its environment, as the stack's functions have."""
    given = os.environ if environment is None else environment
    return bool(given.get(NAMES["table"][0]))


def _cloudformation(region: str | None, session: Any) -> tuple[Any, str]:
    import boto3

    from polos.aws.clients import CONFIG

    made: Any = session
    if region is None and session is None:
        region = os.environ.get("AWS_REGION")  # as in `from_environment`; botocore reads AWS_DEFAULT_REGION alone
    try:
        made = made or boto3.Session()
        client: Any = made.client("cloudformation", region_name=region or None, config=CONFIG)
    except BotoCoreError as error:
        raise faults.explained(error) from error
    meta: Any = client.meta
    return client, str(meta.region_name)
