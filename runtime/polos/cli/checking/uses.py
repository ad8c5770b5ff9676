"""Step keys as they are used: which ones are the same every time, and what may make them differ."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from polos.cli.checking.frames import Frame, key_of
from polos.cli.checking.source import inside

Token = tuple[str, str | int]
_VARIES: Final = (ast.Call, ast.Await, ast.NamedExpr, ast.Lambda, ast.ListComp, ast.GeneratorExp, ast.Yield)
_PERHAPS: Final = (
    *(ast.IfExp, ast.BoolOp, ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp),
    *(ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef),
)


@dataclass(frozen=True, slots=True)
class Use:
    """One use of a key. It stays the same as long as `names` mean the same and what is in `objects` is unchanged."""

    token: Token
    text: str
    call: ast.Call
    names: frozenset[str] = frozenset()
    objects: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Changes:
    """What a loop may change: the names that it binds, and the objects that it hands out or calls methods of."""

    names: frozenset[str]
    objects: frozenset[str]

    def spare(self, use: Use) -> bool:
        """Whether the key is the same in the next round."""
        return not (use.names & self.names or use.objects & (self.names | self.objects))

    @classmethod
    def within(cls, nodes: Sequence[ast.AST]) -> Changes:
        names: set[str] = set()
        objects: set[str] = set()
        for node in inside(nodes):
            match node:
                case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                    names.add(name)
                case ast.Attribute(ctx=ast.Store()) | ast.Subscript(ctx=ast.Store()):
                    objects.add(_root(node))
                case ast.Call():
                    objects |= {_root(node.func), *(_root(one) for one in node.args)}
                    objects |= {_root(one.value) for one in node.keywords}
                case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)) | ast.ExceptHandler(name=str(name)):
                    names.add(name)
                case _:
                    pass
        return cls(frozenset(names), frozenset(objects))


def use_of(frame: Frame, call: ast.Call) -> Use | None:
    """The key of a durable call, if it can be known whether it is the same again."""
    key = key_of(call)
    literal = text_of(key)
    if key is None or literal is not None:
        return Use(("literal", literal), repr(literal), call) if literal is not None else None
    if any(isinstance(one, _VARIES) for one in ast.walk(key)):
        return None
    names: set[str] = set()
    objects: set[str] = set()
    _collect(frame, key, names, objects)
    return Use(("expression", id(call)), ast.unparse(key), call, frozenset(names), frozenset(objects))


def text_of(key: ast.expr | None) -> str | None:
    """The text of a literal key."""
    if isinstance(key, ast.JoinedStr):
        parts = [text_of(one) for one in key.values]
        return None if None in parts else "".join(part or "" for part in parts)
    return key.value if isinstance(key, ast.Constant) and isinstance(key.value, str) else None


def certain_keys(frame: Frame, done: frozenset[int] = frozenset()) -> list[str]:
    """The literal keys that a function uses whenever it is called."""
    return [text for call in _certain(frame.function.body) for text in _keys(frame, call, done)]


def _keys(frame: Frame, call: ast.Call, done: frozenset[int]) -> list[str]:
    if frame.is_durable(call):
        text = text_of(key_of(call))
        return [] if text is None else [text]
    callee = frame.callee(call)
    if callee is None or id(callee.function) in done:
        return []
    return certain_keys(callee, done | {id(callee.function)})


def _certain(body: Sequence[ast.stmt]) -> Iterator[ast.Call]:
    for node in body:
        if isinstance(node, ast.With | ast.AsyncWith | ast.Try):
            yield from _certain(node.body)
        elif not isinstance(node, ast.If | ast.For | ast.AsyncFor | ast.While | ast.Match):
            yield from _calls(node)
        if any(isinstance(one, ast.Return | ast.Raise) for one in inside([node])):
            return


def _calls(node: ast.AST) -> Iterator[ast.Call]:
    if isinstance(node, _PERHAPS):
        return
    for child in ast.iter_child_nodes(node):
        yield from _calls(child)
    if isinstance(node, ast.Call):
        yield node


def _collect(frame: Frame, node: ast.expr, names: set[str], objects: set[str]) -> None:
    if frame.is_fixed(node):
        return
    if isinstance(node, ast.Attribute | ast.Subscript):
        objects.add(_root(node))
    if isinstance(node, ast.Name):
        names.add(node.id)
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            _collect(frame, child, names, objects)


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Starred):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""
