"""One stack as a `Backend`: the adapters, put together."""

from __future__ import annotations

from polos.aws.clients import Clients
from polos.aws.default_bus import EventBridgeDefaultBus
from polos.aws.inbox import SqsInbox
from polos.aws.lifecycle import EventBridgeLifecycle
from polos.aws.payloads import S3Payloads
from polos.aws.recurrences import SchedulerRecurrences
from polos.aws.settings import Settings
from polos.aws.table import DynamoTable
from polos.aws.timers import SchedulerTimers
from polos.aws.topics import EventBridgeTopics
from polos.clock import SystemClock
from polos.limits import Limits
from polos.payloads import codec_of_stack
from polos.ports import Backend, Clock, NoTelemetry, Telemetry


def aws_backend(
    settings: Settings,
    clock: Clock | None = None,
    *,
    clients: Clients | None = None,
    limits: Limits | None = None,
    telemetry: Telemetry | None = None,
) -> Backend:
    """The backend of a stack. No requests; makes one client (DynamoDB's), the others when they are needed."""
    time = clock or SystemClock()
    made = clients or Clients(settings.region)
    topics = EventBridgeTopics(made, settings.bus, time)
    numbers = limits or settings.limits()
    return Backend(
        table=DynamoTable(made.dynamodb, settings.table, time, numbers.horizon),
        inbox=SqsInbox(made, start_url=settings.start_queue_url, wake_url=settings.wake_queue_url, clock=time),
        timers=SchedulerTimers(made, settings),
        topics=topics,
        payloads=S3Payloads(made, settings.bucket),
        recurrences=SchedulerRecurrences(made, settings),
        default_bus=EventBridgeDefaultBus(made, settings),
        clock=time,
        limits=numbers,
        codec=codec_of_stack(settings.payload_codec),
        telemetry=telemetry or NoTelemetry(),
        lifecycle=EventBridgeLifecycle(topics, settings.bus) if settings.lifecycle_events else None,
    )
