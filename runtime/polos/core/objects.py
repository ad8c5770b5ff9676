"""Objects with fields (and enum members): taken apart into their state and built again without running their code.

The state of a model is its fields, which of them were set, its extra values and its private attributes; that of a
dataclass its fields and whatever else it keeps in its `__dict__` (a `__post_init__` that is not run again may have put
it there). Cached properties are computed again when asked for.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
from typing import Any, Final, cast

import pydantic
from pydantic_core import PydanticUndefined

from polos.core.types import kind_of

KINDS: Final = frozenset({"enum", "model", "dataclass", "namedtuple"})


@dataclasses.dataclass(slots=True)
class State:
    """What an object holds. `fields_set` is None where all fields and extra values were set.

    `restorable` are the private attributes that have a default to fall back on; `absent` is a field without a value,
    which cannot be stored; `member` is an enum member's name, or the number of a combination of flags; `value` is the
    member's value where that is another text or a number, for those who read it without its class.
    """

    kind: str
    fields: dict[str, object]
    fields_set: set[str] | None = None
    extra: dict[str, object] = dataclasses.field(default_factory=dict[str, object])
    private: dict[str, object] = dataclasses.field(default_factory=dict[str, object])
    restorable: frozenset[str] = frozenset()
    absent: str = ""
    member: str | int | None = None
    value: str | int | float | None = None


def take(value: object) -> State | None:
    """The state of an object of one of the `KINDS`; None for anything else."""
    if isinstance(value, enum.Enum):
        return _take_member(value)
    if isinstance(value, pydantic.BaseModel):
        return _take_model(value)
    if isinstance(value, type):
        return None
    if dataclasses.is_dataclass(value):
        return _take_dataclass(value)
    if kind_of(type(value)) == "namedtuple":
        items = cast("tuple[object, ...]", value)
        return State("namedtuple", dict(zip(_names(type(value)), items, strict=False)))
    return None


def check(cls: type, kind: str | None = None) -> None:
    """`LookupError` unless `cls` is of that kind (where given) and an instance of it can be made without its code."""
    if kind is not None and kind_of(cls) != kind:
        raise LookupError(f"the class {cls.__module__}.{cls.__qualname__} is no {kind} (any more)")
    if kind_of(cls) == "dataclass":
        _bare(cls)


def build(cls: type[Any], state: State) -> object:
    """The object of that state. Fields that the state lacks take their defaults; `ValueError` if one has none."""
    if issubclass(cls, pydantic.BaseModel):
        return _build_model(cls, state)
    if state.kind == "namedtuple":
        return _build_tuple(cls, state)
    return _build_dataclass(cls, state)


def member(cls: type, name: object) -> object:
    """The member of an enum: by its name, or by its number if it is a flag."""
    if issubclass(cls, enum.Flag) and type(name) is int:
        built: enum.Flag = cls(name)
        return built
    if issubclass(cls, enum.Enum) and isinstance(name, str) and name in cls.__members__:
        return cls.__members__[name]
    raise ValueError(f"{cls.__qualname__} has no member {name!r}")


def _take_member(member: enum.Enum) -> State:
    value: object = member.value
    if isinstance(member, enum.Flag):
        return State("enum", {}, member=cast("int", value))
    shown = value if type(value) in (str, int, float) and value != member.name else None
    return State("enum", {}, member=member.name, value=cast("str | int | float | None", shown))


def _take_model(value: pydantic.BaseModel) -> State:
    cls = type(value)
    held = value.__dict__
    names = cls.model_fields
    state = State("model", {name: held[name] for name in names if name in held})
    state.absent = next((name for name in names if name not in held), "")
    state.extra = dict(value.model_extra or {})
    if value.model_fields_set != names.keys() | state.extra.keys():
        state.fields_set = set(value.model_fields_set)
    state.private = dict(value.__pydantic_private__ or {})
    state.restorable = frozenset(name for name, private in cls.__private_attributes__.items() if _has_default(private))
    return state


def _has_default(private: Any) -> bool:
    return private.default is not PydanticUndefined or private.default_factory is not None


def _default(field: Any, held: dict[str, object]) -> object:
    # get_default() takes other arguments in each pydantic, and for private attributes others than for fields.
    if field.default_factory is None:
        return field.get_default()
    return field.default_factory(held) if _takes_data(field) else field.default_factory()


def _takes_data(field: Any) -> bool:
    return bool(getattr(field, "default_factory_takes_validated_data", False))


def _build_model(cls: type[pydantic.BaseModel], state: State) -> object:
    fields = {name: value for name, value in state.fields.items() if name in cls.model_fields}
    fields_set = state.fields_set
    if fields_set is None:
        fields_set = fields.keys() | state.extra.keys()
    for name, field in cls.model_fields.items():
        if name not in fields:
            if field.is_required():
                raise ValueError(f"the record has no field {name!r}, which has no default in {cls.__qualname__}")
            fields[name] = _default(field, fields)
    private: dict[str, object] | None = None
    if cls.__private_attributes__:
        private = {}
        for name, attribute in cls.__private_attributes__.items():
            value = state.private[name] if name in state.private else _default(attribute, {**fields, **private})
            if value is not PydanticUndefined:
                private[name] = value
    built = cls.__new__(cls)
    extra = state.extra if cls.model_config.get("extra") == "allow" else None
    pydantic.BaseModel.__setstate__(
        built,
        {
            "__dict__": {name: fields[name] for name in cls.model_fields},
            "__pydantic_fields_set__": fields_set,
            "__pydantic_extra__": extra,
            "__pydantic_private__": private,
        },
    )
    return built


def _take_dataclass(value: object) -> State:
    cls = type(value)
    fields = {field.name: field for field in dataclasses.fields(cast("Any", value))}
    state = State("dataclass", {})
    for name, field in fields.items():
        held = getattr(value, name, dataclasses.MISSING)
        if held is not dataclasses.MISSING:
            state.fields[name] = held
        elif field.init:
            state.absent = name
    held_too: dict[str, object] = getattr(value, "__dict__", {})
    state.private = {
        name: held
        for name, held in held_too.items()
        if name not in fields and not name.startswith("__") and not _is_computed(cls, name)
    }
    return state


def _is_computed(cls: type, name: str) -> bool:
    return any(isinstance(base.__dict__.get(name), functools.cached_property) for base in cls.__mro__)


def _build_dataclass(cls: type, state: State) -> object:
    built = _bare(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for name, field in fields.items():
        if name in state.fields:
            value = state.fields[name]
        elif field.default is not dataclasses.MISSING:
            value = field.default
        elif field.default_factory is not dataclasses.MISSING:
            value = field.default_factory()
        elif not field.init:
            continue
        else:
            raise ValueError(f"the record has no field {name!r}, which has no default in {cls.__qualname__}")
        object.__setattr__(built, name, value)
    held: dict[str, object] | None = getattr(built, "__dict__", None)
    if held is not None:
        held.update((name, value) for name, value in state.private.items() if not name.startswith("__"))
    return built


def _bare(cls: type) -> object:
    try:
        return object.__new__(cast("type[object]", cls))
    except TypeError as error:
        raise LookupError(
            f"the class {cls.__module__}.{cls.__qualname__} cannot be built from its fields ({error})"
        ) from None


def _names(cls: type) -> tuple[str, ...]:
    names: tuple[str, ...] = cast("Any", cls)._fields
    return names


def _build_tuple(cls: type, state: State) -> object:
    defaults: dict[str, object] = getattr(cls, "_field_defaults", {})
    for name in _names(cls):
        if name not in state.fields and name not in defaults:
            raise ValueError(f"the record has no field {name!r}, which has no default in {cls.__qualname__}")
    values = [state.fields[name] if name in state.fields else defaults[name] for name in _names(cls)]
    built: object = cast("Any", tuple).__new__(cls, values)
    return built
