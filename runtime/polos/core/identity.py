"""Names and ids: what is allowed, and how one is made from another. Pure.

Everything that must be the same after a crash is derived here: children, triggers, ticks, events (L10).
"""

from __future__ import annotations

import hashlib
import re
from datetime import datetime

from polos.errors import InvalidPayloadError, WorkflowDefinitionError

_WORKFLOW_ID = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_LONGEST_ID = 255
_EXECUTION_ID = re.compile(rf"[A-Za-z0-9_.:@=+,~-][A-Za-z0-9_.:@=+,~/-]{{0,{_LONGEST_ID - 1}}}")
_OF_A_SUCCESSOR = re.compile(r".+(~[0-9]+|~~[0-9a-f]{32})")
_PLAIN = re.compile(r"[A-Za-z0-9_.-]{1,40}")
MAX_NAME_BYTES = 512
RESERVED = "polos:"
"""What step keys of the runtime itself begin with."""
_MAX_ID = 200
_KEPT = 100


def check_workflow_id(workflow_id: object, function: str) -> str:
    if not isinstance(workflow_id, str) or not is_workflow_id(workflow_id):
        raise WorkflowDefinitionError(
            f"The workflow id {workflow_id!r} of {function} is not valid: use 1 to 128 letters, digits, '_', '.', '-'."
        )
    return workflow_id


def is_workflow_id(text: str) -> bool:
    return _WORKFLOW_ID.fullmatch(text) is not None


def is_execution_id(given: object) -> bool:
    return isinstance(given, str) and _EXECUTION_ID.fullmatch(given) is not None


def check_execution_id(execution_id: object) -> str:
    """An id given from outside. Raises `InvalidPayloadError`."""
    if not isinstance(execution_id, str) or not is_execution_id(execution_id):
        raise InvalidPayloadError(
            f"The execution id {_short(execution_id)} is not valid: use 1 to 255 letters, digits and '_.:@=+,~-', "
            f"and '/' after the first."
        )
    return execution_id


def check_chosen_id(execution_id: object) -> str:
    """The id that a caller chooses for a new execution: none that the runtime makes. Raises `InvalidPayloadError`."""
    chosen = check_execution_id(execution_id)
    if "/" in chosen:
        raise InvalidPayloadError(f"The execution id {_short(chosen)} has a '/', which is kept for children.")
    if _OF_A_SUCCESSOR.fullmatch(chosen):
        raise InvalidPayloadError(
            f"The execution id {_short(chosen)} ends as the runtime's own do after continue_as_new: "
            f"choose one without '~' and a number at its end."
        )
    return chosen


def check_step_key(key: object) -> str:
    return _check_name(key, "step key")


def check_topic(topic: object) -> str:
    return _check_name(topic, "topic")


def check_event_type(event_type: object) -> str | None:
    """An event's type, or the one that a wait asks for. Raises `InvalidPayloadError`."""
    if event_type is None:
        return None
    return check_short(event_type, "event_type")


def check_event_id(event_id: object) -> str:
    """An event's id that a publisher chose. Raises `InvalidPayloadError`."""
    return check_short(event_id, "event_id")


def check_short(text: object, what: str) -> str:
    """A text that is stored as it is, of 1 to 256 bytes. Raises `InvalidPayloadError`."""
    try:
        size = len(text.encode()) if isinstance(text, str) else 0
    except UnicodeEncodeError:
        raise InvalidPayloadError(f"{what} is {_short(text)}, which is not valid Unicode.") from None
    if not isinstance(text, str) or not 1 <= size <= 256:
        raise InvalidPayloadError(f"{what} must be a string of 1 to 256 bytes.")
    return text


def check_queue(name: object, what: str = "queue name") -> str:
    return _check_name(name, what)


def _check_name(name: object, what: str) -> str:
    if not isinstance(name, str):
        raise InvalidPayloadError(f"A {what} must be a string, not {type(name).__name__}.")
    try:
        size = len(name.encode())
    except UnicodeEncodeError as error:
        raise InvalidPayloadError(f"The {what} {_short(name)} is not valid Unicode: {error.reason}.") from None
    if not 1 <= size <= MAX_NAME_BYTES:
        raise InvalidPayloadError(f"The {what} {_short(name)} has {size} bytes; it must have 1 to {MAX_NAME_BYTES}.")
    return name


def _short(value: object) -> str:
    shown = ascii(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."


def digest(*parts: str, length: int = 24) -> str:
    """A stable hash of the parts in hexadecimal digits (4 bits each)."""
    whole = hashlib.sha256()
    for part in parts:
        data = part.encode()
        whole.update(len(data).to_bytes(4, "big"))
        whole.update(data)
    return whole.hexdigest()[:length]


def message_tag(message_id: str) -> str:
    """A short stand-in for a message id in the list of spent messages (60 bits)."""
    return digest(message_id, length=15)


def child_id(parent_id: str, step_key: str, generation: int = 0, index: int | None = None) -> str:
    """The id of the child that a parent starts under a key: readable where the key is plain, never ambiguous."""
    name = step_key if _PLAIN.fullmatch(step_key) else f"~{digest(step_key)}"
    if generation:
        name += f"@{generation}"
    if index is not None:
        name += f":{index}"
    whole = f"{parent_id}/{name}"
    if len(whole) > _MAX_ID:
        return f"{parent_id[:_KEPT]}/~~{digest(parent_id, name, length=32)}"
    return whole


def successor_id(first_id: str, number: int) -> str:
    """The execution of this number in a chain that goes on as new; cut where it would be no id any more."""
    whole = f"{first_id}~{number}"
    if len(whole) > _LONGEST_ID:
        return f"{first_id[:_KEPT]}~~{digest(first_id, str(number), length=32)}"
    return whole


def prefixes_of_descendants(execution_id: str) -> tuple[str, ...]:
    """How the ids of all begin that an execution has started or gone on as, and what these have; others' may, too."""
    cut = execution_id[:_KEPT]
    return f"{execution_id}/", f"{cut}/~~", f"{execution_id}~", f"{cut}~~"


def event_id(execution_id: str, step_key: str, generation: int = 0) -> str:
    """The id of the event that a step publishes."""
    return digest("event", execution_id, step_key, str(generation), length=32)


def triggered_id(workflow_id: str, event: str) -> str:
    """The execution that an event starts for a workflow: one per (event, workflow)."""
    return f"{workflow_id}-{digest('trigger', workflow_id, event, length=32)}"


def native_id(workflow_id: str, event: str) -> str:
    """The execution that a native event of EventBridge starts for a workflow: one per (event, workflow)."""
    return f"{workflow_id}-{digest('native', workflow_id, event, length=32)}"


def batch_id(workflow_id: str, number: int) -> str:
    """The execution of a workflow's batch of events of this number."""
    return f"{workflow_id}-{digest('batch', workflow_id, str(number), length=32)}"


def tick_id(workflow_id: str, key: str, nominal: datetime) -> str:
    """The execution of a schedule's tick: made from workflow, key and nominal time."""
    moment = nominal.strftime("%Y%m%dT%H%M%SZ")
    return f"{workflow_id}-{moment}-{digest('tick', workflow_id, key, moment, length=12)}"


def schedule_id(workflow_id: str, key: str) -> str:
    return f"{workflow_id}:{key}"


def idempotency_key(execution_id: str, step_key: str) -> str:
    """Stable over attempts, replays and retries of a step."""
    return digest("step", execution_id, step_key, length=32)
