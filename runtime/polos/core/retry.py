"""When a failed step is tried again. Pure."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from polos.core.spans import MOST

RetryOn: TypeAlias = "type[BaseException] | tuple[type[BaseException], ...] | Callable[[BaseException], bool]"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`max_retries` tries after the first, with delays in seconds that grow by `backoff` up to `max_delay`.

    `retry_on` is an exception type, a tuple of them, or a predicate; other exceptions fail at once. `timeout` is the
    limit of one attempt in seconds. `retry_interrupted` says whether an at-most-once attempt that a crash interrupted
    is followed by another.
    """

    max_retries: int = 2
    base_delay: float = 1.0
    max_delay: float = 10.0
    backoff: float = 2.0
    retry_on: RetryOn = Exception
    timeout: float | None = None
    retry_interrupted: bool = True

    def __post_init__(self) -> None:
        retries: Any = self.max_retries
        if not isinstance(retries, int) or isinstance(retries, bool) or retries < 0:
            raise ValueError(f"max_retries must be a whole number from 0, not {retries!r}.")
        for name in ("base_delay", "max_delay", "backoff"):
            value: Any = getattr(self, name)
            if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= MOST:
                raise ValueError(f"{name} must be a number from 0, not {value!r}.")
        wanted: Any = self.retry_on
        several = cast("tuple[Any, ...]", wanted if isinstance(wanted, tuple) else (wanted,))
        if not all(_is_kind(one) for one in several) and (isinstance(wanted, type | tuple) or not callable(wanted)):
            raise ValueError(f"retry_on must be an exception type, a tuple of them or a predicate, not {wanted!r}.")
        if inspect.iscoroutinefunction(cast("object", wanted)):
            raise ValueError("retry_on must be a plain function, not an async one: nobody awaits what it says.")

    def delay(self, attempt: int) -> float:
        """The wait in seconds after attempt number `attempt` (from 1) has failed."""
        try:
            grown = self.base_delay * self.backoff ** (attempt - 1)
        except OverflowError:
            return self.max_delay
        return min(grown, self.max_delay)

    def again(self, error: BaseException, attempt: int) -> bool:
        """Whether to try once more after attempt number `attempt` failed with `error`."""
        if attempt > self.max_retries:
            return False
        wanted: Any = self.retry_on
        if isinstance(wanted, type | tuple):
            return isinstance(error, wanted)
        return bool(wanted(error))


def _is_kind(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseException)
