"""polos-aws: durable workflows in Python on plain AWS serverless parts, and on a laptop with nothing installed."""

from polos.client import Polos, PolosClient, batch_invoke
from polos.context import WorkflowContext
from polos.current import current_step
from polos.errors import (
    BackendError,
    ChildWorkflowError,
    CrashLoopError,
    DuplicateStepKeyError,
    ExecutionNotFoundError,
    ExecutionStateError,
    HistoryExpiredError,
    InvalidPayloadError,
    NonDeterminismError,
    PayloadCodecError,
    PayloadTooLargeError,
    PolosError,
    SerializationError,
    StepExecutionError,
    StepTimeoutError,
    UndeliverableError,
    UsageError,
    WorkflowCancelledError,
    WorkflowDefinitionError,
    WorkflowFailedError,
    WorkflowNotFoundError,
    WorkflowTimeoutError,
)
from polos.features import events, schedules
from polos.handle import ExecutionHandle
from polos.hooks import HookAction, HookContext, HookResult, hook
from polos.queues import Queue, queue
from polos.state import WorkflowState
from polos.types.types import (
    BatchEventPayload,
    BatchStepResult,
    BatchWorkflowInput,
    EventPattern,
    EventPayload,
    ExecutionDetail,
    SchedulePayload,
    StepDetail,
)
from polos.worker import Worker
from polos.workflow import Workflow, get_all_workflows, get_workflow, workflow

__all__ = [
    "BackendError",
    "BatchEventPayload",
    "BatchStepResult",
    "BatchWorkflowInput",
    "ChildWorkflowError",
    "CrashLoopError",
    "DuplicateStepKeyError",
    "EventPattern",
    "EventPayload",
    "ExecutionDetail",
    "ExecutionHandle",
    "ExecutionNotFoundError",
    "ExecutionStateError",
    "HookAction",
    "HookContext",
    "HookResult",
    "HistoryExpiredError",
    "InvalidPayloadError",
    "NonDeterminismError",
    "PayloadCodecError",
    "PayloadTooLargeError",
    "Polos",
    "PolosClient",
    "PolosError",
    "Queue",
    "SchedulePayload",
    "SerializationError",
    "StepDetail",
    "StepExecutionError",
    "StepTimeoutError",
    "UndeliverableError",
    "UsageError",
    "Worker",
    "Workflow",
    "WorkflowCancelledError",
    "WorkflowContext",
    "WorkflowDefinitionError",
    "WorkflowFailedError",
    "WorkflowNotFoundError",
    "WorkflowState",
    "WorkflowTimeoutError",
    "batch_invoke",
    "current_step",
    "events",
    "get_all_workflows",
    "get_workflow",
    "hook",
    "queue",
    "schedules",
    "workflow",
]
