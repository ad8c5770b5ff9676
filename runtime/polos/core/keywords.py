"""Keywords for leading parameters under more names than they have: upstream's, which its programs may use."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")
Method = Callable[P, Coroutine[Any, Any, R]]


def also_named(*leading: str) -> Callable[[Method[P, R]], Method[P, R]]:
    """Take the first parameters after `self` by these keywords, too ("a|b": by either).

    Only where it is not given by position: `step.run("key", function, step_key=1)` hands `step_key` to the function.
    """
    names = [one.split("|") for one in leading]

    def decorate(method: Method[P, R]) -> Method[P, R]:
        @functools.wraps(method)
        async def call(*args: Any, **keywords: Any) -> R:
            for choices in names[len(args) - 1 :]:
                name = next((one for one in choices if one in keywords), None)
                if name is None:
                    break
                args = (*args, keywords.pop(name))
            return await method(*args, **keywords)

        return cast("Method[P, R]", call)

    return decorate
