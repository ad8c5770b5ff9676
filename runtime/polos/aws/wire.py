"""Message bodies as the JSON text that SQS, EventBridge and Scheduler carry, and how many fit into one request."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

T = TypeVar("T")

MOST = 10
"""Entries in one SendMessageBatch or PutEvents."""

MOST_BYTES = 250_000
"""Bytes in one request. SQS now takes 1 MiB, PutEvents 256 KB; larger requests cost more in proportion anyway."""

_REFUSED = re.compile("[\ufffe\uffff\ud800-\udfff]")


def to_json(body: Mapping[str, Any]) -> str:
    """Compact, in UTF-8 rather than escapes, but for the characters that SQS refuses.

    SQS takes U+0009, U+000A, U+000D, U+0020 to U+D7FF, U+E000 to U+FFFD and beyond (API reference, "SendMessage").
    """
    text = json.dumps(body, separators=(",", ":"), ensure_ascii=False)
    return _REFUSED.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def plain(text: str) -> str:
    """A text without the characters that SQS refuses, for an attribute, which may not be empty."""
    return "".join(one if one.isprintable() and not _REFUSED.match(one) else "?" for one in text) or "-"


def requests(entries: Sequence[T], size: Callable[[T], int]) -> Iterator[list[T]]:
    """The entries in their order, in groups of up to 10 and 250 KB. An entry that is larger goes alone."""
    group: list[T] = []
    total = 0
    for entry in entries:
        own = size(entry)
        if group and (len(group) == MOST or total + own > MOST_BYTES):
            yield group
            group, total = [], 0
        group.append(entry)
        total += own
    if group:
        yield group
