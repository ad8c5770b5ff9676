"""One module as the checker sees it: what names mean where, which functions are workflows, who calls whom."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

Function = ast.FunctionDef | ast.AsyncFunctionDef
_OWN_SCOPE = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
_FARTHEST = 8
"""So many names for one thing are followed."""

_WORKFLOW = ("polos.workflow", "polos.workflow.workflow")


def _nothing(_: str) -> None:
    return None


@dataclass(slots=True)
class Scope:
    """The names of a module or a function.

    `imported` maps a name to its full name (`.helpers.stamp` for a relative import), `made` to the full name of the
    only call that it was assigned from, `aliases` to the only other name (`clock = time.time`), `instances` to what was
    called, and `annotations` to what a parameter is declared as. `of_class` is the class of the methods in it, `first`
    a function's first parameter. `find`, of a module's scope, finds the functions and classes of other modules.
    """

    outer: Scope | None = None
    imported: dict[str, str] = field(default_factory=dict[str, str])
    functions: dict[str, Function] = field(default_factory=dict[str, Function])
    made: dict[str, str] = field(default_factory=dict[str, str])
    aliases: dict[str, ast.expr] = field(default_factory=dict[str, ast.expr])
    classes: dict[str, ast.ClassDef] = field(default_factory=dict[str, ast.ClassDef])
    instances: dict[str, ast.expr] = field(default_factory=dict[str, ast.expr])
    annotations: dict[str, ast.expr] = field(default_factory=dict[str, ast.expr])
    of_class: tuple[ast.ClassDef, Scope] | None = None
    first: str = ""
    bound: set[str] = field(default_factory=set[str])
    find: Callable[[str], tuple[Function | ast.ClassDef, Scope] | None] = _nothing

    def owner(self, name: str) -> Scope | None:
        """The scope in which a name is found."""
        scope: Scope | None = self
        while scope is not None and name not in scope.bound:
            scope = scope.outer
        return scope

    def full_name(self, node: ast.expr, hops: int = 0) -> str | None:
        """`a.b.c` as imported (`datetime.datetime.now`) or built in (`open`); None where it is anything else."""
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name):
            return None
        scope = self.owner(node.id)
        built_in = node.id if hasattr(builtins, node.id) else None
        root = built_in if scope is None else scope.imported.get(node.id)
        if scope is not None and node.id in scope.aliases and hops < _FARTHEST:
            root = scope.full_name(scope.aliases[node.id], hops + 1)
        return None if root is None else ".".join([root, *reversed(parts)])

    def function(self, node: ast.expr, hops: int = 0) -> tuple[Function, Scope] | None:
        """The function of the application that a name means, with the scope that it was defined in."""
        scope = self.owner(node.id) if isinstance(node, ast.Name) else None
        if scope is not None and isinstance(node, ast.Name) and node.id in scope.aliases and hops < _FARTHEST:
            return scope.function(scope.aliases[node.id], hops + 1)
        if scope is not None and isinstance(node, ast.Name) and node.id in scope.functions:
            return scope.functions[node.id], scope
        match self._elsewhere(node):
            case ast.FunctionDef() | ast.AsyncFunctionDef() as function, module:
                return function, module
            case _:
                return None

    def _elsewhere(self, node: ast.expr) -> tuple[Function | ast.ClassDef, Scope] | None:
        name = self.full_name(node)
        module = self
        while module.outer is not None:
            module = module.outer
        return None if name is None or "." not in name else module.find(name)

    def class_named(self, node: ast.expr) -> tuple[ast.ClassDef, Scope] | None:
        """The class of the application that a name or an annotation means, with the scope that it was defined in."""
        match node:
            case ast.BinOp(left=left, op=ast.BitOr(), right=ast.Constant(value=None)):
                return self.class_named(left)
            case ast.Constant(value=str(text)) if text.isidentifier():
                return self.class_named(ast.Name(text, ast.Load()))
            case ast.Name(id=name):
                scope = self.owner(name)
                if scope is not None and name in scope.classes:
                    return scope.classes[name], scope
            case _:
                pass
        match self._elsewhere(node) if isinstance(node, ast.Name | ast.Attribute) else None:
            case ast.ClassDef() as found, module:
                return found, module
            case _:
                return None

    def class_of(self, node: ast.expr) -> tuple[ast.ClassDef, Scope] | None:
        """The class of the application that a value is an instance of: `Pricer()`, a name for it, `self`."""
        if isinstance(node, ast.Call):
            return self.class_named(node.func)
        scope = self.owner(node.id) if isinstance(node, ast.Name) else None
        if scope is None or not isinstance(node, ast.Name):
            return None
        if node.id in scope.instances:
            return scope.class_named(scope.instances[node.id])
        outer = scope.outer
        if outer is not None and node.id in scope.annotations:
            return outer.class_named(scope.annotations[node.id])
        return outer.of_class if outer is not None and node.id == scope.first else None

    def maker(self, node: ast.expr) -> str | None:
        """The full name of the call whose result this is: `Path(x)` itself, or a name assigned from it only once."""
        if isinstance(node, ast.Call):
            return self.full_name(node.func)
        scope = self.owner(node.id) if isinstance(node, ast.Name) else None
        return scope.made.get(node.id) if scope is not None and isinstance(node, ast.Name) else None


def inside(nodes: Sequence[ast.AST]) -> Iterator[ast.AST]:
    """Everything in these statements but the inside of functions and classes defined there."""
    todo: list[ast.AST] = list(reversed(nodes))
    while todo:
        node = todo.pop()
        yield node
        if not isinstance(node, _OWN_SCOPE):
            todo.extend(reversed(list(ast.iter_child_nodes(node))))


def scope_of(body: list[ast.stmt], outer: Scope | None = None, parameters: ast.arguments | None = None) -> Scope:
    """The scope that these statements make."""
    scope = Scope(outer)
    if parameters is not None:
        names = [one for one in ast.walk(parameters) if isinstance(one, ast.arg)]
        scope.bound |= {one.arg for one in names}
        scope.annotations = {one.arg: one.annotation for one in names if one.annotation is not None}
        scope.first = next((one.arg for one in (*parameters.posonlyargs, *parameters.args)), "")
    times: dict[str, int] = {}
    outside: set[str] = set()
    for node in inside(body):
        match node:
            case ast.Import():
                for one in node.names:
                    root = one.name.partition(".")[0]
                    scope.imported[one.asname or root] = one.name if one.asname else root
            case ast.ImportFrom():
                source = f"{'.' * node.level}{node.module}." if node.module else "." * node.level
                scope.imported.update({one.asname or one.name: f"{source}{one.name}" for one in node.names})
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                times[node.name] = times.get(node.name, 0) + 1
                scope.functions[node.name] = node
            case ast.ClassDef():
                times[node.name] = times.get(node.name, 0) + 1
                scope.classes[node.name] = node
            case ast.Name(ctx=ast.Store() | ast.Del()):
                times[node.id] = times.get(node.id, 0) + 1
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                times[name] = times.get(name, 0) + 1
            case ast.Global() | ast.Nonlocal():
                outside |= set(node.names)
            case _:
                pass
    scope.bound |= set(scope.imported) | set(times)
    scope.bound -= outside
    for name, count in times.items():
        if count > 1 or name in scope.imported:
            scope.functions.pop(name, None)
            scope.classes.pop(name, None)
        scope.annotations.pop(name, None)  # a parameter that is given another value
    for name in scope.functions:
        scope.imported.pop(name, None)
    once = {name for name, count in times.items() if count == 1}
    given = [(name, value) for name, value in _given(body) if name in once and name not in scope.imported]
    scope.aliases = {name: value for name, value in given if isinstance(value, ast.Name | ast.Attribute)}
    scope.instances = {name: value.func for name, value in given if isinstance(value, ast.Call)}
    for name, value in given:
        made = scope.full_name(value.func) if isinstance(value, ast.Call) else None
        if made is not None:
            scope.made[name] = made
    return scope


def _given(body: list[ast.stmt]) -> Iterator[tuple[str, ast.expr]]:
    """The names that these statements give to values."""
    for node in inside(body):
        pairs: list[tuple[ast.AST | None, ast.expr | None]] = []
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            pairs = [(node.targets[0], node.value)]
        elif isinstance(node, ast.AnnAssign | ast.NamedExpr):
            pairs = [(node.target, node.value)]
        elif isinstance(node, ast.With | ast.AsyncWith):
            pairs = [(item.optional_vars, item.context_expr) for item in node.items]
        for target, value in pairs:
            if isinstance(target, ast.Name) and value is not None:
                yield target.id, value


def workflows(tree: ast.Module, module: Scope) -> Iterator[tuple[Function, Scope]]:
    """The functions declared as workflows, nested ones too, with the scopes around them."""
    yield from _workflows(tree.body, module)


def _workflows(body: list[ast.stmt], scope: Scope) -> Iterator[tuple[Function, Scope]]:
    wrapped = {id(one) for one in _wrapped(body, scope)}
    for node in inside(body):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if id(node) in wrapped or is_workflow(node, scope):
                yield node, scope
            yield from _workflows(node.body, scope_of(node.body, scope, node.args))
        elif isinstance(node, ast.ClassDef):
            yield from _workflows(node.body, scope_of(node.body, scope))


def is_workflow(node: Function, scope: Scope) -> bool:
    return any(_declares(one, scope) for one in node.decorator_list)


def _declares(node: ast.expr, scope: Scope) -> bool:
    return scope.full_name(node.func if isinstance(node, ast.Call) else node) in _WORKFLOW


def _wrapped(body: list[ast.stmt], scope: Scope) -> Iterator[Function]:
    """The functions in `workflow(func)` and `workflow(id="x")(func)`."""
    for node in inside(body):
        if isinstance(node, ast.Call) and _declares(node.func, scope):
            for argument in node.args:
                found = scope.function(argument)
                if found is not None:
                    yield found[0]


@dataclass(frozen=True, slots=True)
class Method:
    """A method of a class of the application. `is_bound`: a call gives it its first argument by itself."""

    function: Function
    scope: Scope
    is_bound: bool


def method(scope: Scope, call: ast.Call) -> Method | None:
    """The method of the application that a call runs: `pricer.quote()`, `Pricer.of()`, or what makes `Pricer()`."""
    made = scope.class_named(call.func)
    if made is not None:
        return _member(*made, "__init__", on_instance=True)
    if not isinstance(call.func, ast.Attribute):
        return None
    of_class = scope.class_named(call.func.value)
    found = of_class or scope.class_of(call.func.value)
    return None if found is None else _member(*found, call.func.attr, on_instance=of_class is None)


def _member(cls: ast.ClassDef, scope: Scope, name: str, *, on_instance: bool, hops: int = 0) -> Method | None:
    """The method of a class or of the nearest of its bases that are the application's own."""
    for node in cls.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
            kinds = {one.id for one in node.decorator_list if isinstance(one, ast.Name)}
            static = "staticmethod" in kinds
            around = Scope(scope, of_class=None if static else (cls, scope))
            return Method(node, around, not static and (on_instance or "classmethod" in kinds))
    for base in cls.bases if hops < _FARTHEST else ():
        found = scope.class_named(base)
        member = None if found is None else _member(*found, name, on_instance=on_instance, hops=hops + 1)
        if member is not None:
            return member
    return None
