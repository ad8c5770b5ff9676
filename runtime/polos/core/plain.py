"""Values as plain JSON, for programs that look at an execution from outside and need not know its classes.

One way only: what is made here is shown, never stored and never decoded (that is `codec`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from pydantic_core import to_jsonable_python

from polos.core import codec
from polos.errors import SerializationError


def as_json(value: object) -> Any:
    """`value` as `model_dump(mode="json")` would write it: models and dataclasses as dicts, moments as ISO text.

    A value that pydantic cannot write so (bytes that are no text; a serializer of the application raises) is shown by
    its fields as they are recorded, or else as text.
    """
    try:
        return to_jsonable_python(value, by_alias=False, bytes_mode="base64")
    except ValueError:
        try:
            return untagged(json.loads(codec.encode(value)))
        except SerializationError:
            return str(value)


def of_text(text: str, annotation: object = codec.MISSING) -> Any:
    """A stored text as plain JSON; by its recorded fields where this process does not know its classes."""
    try:
        return as_json(codec.decode(text, annotation))
    except SerializationError:
        try:
            return untagged(json.loads(text))
        except (ValueError, RecursionError):
            return text


def untagged(tree: object) -> Any:
    """A stored tree without its tags: an object's fields, an enum member's value, the text of a number or a moment."""
    if isinstance(tree, list):
        return [untagged(item) for item in cast("list[object]", tree)]
    if not isinstance(tree, dict):
        return tree
    node = cast("dict[str, object]", tree)
    if "$" not in node:
        return {name: untagged(item) for name, item in node.items()}
    if "fields" in node:
        fields, extra = node["fields"], node.get("extra")
        return {**_mapping(untagged(fields)), **_mapping(untagged(extra))}
    if node["$"] == "dict" and isinstance(node.get("k"), list) and isinstance(node.get("v"), list):
        keys, items = cast("list[object]", node["k"]), cast("list[object]", node["v"])
        return {str(untagged(key)): untagged(item) for key, item in zip(keys, items, strict=False)}
    return untagged(node.get("value", node.get("v")) if node["$"] == "enum" else node.get("v"))


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}
