"""Failures as they are recorded, and the errors that they give back: the same live, on replay and to the parent.

Keeps L1 and L2 for failures: the exception that a step ended with is recorded once, and every pass raises an error
rebuilt from the record, never the original.
"""

from __future__ import annotations

import dataclasses
import traceback
from types import TracebackType
from typing import Final, TypeVar, cast

from polos.errors import (
    ChildWorkflowError,
    PolosError,
    SerializationError,
    StepExecutionError,
    StepTimeoutError,
)

MAX_TRACEBACK: Final = 8_000
MAX_MESSAGE: Final = 40_000
"""Characters: with the traceback it fits into an item (at most 400 KB), whatever the characters."""
KINDS: Final = frozenset({"step", "timeout", "child", "serialization"})

_CUT: Final = "[...]\n"
_MORE: Final = " [...]"
_RUNNERS: Final = ("polos", "asyncio", "concurrent")

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, slots=True)
class Failure:
    """Why a step failed for good.

    `type` is the bare class name of the exception, `message` its text, `attempts` how often the callable was tried.
    `kind` decides which error comes back: "step", "timeout", "child" (`fields`: `workflow_id`, `execution_id`,
    `status`, and `error` where there is one) or "serialization" (`fields`: `path`). All text is valid UTF-8.
    """

    type: str
    message: str
    traceback: str | None
    attempts: int
    kind: str = "step"
    fields: dict[str, str] = dataclasses.field(default_factory=dict[str, str])

    @classmethod
    def from_exception(cls, exc: BaseException, attempts: int) -> Failure:
        """The failure that `exc` is. Formatting its traceback reads the source lines of the frames.

        A `StepExecutionError` (raised by the callable itself, or a child's) keeps its own type and message. The
        traceback that an error of polos brings along from elsewhere is kept; otherwise it is the text of `exc`'s,
        without the frames that led to the user's code, the last `MAX_TRACEBACK` characters of it. Of a message the
        first `MAX_MESSAGE` characters are kept.
        """
        name, message, kind = type(exc).__name__, message_of(exc), "step"
        fields: dict[str, str] = {}
        if isinstance(exc, StepExecutionError):
            name, message = exc.error_type, exc.message
        if isinstance(exc, ChildWorkflowError):
            kind = "child"
            fields = {"workflow_id": exc.workflow_id, "execution_id": exc.execution_id, "status": exc.status}
            if exc.error is not None:
                fields["error"] = exc.error
        elif isinstance(exc, SerializationError):
            kind, fields = "serialization", {"path": exc.path}
        elif isinstance(exc, StepTimeoutError):
            kind = "timeout"
        text = (exc.traceback if isinstance(exc, PolosError) else None) or _format(exc)
        fields = {key: head(_utf8(value), MAX_MESSAGE) for key, value in fields.items()}
        return cls(_utf8(name), head(_utf8(message), MAX_MESSAGE), _tail(_utf8(text)), attempts, kind, fields)

    def to_json(self) -> dict[str, object]:
        """The failure as a JSON object; what is empty is left out."""
        found: dict[str, object] = {"type": self.type, "message": self.message, "attempts": self.attempts}
        if self.traceback is not None:
            found["traceback"] = self.traceback
        if self.kind != "step":
            found["kind"] = self.kind
        if self.fields:
            found["fields"] = dict(self.fields)
        return found

    @classmethod
    def from_json(cls, d: object) -> Failure:
        """The inverse of `to_json`. `SerializationError` if `d` is not such an object."""
        if not isinstance(d, dict):
            raise SerializationError("A recorded failure is malformed: it is no object.")
        found = cast("dict[str, object]", d)
        kind = _member(found, "kind", str, "step")
        if kind not in KINDS:
            raise SerializationError(
                f"A recorded failure is of the kind {kind!r}, which this version does not know: it was written by a "
                f"newer version of polos."
            )
        fields: dict[str, object] = _member(found, "fields", cast("type[dict[str, object]]", dict), {})
        return cls(
            type=_member(found, "type", str),
            message=_member(found, "message", str),
            traceback=_member(found, "traceback", str) if found.get("traceback") is not None else None,
            attempts=_member(found, "attempts", int),
            kind=kind,
            fields={key: value for key, value in fields.items() if isinstance(value, str)},
        )

    def error(self, step_key: str) -> StepExecutionError:
        """A new error for this failure; each call gives one with the same class, text, fields and `.traceback`."""
        if self.kind == "child":
            field = self.fields.get
            child = ChildWorkflowError(
                field("workflow_id", ""),
                field("execution_id", ""),
                field("status", "failed"),
                field("error"),
                step_key=step_key,
                error_type=self.type,
                traceback=self.traceback,
            )
            child.message, child.attempts = self.message, self.attempts
            return child
        if self.kind == "serialization":
            return SerializationError(
                self.message,
                path=self.fields.get("path", "$"),
                step_key=step_key,
                attempts=self.attempts,
                traceback=self.traceback,
            )
        cls = StepTimeoutError if self.kind == "timeout" else StepExecutionError
        return cls(step_key, self.type, self.message, self.attempts, traceback=self.traceback)


def _member(found: dict[str, object], key: str, kind: type[T], default: T | None = None) -> T:
    value = found.get(key, default)
    if type(value) is not kind:
        raise SerializationError(f"A recorded failure is malformed: {key!r} is missing or of the wrong type.")
    return value


def message_of(exc: BaseException) -> str:
    """The text of an exception, as it can be stored."""
    try:
        return _utf8(str(exc))
    except Exception:  # noqa: BLE001  the user's __str__: whatever it raises, the failure itself must be recorded
        return "(its message cannot be shown)"


def _format(exc: BaseException) -> str:
    try:
        return "".join(traceback.format_exception(type(exc), exc, _own_frames(exc.__traceback__)))
    except Exception:  # noqa: BLE001  as above, from a __repr__ or a broken source file
        return f"{type(exc).__name__}: {message_of(exc)}\n"


def _own_frames(found: TracebackType | None) -> TracebackType | None:
    """The traceback from the first frame of the user's on; all of it if there is none."""
    rest = found
    while rest is not None and str(rest.tb_frame.f_globals.get("__name__")).partition(".")[0] in _RUNNERS:
        rest = rest.tb_next
    return rest or found


def _utf8(text: str) -> str:
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()


def _tail(text: str) -> str:
    return text if len(text) <= MAX_TRACEBACK else _CUT + text[len(_CUT) - MAX_TRACEBACK :]


def head(text: str, most: int) -> str:
    """The first `most` characters of a text; one that is cut says so."""
    return text if len(text) <= most else text[: most - len(_MORE)] + _MORE
