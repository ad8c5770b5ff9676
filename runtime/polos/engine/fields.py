"""Reading the fields of a message, which may hold anything: the right type and range, or `InvalidPayloadError`.

A message that is refused here is kept for a person at once; a field that was wrong deeper inside would be tried again
until the queue gives up. Changes nothing; knows nothing of commands (SPEC section 12).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from polos.core.identity import is_workflow_id
from polos.core.trees import is_utf8
from polos.errors import InvalidPayloadError

LAST_MOMENT: Final = 253_402_300_799_999
"""The end of the year 9999 in milliseconds since 1970: what a `datetime` can hold."""


def check_unicode(body: Mapping[str, Any]) -> None:
    """Refuse text that can be stored nowhere: JSON may carry lone surrogates as escapes."""
    for name, value in body.items():
        if isinstance(value, str):
            text = value
        elif isinstance(value, dict | list):
            text = json.dumps(value, ensure_ascii=False)
        else:
            continue
        if not text.isascii() and not is_utf8(text):
            kind = ascii(body.get("t"))
            raise InvalidPayloadError(f"The field {ascii(name)} of a message of the type {kind} is not valid Unicode.")


def workflow_id(body: Mapping[str, Any], *, required: bool = True) -> str:
    """The workflow that a message names; "" if it names none and need not."""
    found = body.get("wf", "")
    if isinstance(found, str) and (is_workflow_id(found) or (not required and found == "")):
        return found
    raise InvalidPayloadError(f"A message of the type {body.get('t')!r} names no valid workflow.")


def moment_ms(body: Mapping[str, Any], name: str, default: int | None = None) -> int | None:
    """A time in milliseconds since 1970, up to the year 9999."""
    found = body.get(name, default)
    if found is None:
        return None
    if isinstance(found, int) and not isinstance(found, bool) and 0 <= found <= LAST_MOMENT:
        return found
    raise InvalidPayloadError(f"The field {name!r} of a message of the type {body.get('t')!r} is no time.")


def required_moment_ms(body: Mapping[str, Any], name: str) -> int:
    found = moment_ms(body, name)
    if found is None:
        raise InvalidPayloadError(f"A message of the type {body.get('t')!r} lacks its time {name!r}.")
    return found


def count(body: Mapping[str, Any], name: str) -> int:
    """A whole number; 0 if it is not there."""
    found = body.get(name, 0)
    if isinstance(found, int) and not isinstance(found, bool) and 0 <= found < 1 << 53:
        return found
    raise InvalidPayloadError(f"The field {name!r} of a message of the type {body.get('t')!r} is no number.")
