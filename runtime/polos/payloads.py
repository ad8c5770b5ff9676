"""The codec of payloads: the application's own encryption of what it stores, named by `POLOS_PAYLOAD_CODEC`.

It is applied to every payload, result, event, state and resume that an execution stores or sends, small inline ones
included, after compression. Records that were written without it stay readable. It is not applied to what the runtime
itself reads, or shows without it: ids, step keys, topics, tags, and the type, message and traceback of failures.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from polos import loading
from polos.errors import UsageError
from polos.ports import PayloadCodec

VARIABLE: Final = "POLOS_PAYLOAD_CODEC"
NONE: Final = "none"
"""What the variable says where there is no codec. CloudFormation has no empty outputs."""


def codec_named(environment: Mapping[str, str] | None = None) -> PayloadCodec | None:
    """The codec that `POLOS_PAYLOAD_CODEC` names as `module:object`; None if it is not set, or "none".

    Raises `UsageError` for an object without `encode` and `decode`, and for one that cannot be imported.
    """
    given = os.environ if environment is None else environment
    if given.get(VARIABLE, NONE) in ("", NONE):
        return None
    try:
        found = loading.load(VARIABLE, "the codec of payloads", given)
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(
            f"{VARIABLE} is {given[VARIABLE]!r}, which cannot be imported: {type(error).__name__}: {error}"
        ) from error
    missing = [name for name in ("encode", "decode") if not callable(getattr(found, name, None))]
    if missing or isinstance(found, type):
        raise UsageError(
            f"{VARIABLE} is {given[VARIABLE]!r}, which is no codec: it must name an object with the methods "
            f"encode(bytes) -> bytes and decode(bytes) -> bytes."
        )
    return found


class MissingCodec:
    """Stands for the codec of a stack in a process that was not told of it: it can do what needs no values."""

    def __init__(self, name: str) -> None:
        self._name = name

    def encode(self, data: bytes) -> bytes:
        raise self._error()

    def decode(self, data: bytes) -> bytes:
        raise self._error()

    def _error(self) -> UsageError:
        return UsageError(
            f"the stack stores values with the codec {self._name!r}; set {VARIABLE} here to where it can be found."
        )


def codec_of_stack(declared: str) -> PayloadCodec | None:
    """The codec for a stack that says which one its functions use ("none": none, whatever the environment says).

    In the stack's functions and its clients, the environment names it; nothing is imported because a stack says so.
    """
    if declared == NONE:
        return None
    return codec_named() or MissingCodec(declared)
