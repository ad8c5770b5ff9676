"""Encoded values on their way into records and out of them: packing, and storage beside the table when large.

A stored payload is written before the record that points to it, under a key made from its content (SPEC 2.4).

With a codec of the application's, what is stored is the marker `ENCODED`, a byte that says whether text or compressed
text was given to it, and what it made of that. Nothing else begins so: text is no bytes, and the first byte of
compressed text is never 0 (RFC 1950, section 2.2: the compression method is 8). So old records stay readable.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Final

from polos.core import items
from polos.core.codec import MAX_BYTES, check, pack, unpack
from polos.core.conditions import Value
from polos.engine.stored import Stored
from polos.errors import InvalidPayloadError, PayloadCodecError, PayloadTooLargeError, SerializationError
from polos.limits import Limits
from polos.ports import PayloadCodec, Payloads

ENCODED: Final = b"\x00"
MESSAGE_BYTES: Final = 4 * 1024 * 1024
"""What a value in a message may have when it is unpacked. A larger one is stored beside, however small it packs."""

_SEALED: Final = "encoded:"  # no JSON text begins so


class Vault:
    """`stash` and `fetch` of encoded values for one backend."""

    def __init__(self, payloads: Payloads, limits: Limits, codec: PayloadCodec | None = None) -> None:
        self._payloads, self._limits, self._codec = payloads, limits, codec

    def stash(self, text: str, *, owner: str, what: str) -> Stored:
        """Pack a value; over the inline limit (100 KB, or `MESSAGE_BYTES` before it was packed), store it under `owner`
        first. At most 1 request.

        Raises `PayloadTooLargeError` over 50 MB, naming `what`, and `PayloadCodecError`.
        """
        packed = self._encoded(pack(text, what=what), what)
        data = packed.encode() if isinstance(packed, str) else packed
        if len(data) <= self._limits.inline_bytes and (packed is text or len(text.encode()) <= MESSAGE_BYTES):
            return Stored(packed)
        kind = "t" if isinstance(packed, str) else "z"
        key = f"{owner}#{hashlib.sha256(data).hexdigest()[:40]}.{kind}"
        self._payloads.put(key, data)
        return Stored(pointer=key)

    def fetch(self, stored: Stored, *, inline: int = MAX_BYTES) -> str:
        """The text of a stored value; one that is not stored beside may have `inline` bytes. At most 1 request.

        Raises `SerializationError` if it is gone or broken, `PayloadTooLargeError` and `PayloadCodecError`.
        """
        if stored.pointer is None:
            return unpack(self._decoded(stored.data or "null"), limit=inline)
        try:
            data = self._payloads.get(stored.pointer)
        except KeyError:
            raise SerializationError(f"The stored payload {stored.pointer!r} is missing.") from None
        try:
            return unpack(data.decode() if stored.pointer.endswith(".t") else self._decoded(data))
        except UnicodeDecodeError:
            raise SerializationError(f"The stored payload {stored.pointer!r} is no text.") from None

    def check(self, stored: Stored, what: str) -> None:
        """Raises `InvalidPayloadError` naming `what` unless it can be read. 1 request if it is stored beside.

        What is in the message itself may come from anybody who may send one, and is small: 50 MB that compress into
        one can be 17 million lists, which would take more memory than a function has.
        """
        try:
            check(self.fetch(stored, inline=MESSAGE_BYTES))
        except PayloadCodecError:
            raise  # what is wrong is here, and not with the value
        except (SerializationError, PayloadTooLargeError) as error:
            raise InvalidPayloadError(f"{what} cannot be read: {error}") from None

    def fetch_item(self, item: Mapping[str, Value], name: str = items.VALUE) -> str:
        return self.fetch(Stored.of_item(item, name))

    def seal(self, text: str, what: str) -> str:
        """A short value that is kept inside a JSON document. Raises `PayloadCodecError`."""
        encoded = self._encoded(text, what)
        return encoded if isinstance(encoded, str) else _SEALED + base64.b64encode(encoded).decode()

    def unseal(self, text: str) -> str:
        """What `seal` was given. Raises `PayloadCodecError`."""
        if not text.startswith(_SEALED):
            return text
        return unpack(self._decoded(base64.b64decode(text[len(_SEALED) :])))

    def _encoded(self, packed: str | bytes, what: str) -> str | bytes:
        if self._codec is None:
            return packed
        kind, data = (b"t", packed.encode()) if isinstance(packed, str) else (b"z", packed)
        try:
            return ENCODED + kind + self._codec.encode(data)
        except Exception as error:
            raise PayloadCodecError(f"{what} could not be encoded by the codec of payloads: {_named(error)}") from error

    def _decoded(self, data: str | bytes) -> str | bytes:
        if isinstance(data, str) or not data.startswith(ENCODED):
            return data
        if self._codec is None:
            raise PayloadCodecError(
                "A stored value was written with a codec of payloads, and there is none here: set POLOS_PAYLOAD_CODEC "
                "to the one of the stack."
            )
        try:
            decoded = self._codec.decode(data[2:])
            return decoded.decode() if data[1:2] == b"t" else decoded
        except Exception as error:
            raise PayloadCodecError(
                f"A stored value could not be decoded by the codec of payloads: {_named(error)}"
            ) from error


def _named(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
