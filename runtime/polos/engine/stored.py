"""An encoded value on its way and at rest: in a message, in an item, or beside the table with a pointer to it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from polos.core import items
from polos.core.conditions import Value
from polos.errors import InvalidPayloadError


@dataclass(frozen=True, slots=True)
class Stored:
    """An encoded value as it travels and rests: packed inline, or a pointer to where it is stored."""

    data: str | bytes | None = None
    pointer: str | None = None

    def attributes(self, name: str = items.VALUE) -> dict[str, Value]:
        if self.pointer is not None:
            return {f"{name}p": self.pointer}
        return {} if self.data is None else {name: self.data}

    @property
    def size(self) -> int:
        return len(self.data or "") if isinstance(self.data, str | bytes) else 0

    def fields(self, name: str) -> dict[str, Any]:
        """As JSON fields of a message."""
        if self.pointer is not None:
            return {f"{name}p": self.pointer}
        if isinstance(self.data, bytes):
            return {f"{name}z": base64.b64encode(self.data).decode()}
        return {} if self.data is None else {name: self.data}

    @classmethod
    def of_item(cls, item: Mapping[str, Value], name: str = items.VALUE) -> Stored:
        pointer, data = item.get(f"{name}p"), item.get(name)
        return cls(data if isinstance(data, str | bytes) else None, pointer if isinstance(pointer, str) else None)

    @classmethod
    def of_message(cls, body: Mapping[str, Any], name: str) -> Stored:
        pointer, packed, plain = body.get(f"{name}p"), body.get(f"{name}z"), body.get(name)
        for field_name, found in ((f"{name}p", pointer), (f"{name}z", packed), (name, plain)):
            if found is not None and not isinstance(found, str):
                raise InvalidPayloadError(f"The field {field_name} of a message must be a string.")
        if isinstance(packed, str):
            try:
                return cls(base64.b64decode(packed, validate=True))
            except ValueError as error:
                raise InvalidPayloadError(f"The field {name}z of a message is not base64: {error}.") from None
        return cls(plain if isinstance(plain, str) else None, pointer if isinstance(pointer, str) else None)
