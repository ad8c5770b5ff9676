"""What a workflow body can ask for: one frozen dataclass a kind of operation. Data only, no behaviour.

`kind` is what a record says of itself: a key that was recorded as one kind and is now used as another is a fault of
the code (L3). `revive` makes the value for the body from the stored text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar, TypeAlias

from polos.core.retry import RetryPolicy

Revive: TypeAlias = Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Run:
    """Call `func` and record what it returns. `durable_kind` tells `run` from the built-in recorded values."""

    func: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    policy: RetryPolicy
    revive: Revive
    encode: Callable[[Any], str]
    at_most_once: bool = False
    inline: bool = False
    durable_kind: str = "step"

    @property
    def kind(self) -> str:
        return self.durable_kind


@dataclass(frozen=True, slots=True)
class Sleep:
    """Wait for `seconds` from the moment it is begun, or `until` a moment."""

    seconds: float = 0.0
    until: datetime | None = None
    kind: ClassVar[str] = "timer"


@dataclass(frozen=True, slots=True)
class AwaitEvent:
    """Wait for the oldest event on the topic that no earlier wait took; `timeout` in seconds."""

    topic: str
    revive: Revive
    timeout: float | None = None
    event_type: str | None = None
    kind: ClassVar[str] = "event"


@dataclass(frozen=True, slots=True)
class AwaitResume:
    """Show `data` (encoded) and wait until somebody resumes this step; `timeout` in seconds."""

    data: str
    revive: Revive
    timeout: float | None = None
    kind: ClassVar[str] = "suspend"


@dataclass(frozen=True, slots=True)
class StartChild:
    """Start one child; with `wait` its end is the outcome, otherwise its having been started."""

    workflow_id: str
    payload: str
    wait: bool
    revive: Revive
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def kind(self) -> str:
        return "child" if self.wait else "invoke"


@dataclass(frozen=True, slots=True)
class StartBatch:
    """Start several children at once; with `wait` the ends of all of them are the outcome."""

    children: tuple[StartChild, ...]
    wait: bool

    @property
    def kind(self) -> str:
        return "batch" if self.wait else "batch_invoke"


@dataclass(frozen=True, slots=True)
class Publish:
    """Publish one event whose id is made from execution and key; `data` is encoded."""

    topic: str
    data: str
    event_type: str | None = None
    kind: ClassVar[str] = "publish"


@dataclass(frozen=True, slots=True)
class ResumeOther:
    """Resume a suspended step of another execution; `data` is encoded."""

    execution_id: str
    workflow_id: str
    step_key: str
    data: str
    kind: ClassVar[str] = "resume"


Request: TypeAlias = "Run | Sleep | AwaitEvent | AwaitResume | StartChild | StartBatch | Publish | ResumeOther"
