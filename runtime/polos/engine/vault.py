"""Encoded values on their way into records and out of them: packing, and storage beside the table when large.

A stored payload is written before the record that points to it, under a key made from its content (SPEC 2.4).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from polos.core import items
from polos.core.codec import pack, unpack
from polos.core.conditions import Value
from polos.engine.commands import Stored
from polos.errors import SerializationError
from polos.ports import Limits, Payloads


class Vault:
    """`stash` and `fetch` of encoded values for one backend."""

    def __init__(self, payloads: Payloads, limits: Limits) -> None:
        self._payloads, self._limits = payloads, limits

    def stash(self, text: str, *, owner: str, what: str) -> Stored:
        """Pack a value; over the inline limit (100 KB), store it under `owner` first. At most 1 request.

        Raises `PayloadTooLargeError` over 50 MB, naming `what`.
        """
        packed = pack(text, what=what)
        data = packed.encode() if isinstance(packed, str) else packed
        if len(data) <= self._limits.inline_bytes:
            return Stored(packed)
        kind = "t" if isinstance(packed, str) else "z"
        key = f"{owner}#{hashlib.sha256(data).hexdigest()[:40]}.{kind}"
        self._payloads.put(key, data)
        return Stored(pointer=key)

    def fetch(self, stored: Stored) -> str:
        """The text of a stored value. At most 1 request. Raises `SerializationError` if it is gone or broken."""
        if stored.pointer is None:
            return unpack(stored.data or "null")
        try:
            data = self._payloads.get(stored.pointer)
        except KeyError:
            raise SerializationError(f"the stored payload {stored.pointer} is missing") from None
        return unpack(data.decode() if stored.pointer.endswith(".t") else data)

    def fetch_item(self, item: Mapping[str, Value], name: str = items.VALUE) -> str:
        return self.fetch(Stored.of_item(item, name))
