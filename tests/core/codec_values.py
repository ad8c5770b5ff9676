"""Values of every kind that can be stored, the classes that they are made of, and what tells them apart."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import functools
import ipaddress
import threading
import uuid
import zoneinfo
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import pydantic
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, RootModel
from typing_extensions import TypedDict

T = TypeVar("T")
UTC = dt.UTC
MODULE = __name__  # as a stored value names the module of its class


class Colour(enum.Enum):
    RED = "r"
    GREEN = ("g", 1)


class Level(enum.IntEnum):
    LOW = 1


class Kind(enum.StrEnum):
    A = "a"


class Right(enum.Flag):
    READ = 1
    WRITE = 2


class Address(BaseModel):
    street: str
    zip: str | None = None


class Order(BaseModel):
    id: uuid.UUID
    total: decimal.Decimal
    at: dt.datetime
    items: list[tuple[str, int]] = []
    address: Address | None = None
    colour: Colour = Colour.RED


class VipOrder(Order):
    discount: float = 0.1


class Taxed(BaseModel):
    model_config = ConfigDict(populate_by_name=True)
    net: float = Field(alias="netAmount")
    hidden: str = Field("h", exclude=True)
    _seen: list[int] = PrivateAttr(default_factory=list)
    _lock: Any = PrivateAttr(default_factory=threading.Lock)

    @pydantic.field_validator("net")
    @classmethod
    def add_tax(cls, value: float) -> float:
        return value * 2

    @pydantic.computed_field
    @property
    def gross(self) -> float:
        return self.net + 1

    @functools.cached_property
    def slow(self) -> Any:
        return threading.Lock()


class Needy(BaseModel):
    _lock: Any = PrivateAttr()


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    a: int = 0


class Names(RootModel[list[Kind]]):
    pass


class Page(BaseModel, Generic[T]):
    items: list[T]
    next: Page[T] | None = None


class Links(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    home: pydantic.HttpUrl
    path: Path
    ip: ipaddress.IPv4Address


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0
    label: str = dataclasses.field(default="", init=False)
    built: int = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.built = self.x + 100
        self.note = ["not a field"]


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    name: str
    colour: Colour


@dataclasses.dataclass
class Box(Generic[T]):
    inside: T


@dataclasses.dataclass
class Node:
    next: Node | None = None


@pydantic.dataclasses.dataclass
class Checked:
    n: int


@dataclasses.dataclass
class Failed(Exception):
    why: str


class Pair(NamedTuple):
    left: int
    right: str = "r"


class Movie(TypedDict):
    address: Address


class Outer:
    class Inner(BaseModel):
        v: int


BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")


NOON = dt.datetime.fromisoformat("2024-05-01T12:00:00.123456")


ORDER = Order(id=uuid.UUID(int=7), total=decimal.Decimal("1.50"), at=NOON.replace(tzinfo=UTC), items=[("a", 1)])


def same(left: object, right: object) -> bool:
    """Equal, and of equal types all the way down."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float) and isinstance(right, float):
        return repr(left) == repr(right)
    if isinstance(left, decimal.Decimal):
        return repr(left) == repr(right)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return same(list(left.items()), list(right.items()))
    if isinstance(left, dt.datetime | dt.time) and isinstance(right, dt.datetime | dt.time):
        return left == right and left.fold == right.fold and repr(left.tzinfo) == repr(right.tzinfo)
    if isinstance(left, set | frozenset) and isinstance(right, set | frozenset):
        return sorted(map(repr, left)) == sorted(map(repr, right)) if left != right else True
    if isinstance(left, BaseModel) and isinstance(right, BaseModel):
        return left == right and left.model_fields_set == right.model_fields_set and same(vars(left), vars(right))
    if hasattr(left, "__dict__") and not isinstance(left, enum.Enum) and dataclasses.is_dataclass(left):
        return left == right and all(same(getattr(left, name), getattr(right, name)) for name in vars(left))
    return left == right


class Thing:
    pass
