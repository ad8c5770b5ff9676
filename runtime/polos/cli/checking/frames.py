"""A function that runs as part of a workflow's body, and the durable calls in it."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from polos.cli.checking.source import Function, Scope, inside, is_workflow, method, scope_of

_DURABLE: Final = {
    *("run", "wait_for", "wait_until", "wait_for_event", "publish_event", "publish_workflow_event", "suspend"),
    *("resume", "invoke", "invoke_and_wait", "batch_invoke", "batch_invoke_and_wait", "uuid", "now", "random"),
    "patched",
}
_CONTEXT: Final = ("polos.WorkflowContext", "polos.context.WorkflowContext")
_FIXED: Final = {
    *("execution_id", "workflow_id", "root_execution_id", "root_workflow_id", "parent_execution_id", "session_id"),
    *("user_id", "created_at", "deployment_id", "workflow_type"),
}


@dataclass(frozen=True, slots=True)
class Frame:
    """`contexts` are the names under which the body knows its `ctx`, `steps` those under which it knows `ctx.step`, and
    `calls` those of its methods (`run = ctx.step.run`).
    """

    function: Function
    scope: Scope
    contexts: frozenset[str]
    steps: frozenset[str]
    calls: frozenset[str]
    is_workflow: bool = False

    @classmethod
    def of(
        cls,
        function: Function,
        outer: Scope,
        contexts: frozenset[str] = frozenset(),
        steps: frozenset[str] = frozenset(),
        calls: frozenset[str] = frozenset(),
        *,
        is_workflow: bool = False,
    ) -> Frame:
        scope = scope_of(function.body, outer, function.args)
        contexts |= {one.arg for one in parameters(function) if _is_context(one.annotation, scope)}
        for node in inside(function.body):
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                if isinstance(node.value, ast.Name) and node.value.id in contexts:
                    contexts |= {node.targets[0].id}
                elif _is_step(node.value, contexts, steps):
                    steps |= {node.targets[0].id}
                elif _is_durable(node.value, contexts, steps):
                    calls |= {node.targets[0].id}
        return cls(function, scope, contexts, steps, calls, is_workflow)

    @classmethod
    def of_workflow(cls, function: Function, outer: Scope) -> Frame:
        first = [one.arg for one in parameters(function)[:1]]
        return cls.of(function, outer, frozenset(first), is_workflow=True)

    @property
    def identity(self) -> tuple[int, frozenset[str], frozenset[str], frozenset[str]]:
        return id(self.function), self.contexts, self.steps, self.calls

    def is_durable(self, node: ast.AST) -> bool:
        """Whether it is a call like `ctx.step.run(…)`."""
        if not isinstance(node, ast.Call):
            return False
        if isinstance(node.func, ast.Name):
            return node.func.id in self.calls
        return _is_durable(node.func, self.contexts, self.steps)

    def is_successor(self, node: ast.AST) -> bool:
        """Whether it is `ctx.continue_as_new(…)`."""
        return (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "continue_as_new"
            and self._is_context(node.func.value)
        )

    def is_fixed(self, node: ast.expr) -> bool:
        """Whether it is a part of `ctx` that never changes."""
        return isinstance(node, ast.Attribute) and node.attr in _FIXED and self._is_context(node.value)

    def callee(self, call: ast.Call) -> Frame | None:
        """The function or method of the application that a call runs in the body."""
        found = self.scope.function(call.func)
        member = method(self.scope, call) if found is None else None
        if member is not None:
            found = member.function, member.scope
        if found is None or is_workflow(*found):
            return None
        function, scope = found
        around = scope if member is None else scope.outer
        names = [one.arg for one in parameters(function)][1 if member is not None and member.is_bound else 0 :]
        given: list[tuple[str, ast.expr]] = list(zip(names, call.args, strict=False))
        given += [(one.arg, one.value) for one in call.keywords if one.arg is not None]
        contexts = {name for name, value in given if self._is_context(value)}
        steps = {name for name, value in given if _is_step(value, self.contexts, self.steps)}
        sees = around is not None and around.outer is not None
        if sees:  # defined in a function: it sees the names around it
            contexts |= self.contexts - set(names)
            steps |= self.steps - set(names)
        calls = self.calls - set(names) if sees else frozenset[str]()
        return Frame.of(function, scope, frozenset(contexts), frozenset(steps), calls)

    def acts(self, nodes: Sequence[ast.AST], done: frozenset[int] = frozenset()) -> bool:
        """Whether something durable is called in there, also by a function that is called there."""
        for node in inside(nodes):
            if self.is_durable(node):
                return True
            if isinstance(node, ast.Call):
                callee = self.callee(node)
                if callee is not None and id(callee.function) not in done:
                    if callee.acts(callee.function.body, done | {id(callee.function)}):
                        return True
                elif callee is None and any(self._is_context(one) for one in node.args):
                    return True
        return False

    def _is_context(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Name) and node.id in self.contexts


def parameters(function: Function) -> list[ast.arg]:
    return [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]


def key_of(call: ast.Call) -> ast.expr | None:
    """The step key that a durable call is given."""
    if call.args:
        return None if isinstance(call.args[0], ast.Starred) else call.args[0]
    return next((one.value for one in call.keywords if one.arg == "key"), None)


def _is_step(node: ast.expr, contexts: frozenset[str], steps: frozenset[str]) -> bool:
    if isinstance(node, ast.Attribute):
        return node.attr == "step" and isinstance(node.value, ast.Name) and node.value.id in contexts
    return isinstance(node, ast.Name) and node.id in steps


def _is_durable(node: ast.expr, contexts: frozenset[str], steps: frozenset[str]) -> bool:
    return isinstance(node, ast.Attribute) and node.attr in _DURABLE and _is_step(node.value, contexts, steps)


def _is_context(annotation: ast.expr | None, scope: Scope) -> bool:
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return annotation.value.rpartition(".")[2] == "WorkflowContext"
    if isinstance(annotation, ast.Subscript):
        annotation = annotation.value
    return annotation is not None and scope.full_name(annotation) in _CONTEXT
