"""What does not belong into a workflow's body: clock, randomness, I/O, raw timeouts, durable calls nobody awaits."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from typing import Final

from polos.cli.checking.forbidden import ENVIRONMENT, USE_HASH, USE_PROCESS, USE_STEP, is_client, judge, judge_method
from polos.cli.checking.frames import Frame
from polos.cli.checking.source import inside
from polos.cli.checking.uses import text_of

Report = Callable[[int, str, str], None]

_BLOCKS: Final = {
    *("asyncio.timeout", "asyncio.timeout_at", "async_timeout.timeout", "async_timeout.timeout_at"),
    *("anyio.fail_after", "anyio.fail_at", "anyio.move_on_after", "anyio.move_on_at"),
}
_USE_TIMEOUT: Final = "is not recorded, so a replay may decide it otherwise: give the durable call its own timeout="
_LOST: Final = "is never awaited, so it does nothing: write await {} or hand it to asyncio.gather"


def check(frame: Frame, report: Report) -> None:
    """Report everything in one function, without the functions that it calls."""
    _Body(frame, report).look()


class _Body:
    def __init__(self, frame: Frame, report: Report) -> None:
        self._frame, self._scope, self._report = frame, frame.scope, report

    def look(self) -> None:
        nodes = list(inside(self._frame.function.body))
        for node in nodes:
            match node:
                case ast.Call():
                    self._call(node)
                case ast.With() | ast.AsyncWith():
                    self._block(node)
                case ast.Subscript(value=value, ctx=ast.Load()) if self._scope.full_name(value) == ENVIRONMENT:
                    self._report(node.lineno, "process", f"{ENVIRONMENT}[…] {USE_PROCESS}")
                case _:
                    pass
        for node in _unawaited(self._frame, nodes):
            text = ast.unparse(node.func)
            self._report(node.lineno, "await", f"{text}(…) {_LOST.format(f'{text}(…)')}")

    def _call(self, node: ast.Call) -> None:
        name = self._scope.full_name(node.func)
        if name is not None:
            found = judge(name, node)
            if name == "hash" and any(self._is_text(one) for one in node.args):
                found = "random", USE_HASH
            if found is not None:
                self._report(node.lineno, found[0], f"{name}() {found[1]}")
            self._timeout(node, name)
        if not isinstance(node.func, ast.Attribute):
            return
        maker = self._scope.maker(node.func.value)
        if maker is not None and is_client(maker):
            found = judge_method(maker, node.func.attr)
            if found is not None:
                self._report(node.lineno, found[0], f"{maker}(…).{node.func.attr}() {found[1]}")
        elif node.func.attr == "run_in_executor":
            self._report(node.lineno, "io", f"run_in_executor() {USE_STEP}")

    def _is_text(self, node: ast.expr) -> bool:
        """Whether it is a string for certain: written so, or a parameter declared so."""
        if isinstance(node, ast.Tuple):
            return any(self._is_text(one) for one in node.elts)
        if isinstance(node, ast.Name):
            scope = self._scope.owner(node.id)
            declared = None if scope is None else scope.annotations.get(node.id)
            return isinstance(declared, ast.Name) and declared.id == "str"
        is_call = isinstance(node, ast.Call) and self._scope.full_name(node.func) in ("str", "repr")
        return is_call or isinstance(node, ast.JoinedStr) or text_of(node) is not None

    def _timeout(self, node: ast.Call, name: str) -> None:
        if name == "asyncio.wait_for":
            limit = node.args[1] if len(node.args) > 1 else _keyword(node, "timeout")
        elif name in ("asyncio.wait", "asyncio.as_completed"):
            limit = _keyword(node, "timeout")
        else:
            return
        unlimited = limit is None or (isinstance(limit, ast.Constant) and limit.value is None)
        awaited = node.args[:1] or [one.value for one in node.keywords if one.arg in ("fut", "fs")]
        if not unlimited and self._is_durable(awaited):
            self._report(node.lineno, "timeout", f"the timeout of {name}() around a durable call {_USE_TIMEOUT}")

    def _block(self, node: ast.With | ast.AsyncWith) -> None:
        for item in node.items:
            call = item.context_expr
            name = self._scope.full_name(call.func) if isinstance(call, ast.Call) else None
            if name in _BLOCKS and isinstance(call, ast.Call) and not _is_none(call) and self._is_durable(node.body):
                self._report(call.lineno, "timeout", f"{name}() around a durable call {_USE_TIMEOUT}")

    def _is_durable(self, nodes: list[ast.expr] | list[ast.stmt]) -> bool:
        """Whether there is a durable call in there, or a name that was assigned from one."""
        if self._frame.acts(nodes):
            return True
        names = {one.id for one in inside(nodes) if isinstance(one, ast.Name)}
        for node in inside(self._frame.function.body):
            if (
                isinstance(node, ast.Assign)
                and not isinstance(node.value, ast.Await)
                and any(isinstance(one, ast.Name) and one.id in names for one in node.targets)
                and self._is_pending(node.value)
            ):
                return True
        return False

    def _is_pending(self, node: ast.expr) -> bool:
        """Whether a value is a coroutine or task, or a collection of them, that has something durable to do."""
        if any(isinstance(one, ast.Await) for one in inside([node])):
            return False
        return self._frame.acts([node])


def _keyword(node: ast.Call, name: str) -> ast.expr | None:
    return next((one.value for one in node.keywords if one.arg == name), None)


def _is_none(call: ast.Call) -> bool:
    return len(call.args) == 1 and isinstance(call.args[0], ast.Constant) and call.args[0].value is None


def _unawaited(frame: Frame, nodes: list[ast.AST]) -> Iterator[ast.Call]:
    """The durable calls whose coroutine is dropped, or taken for its result."""
    used = {one.id for one in ast.walk(frame.function) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load)}
    for parent in nodes:
        for child in ast.iter_child_nodes(parent):
            if (
                isinstance(child, ast.Call)
                and (frame.is_durable(child) or frame.is_successor(child))
                and _drops(frame, parent, child, used)
            ):
                yield child


def _drops(frame: Frame, parent: ast.AST, child: ast.Call, used: set[str]) -> bool:
    match parent:
        case ast.Expr() | ast.Compare() | ast.BinOp() | ast.BoolOp() | ast.UnaryOp() | ast.FormattedValue():
            return True
        case ast.Attribute() | ast.AugAssign() | ast.If() | ast.While() | ast.Assert():
            return True
        case ast.Subscript(value=value):
            return value is child
        case ast.For(iter=source) | ast.IfExp(test=source) | ast.comprehension(iter=source):
            return source is child
        case ast.Return():
            return frame.is_workflow
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name not in used
        case ast.Assign(targets=[ast.Tuple() | ast.List()]):
            return True
        case _:
            return False
