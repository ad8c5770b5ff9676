"""Every error that polos raises on purpose. This module imports nothing of the package.

Each error carries its fields as attributes, not only as text, and can be rebuilt from them, so that a failure
shows the same type, message and fields live, on replay, to the parent, to the caller and on the command line.

    PolosError
    ├── StepExecutionError            a step failed for good (user code may catch it)
    │   ├── StepTimeoutError          a step, or a wait with a time limit, ran out of time
    │   ├── ChildWorkflowError        a child failed, was cancelled or timed out
    │   └── SerializationError        a value cannot be stored or read back as what it was
    ├── DuplicateStepKeyError         one key used twice in one execution
    ├── NonDeterminismError           a key recorded as one kind of step and found as another
    ├── InvalidPayloadError           a payload, option or message that does not validate
    ├── PayloadTooLargeError          a value over the size limit
    ├── WorkflowDefinitionError       a @workflow that cannot work (also a ValueError; raised at import)
    ├── WorkflowNotFoundError         no workflow of that id in this application
    ├── ExecutionNotFoundError        no execution of that id
    ├── ExecutionStateError           not possible in the state that the execution is in
    ├── WorkflowFailedError           the outcome of an execution that failed (also a RuntimeError)
    ├── WorkflowTimeoutError          the outcome of an execution that ran out of time
    ├── WorkflowCancelledError        the outcome of an execution that was cancelled
    ├── CrashLoopError                an execution whose invocations kept dying
    ├── UndeliverableError            an execution whose messages were given up again and again
    ├── HistoryExpiredError           an open execution whose records may have expired
    ├── UsageError                    an API used where it cannot work (also a RuntimeError)
    └── BackendError                  the backend cannot be reached, or is not what it should be
        └── PayloadCodecError         a value cannot be encoded or decoded by the codec of payloads
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

_MOST_NAMED = 10


class PolosError(Exception):
    """The root of every error that polos raises on purpose.

    `traceback` is the text of the original traceback where the failure happened in another process or invocation.
    """

    traceback: str | None = None


class StepExecutionError(PolosError):
    """A step failed and will not be tried again.

    `step_key` names the step, `error_type` the class of the last exception (a bare class name), `message` its text,
    `attempts` how often the callable was tried. With one argument it is the message, as user code raises it.
    """

    def __init__(
        self,
        step_key: str,
        error_type: str | None = None,
        message: str | None = None,
        attempts: int = 0,
        *,
        traceback: str | None = None,
    ) -> None:
        if message is None and error_type is None:
            self.step_key: str | None = None
            self.error_type, self.message = type(self).__name__, step_key
            text = step_key
        else:
            self.step_key = step_key
            self.error_type, self.message = error_type or "Exception", message or ""
            text = f"Step {step_key!r} failed: {self.error_type}: {self.message}"
        self.attempts = attempts
        self.traceback = traceback
        super().__init__(text)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.args, dict(self.__dict__))


class StepTimeoutError(StepExecutionError):
    """A step's `timeout` passed on its last attempt, or a wait for an event or a resume reached its time limit."""


class ChildWorkflowError(StepExecutionError):
    """A child that was waited for ended without a result.

    `workflow_id` and `execution_id` name the child, `status` is "failed", "cancelled" or "timed_out", `error` is the
    child's own error as text. `step_key` is the parent's step.
    """

    def __init__(
        self,
        workflow_id: str,
        execution_id: str,
        status: str,
        error: str | None = None,
        *,
        step_key: str = "",
        error_type: str | None = None,
        traceback: str | None = None,
    ) -> None:
        super().__init__(step_key, error_type or "ChildWorkflowError", error or status, 1, traceback=traceback)
        self.workflow_id, self.execution_id, self.status, self.error = workflow_id, execution_id, status, error
        because = f": {error}" if error else ""
        self.args = (f"Child workflow {workflow_id!r} (execution {execution_id}) {status.replace('_', ' ')}{because}",)


class SerializationError(StepExecutionError):
    """A value cannot be encoded or decoded. `path` is where inside the value (`$.items[3].owner`)."""

    def __init__(
        self,
        message: str,
        *,
        path: str = "$",
        step_key: str = "",
        attempts: int = 0,
        traceback: str | None = None,
    ) -> None:
        super().__init__(step_key, "SerializationError", message, attempts, traceback=traceback)
        self.path = path
        self.args = (f"Step {step_key!r}: {message}" if step_key else message,)


class DuplicateStepKeyError(PolosError):
    """One step key was used twice in one execution. `step_key` names it."""

    def __init__(self, step_key: str) -> None:
        self.step_key = step_key
        super().__init__(
            f"The step key {step_key!r} was used twice in this execution. Keys must be unique: in a loop, put the "
            f"loop variable into the key, for example f{step_key + '_{i}'!r}."
        )

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.step_key,)


class NonDeterminismError(PolosError):
    """A step key was recorded as one kind of step and is now used as another."""

    def __init__(self, step_key: str, recorded: str, found: str) -> None:
        self.step_key, self.recorded, self.found = step_key, recorded, found
        super().__init__(
            f"The step key {step_key!r} was recorded as {recorded} and the code now uses it as {found}. Give the new "
            f"step a new key, then retry the execution."
        )

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.step_key, self.recorded, self.found)


class InvalidPayloadError(PolosError):
    """A payload, an option or a message that does not validate; nothing was stored. `errors` holds one line a field."""

    def __init__(self, message: str, *, errors: tuple[str, ...] = ()) -> None:
        self.errors = errors
        super().__init__(message)


class PayloadTooLargeError(PolosError):
    """A value is larger than `limit` bytes before compression. `what` names it, `size` is in bytes."""

    def __init__(self, what: str, size: int, limit: int) -> None:
        self.what, self.size, self.limit = what, size, limit
        super().__init__(
            f"{what} is {size:,} bytes; the limit is {limit:,}. Store it yourself (in S3, say) and pass a reference."
        )

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.what, self.size, self.limit)


class WorkflowDefinitionError(PolosError, ValueError):
    """A workflow, queue or schedule was declared in a way that cannot work. Raised at import; names the function."""


class WorkflowNotFoundError(PolosError):
    """No workflow of this id is registered in this application; `known` are the ids of those that are."""

    def __init__(self, workflow_id: str, known: Iterable[str] = ()) -> None:
        self.workflow_id, self.known = workflow_id, tuple(sorted(known))
        super().__init__(f"There is no workflow {workflow_id!r} here{_instead(workflow_id, self.known)}")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.workflow_id, self.known)


def _instead(workflow_id: str, known: Sequence[str]) -> str:
    """What was meant, perhaps, or else what there is."""
    alike = difflib.get_close_matches(workflow_id, known, n=1)
    if alike:
        return f". Did you mean {alike[0]!r}? Otherwise import the module that defines it first."
    shown = ", ".join(known[:_MOST_NAMED]) + (f" and {len(known) - _MOST_NAMED} more" if known[_MOST_NAMED:] else "")
    return f"{f', only {shown}' if known else ''}. Import the module that defines it first."


class ExecutionNotFoundError(PolosError):
    """No execution of this id exists, or its retention has passed."""

    def __init__(self, execution_id: str) -> None:
        self.execution_id = execution_id
        super().__init__(f"There is no execution {execution_id!r} (or it ended so long ago that it was removed).")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.execution_id,)


class ExecutionStateError(PolosError):
    """The execution's state does not allow this; nothing was changed. `status` is what it is."""

    def __init__(self, execution_id: str, status: str, action: str) -> None:
        self.execution_id, self.status, self.action = execution_id, status, action
        super().__init__(f"Execution {execution_id} is {status}; {action} is not possible.")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.execution_id, self.status, self.action)


class WorkflowFailedError(PolosError, RuntimeError):
    """An execution failed. `error_type` and `message` are those of the exception that ended it."""

    def __init__(
        self,
        workflow_id: str,
        execution_id: str,
        error_type: str,
        message: str,
        *,
        traceback: str | None = None,
    ) -> None:
        self.workflow_id, self.execution_id = workflow_id, execution_id
        self.error_type, self.message, self.traceback = error_type, message, traceback
        super().__init__(f"Workflow {workflow_id!r} (execution {execution_id}) failed: {error_type}: {message}")


class WorkflowTimeoutError(PolosError):
    """An execution, or the wait for its result, ran out of time. `timeout_seconds` is the limit where it is known."""

    def __init__(self, execution_id: str, timeout_seconds: float | None = None) -> None:
        self.execution_id, self.timeout_seconds = execution_id, timeout_seconds
        limit = "" if timeout_seconds is None else f" of {timeout_seconds:g} s"
        super().__init__(f"Execution {execution_id} did not finish within its time limit{limit}.")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.execution_id, self.timeout_seconds)


class WorkflowCancelledError(PolosError):
    """An execution was cancelled."""

    def __init__(self, workflow_id: str, execution_id: str) -> None:
        self.workflow_id, self.execution_id = workflow_id, execution_id
        super().__init__(f"Workflow {workflow_id!r} (execution {execution_id}) was cancelled.")

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.workflow_id, self.execution_id)


class CrashLoopError(PolosError):
    """The invocations of an execution died `deaths` times in a row without recording anything."""

    def __init__(self, execution_id: str, deaths: int) -> None:
        self.execution_id, self.deaths = execution_id, deaths
        super().__init__(
            f"Execution {execution_id} was given up after {deaths} invocations in a row died without progress "
            f"(out of memory, a killed process, a function timeout, a replay or a step that takes longer than an "
            f"invocation may). Mend the cause, then retry the execution."
        )

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.execution_id, self.deaths)


class UndeliverableError(PolosError):
    """The messages of an execution were given up again and again, and it did not move. `kind` is the last one's."""

    def __init__(self, execution_id: str, kind: str, rounds: int) -> None:
        self.execution_id, self.kind, self.rounds = execution_id, kind, rounds
        super().__init__(
            f"Execution {execution_id} was given up: its queue gave up a {kind!r} message {rounds} times, and nothing "
            f"moved in between. The log of the functions says why. Mend the cause, then retry the execution."
        )

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.execution_id, self.kind, self.rounds)


class HistoryExpiredError(PolosError):
    """What an open execution had recorded may have expired, for nothing renewed it; its steps would run again."""

    def __init__(self, execution_id: str) -> None:
        self.execution_id = execution_id
        super().__init__(
            f"Execution {execution_id} was open for longer than its records were kept, and the maintenance that renews "
            f"them has not run. Its steps would run again as if for the first time, so it was failed. See to the "
            f"maintenance function of the stack; restore the table if the execution must go on."
        )

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.execution_id,)


class UsageError(PolosError, RuntimeError):
    """An API was used where it cannot work; the message names what to use instead."""


class BackendError(PolosError):
    """The backend cannot be reached, is not deployed, or holds something that this version does not understand."""


class PayloadCodecError(BackendError):
    """A stored value needs the codec that `POLOS_PAYLOAD_CODEC` names, and there is none here, or it failed.

    Nothing is lost by it: a message that meets it comes again, and an execution goes on once the codec works.
    """


def _rebuild(cls: type[StepExecutionError], args: tuple[object, ...], state: dict[str, object]) -> StepExecutionError:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error
