"""What a test lets go wrong: faults as values, and faults that are drawn from a seed.

A request and a message are named by one line of text each (`polos.testing.wire`), e.g. "put r#charge of ID",
"suspend ID", "send wake ID", "publish orders"; "start ID", "wake ID", "event orders", "tick nightly". A fault says by a
regular expression which one it strikes, and with `nth` (from 1) the how manieth of those that match. Owns the values
and their checks; `polos.testing.striking` carries them out.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from polos.clock import repeatable
from polos.errors import UsageError

if TYPE_CHECKING:
    from polos.client import Polos

MOST = 4
_SPECIAL, _ESCAPED = r"([.^$*+?{}\[\]\\|()])", r"\\\1"


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong once. Use one of its kinds."""

    pattern: ClassVar[tuple[str, ...]] = ("at",)
    nth: int = dataclasses.field(default=1, kw_only=True)

    def __post_init__(self) -> None:
        given = [name for name in self.pattern if getattr(self, name) is not None]
        if len(given) != 1:
            names = " or ".join(f"{name}=" for name in self.pattern)
            raise UsageError(f"{self._kind} needs {names}: a pattern of what it strikes, such as 'put r#charge'.")
        text = getattr(self, given[0])
        if not isinstance(text, str):
            raise UsageError(f"{self._kind} takes {given[0]}= as a text, not {text!r}.")
        try:
            re.compile(text)
        except re.error as error:
            raise UsageError(f"{self._kind} was given {text!r}, which is no regular expression: {error}.") from None
        self._check_numbers()

    def _check_numbers(self) -> None:
        for field in dataclasses.fields(self):
            value: Any = getattr(self, field.name)
            if field.name in ("nth", "times") and (not isinstance(value, int) or value < 1):
                raise UsageError(f"{self._kind} counts from 1: {field.name}={value!r} strikes nothing.")
            if field.name == "seconds" and (not isinstance(value, int | float) or not _fits(self, value)):
                raise UsageError(f"{self._kind} can't take {value!r} seconds; give a number greater than 0.")

    @property
    def _kind(self) -> str:
        return type(self).__name__

    @property
    def point(self) -> str:
        """The pattern of what it strikes."""
        return next(text for name in self.pattern if (text := getattr(self, name)) is not None)

    @property
    def late(self) -> bool:
        """Whether it strikes after the request has taken effect."""
        return getattr(self, "after", None) is not None

    def __repr__(self) -> str:
        fields = sorted(dataclasses.fields(self), key=lambda field: field.name == "nth")
        values = [(field.name, value) for field in fields if (value := getattr(self, field.name)) != field.default]
        shown = [f"{name}={getattr(value, '__name__', repr(value))}" for name, value in values]
        return f"{self._kind}({', '.join(shown)})"


def _fits(fault: Fault, seconds: float) -> bool:
    return seconds != 0 if isinstance(fault, Skew) else seconds >= 0 if isinstance(fault, Duplicate) else seconds > 0


@dataclass(frozen=True, repr=False)
class _Around(Fault):
    """Strikes before or after a request."""

    pattern: ClassVar[tuple[str, ...]] = ("before", "after")
    before: str | None = None
    after: str | None = None


@dataclass(frozen=True, repr=False)
class _At(Fault):
    """Strikes at a request, a message or a step."""

    at: str | None = None


# ---- at a request of an invocation


class Kill(_Around):
    """The process dies before or after a request; its message comes again."""


@dataclass(frozen=True, repr=False)
class Stall(_Around):
    """The process stands still for `seconds` of virtual time and then goes on, beyond its lease if they are over 30.

    `before`: the request is on the wire that long, and lands then. `after`: it has landed.
    """

    seconds: float = 45.0


class LoseReply(_At):
    """The request takes effect, its reply is lost, and the client library sends it again, as boto3 does.

    The answer to the second counts: a conditional write is refused, by the writer's own item.
    """


@dataclass(frozen=True, repr=False)
class Throttle(_At):
    """The request is refused `times` times in a row. From the fourth on the client library gives up: `BackendError`."""

    times: int = 4


@dataclass(frozen=True, repr=False)
class ServerError(_At):
    """The request meets a 5xx `times` times in a row. From the fourth on the client library gives up."""

    times: int = 4


@dataclass(frozen=True, repr=False)
class Early(_At):
    """What comes by time comes up to `seconds` too early: a message or timer that a request asks for ("send wake",
    "schedule"), or a tick of a recurring schedule ("tick")."""

    seconds: float = 30.0


@dataclass(frozen=True, repr=False)
class Meanwhile(_Around):
    """Nothing goes wrong: at just this moment somebody else does something. `do(client)` is an async function.

    For what must hold whenever it comes, a cancel or an event say. It is never drawn by a seed.
    """

    do: Callable[[Polos], Awaitable[object]] | None = None

    def _check_numbers(self) -> None:
        super()._check_numbers()
        if not callable(self.do):
            raise UsageError(f"Meanwhile needs do=: an async function that takes a client, not {self.do!r}.")


# ---- at a message


@dataclass(frozen=True, repr=False)
class Duplicate(_At):
    """A message is delivered a second time, `seconds` after the first has been handled.

    `overlapping`: while the first is being handled, after its second request. `resent`: as a message of its own, as if
    its sender had sent it twice, or Scheduler had fired twice.
    """

    seconds: float = 0.0
    overlapping: bool = False
    resent: bool = False


@dataclass(frozen=True, repr=False)
class Delay(_At):
    """A message comes `seconds` later. What else is to strike at it does so then."""

    seconds: float = 60.0


class Reorder(_At):
    """A message comes after everything else that is due now."""


@dataclass(frozen=True, repr=False)
class Skew(_At):
    """The machine that handles a message has a clock that is off by `seconds`. Under 5 between two is survived."""

    seconds: float = 3.0


# ---- at a step


@dataclass(frozen=True, repr=False)
class Slow(_At):
    """The callable of a step (its key is matched) does its work and comes back only `seconds` later."""

    seconds: float = 40.0


class Deadline(_At):
    """The callable of a step does its work and does not come back before the invocation's time is over."""


REQUEST_FAULTS: tuple[type[Fault], ...] = (Kill, Stall, LoseReply, Throttle, ServerError, Early)
MESSAGE_FAULTS: tuple[type[Fault], ...] = (Duplicate, Delay, Reorder, Skew)
STEP_FAULTS: tuple[type[Fault], ...] = (Slow, Deadline)
KINDS: tuple[type[Fault], ...] = (*REQUEST_FAULTS, *MESSAGE_FAULTS, *STEP_FAULTS)
"""What a seed may draw."""


class Faults:
    """The faults of one run, for `Environment(faults=...)`: those given, each once, or drawn by `Faults.random`.

    With it an environment runs one thing at a time and draws its ids from the seed, so that a run is the same each
    time. `Faults()` disturbs nothing.
    """

    def __init__(self, *faults: Fault) -> None:
        for fault in faults:
            if type(fault) not in (*KINDS, Meanwhile):
                kinds = ", ".join(kind.__name__ for kind in (*KINDS, Meanwhile))
                raise UsageError(f"{fault!r} is not a fault; use one of {kinds}.")
        self.given = faults
        self.seed: int | None = None
        self._draw: Callable[[type[Fault], str, int, bool], Fault | None] | None = None

    @classmethod
    def random(
        cls, seed: int, *, rate: float = 0.05, kinds: Collection[type[Fault]] = KINDS, most: int = MOST
    ) -> Faults:
        """Faults of these kinds, each possible one struck with the probability `rate`, at most `most` in a run.

        What strikes depends only on the seed and on what the run asks for. Five deaths in a row without progress fail
        an execution (`CrashLoopError`), so `most` is 4.
        """
        if not 0 < rate <= 1:
            raise UsageError(f"A rate of {rate!r} is no probability; give a number above 0 and up to 1.")
        unknown = [kind for kind in kinds if kind not in KINDS]
        if unknown or not kinds:
            known = ", ".join(kind.__name__ for kind in KINDS)
            raise UsageError(f"kinds= has to name at least one of {known}; {unknown or 'nothing'} was given.")
        if most < 1:
            raise UsageError(f"most={most!r} faults in a run would be none.")
        made = cls()
        made.seed, made.most = seed, most
        chosen = [kind for kind in KINDS if kind in kinds]
        made._draw = lambda kind, line, nth, late: _drawn(seed, rate, kind, line, nth, late) if kind in chosen else None
        return made

    most: int = MOST

    def drawn(self, kinds: Collection[type[Fault]], line: str, nth: int, *, late: bool) -> Fault | None:
        """The fault that is drawn for the `nth` time that this line turns up, if any; `late`: after its effect."""
        if self._draw is None:
            return None
        for kind in kinds:
            fault = self._draw(kind, line, nth, late)
            if fault is not None:
                return fault
        return None

    @property
    def skews(self) -> bool:
        """Whether machines' clocks may differ."""
        return self._draw is not None or any(isinstance(fault, Skew) for fault in self.given)

    def __repr__(self) -> str:
        if self.seed is not None:
            return f"Faults.random(seed={self.seed})"
        return f"Faults({', '.join(map(repr, self.given))})"


def exactly(line: str) -> str:
    """A pattern of this line and no other, as readable as it can be."""
    return f"^{re.sub(_SPECIAL, _ESCAPED, line)}$"


def _drawn(seed: int, rate: float, kind: type[Fault], line: str, nth: int, late: bool) -> Fault | None:
    source = repeatable(f"{seed}/{kind.__name__}/{line}/{nth}/{late}")
    if source.random() >= rate:
        return None
    at = exactly(line)
    if kind in (Kill, Stall):
        where: dict[str, Any] = {"after" if late else "before": at, "nth": nth}
        return Stall(**where, seconds=float(source.randint(20, 120))) if kind is Stall else Kill(**where)
    more: dict[str, Any] = {}
    if kind in (Throttle, ServerError):
        more = {"times": source.randint(1, 5)}
    elif kind is Duplicate:
        more = {"overlapping": source.random() < 0.3, "seconds": float(source.choice((0, 0, 5, 60)))}
        more["resent"] = not more["overlapping"] and source.random() < 0.3
    elif kind in (Delay, Early, Slow):
        more = {"seconds": float(source.randint(1, 90))}
    elif kind is Skew:
        more = {"seconds": source.choice((-2.4, -0.4, 0.4, 2.4))}
    return kind(at=at, nth=nth, **more)  # pyright: ignore[reportCallIssue]
