"""The ways through a function: a key is used twice if some way uses it twice. A loop is gone through twice."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from polos.cli.checking.frames import Frame
from polos.cli.checking.uses import Changes, Token, Use, certain_keys, use_of

State = dict[Token, Use]
Again = Callable[[Use, Use], None]


@dataclass(slots=True)
class _Loop:
    broken: list[State] = field(default_factory=list[State])
    continued: list[State] = field(default_factory=list[State])


def follow(frame: Frame, again: Again) -> None:
    """Call `again(earlier, later)` for every use of a key that was used before on the same way."""
    _Flow(frame, again).block(frame.function.body, {})


def _either(*states: State | None) -> State | None:
    """What may have been used after one of several ways; None: none of them comes out."""
    reached = [one for one in states if one is not None]
    if not reached:
        return None
    return {token: use for one in reached for token, use in one.items()}


class _Flow:
    """Every method takes what was used before and returns what was used after; None: it is not passed."""

    def __init__(self, frame: Frame, again: Again) -> None:
        self._frame, self._again = frame, again
        self._loops: list[_Loop] = []
        self._trail: list[Use] = []

    def block(self, body: Sequence[ast.stmt], state: State | None) -> State | None:
        for node in body:
            if state is None:
                return None
            state = self._statement(node, state)
        return state

    def _statement(self, node: ast.stmt, state: State) -> State | None:
        match node:
            case ast.If(test=test, body=body, orelse=orelse):
                state = self._expression(test, state)
                return _either(self.block(body, dict(state)), self.block(orelse, dict(state)))
            case ast.For() | ast.AsyncFor():
                state = self._expression(node.iter, state)
                return self._loop(node, [], state, endless=False)
            case ast.While(test=test):
                endless = isinstance(test, ast.Constant) and bool(test.value)
                return self._loop(node, [test], state, endless=endless)
            case ast.Try() | ast.TryStar():
                return self._try(node, state)
            case ast.With(items=items, body=body) | ast.AsyncWith(items=items, body=body):
                for item in items:
                    state = self._expression(item.context_expr, state)
                return self.block(body, state)
            case ast.Match():
                return self._match(node, state)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                return state
            case _:
                return self._simple(node, state)

    def _simple(self, node: ast.stmt, state: State) -> State | None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                state = self._expression(child, state)
        match node:
            case ast.Return() | ast.Raise():
                return None
            case ast.Break() if self._loops:
                self._loops[-1].broken.append(state)
                return None
            case ast.Continue() if self._loops:
                self._loops[-1].continued.append(state)
                return None
            case ast.Expr(value=ast.Await(value=value)) if self._frame.is_successor(value):
                return None
            case _:
                return state

    def _loop(
        self, node: ast.For | ast.AsyncFor | ast.While, tests: list[ast.expr], state: State, *, endless: bool
    ) -> State | None:
        changes = Changes.within([node])
        broken: list[State] = []
        exits: list[State | None] = []
        entering: State | None = state
        for _ in range(2):
            if entering is None:
                break
            for test in tests:
                entering = self._expression(test, dict(entering))
            exits.append(None if endless else entering)
            loop = _Loop()
            self._loops.append(loop)
            ended = _either(self.block(node.body, dict(entering)), *loop.continued)
            self._loops.pop()
            broken += loop.broken
            entering = None if ended is None else self._next_round(ended, changes)
            exits.append(None if endless else ended)
        return _either(self.block(node.orelse, _either(*exits)), *broken)

    @staticmethod
    def _next_round(state: State, changes: Changes) -> State:
        return {token: use for token, use in state.items() if changes.spare(use)}

    def _try(self, node: ast.Try | ast.TryStar, state: State) -> State | None:
        start = len(self._trail)
        ended = self.block(node.body, dict(state))
        broken_off = self._with_trail(state, start)
        ways = [self.block(node.orelse, ended)]
        ways += [self.block(handler.body, dict(broken_off)) for handler in node.handlers]
        ended = _either(*ways)
        if not node.finalbody:
            return ended
        after_any = self.block(node.finalbody, self._with_trail(state, start))
        return None if after_any is None else self.block(node.finalbody, ended)

    def _with_trail(self, state: State, start: int) -> State:
        return state | {use.token: use for use in self._trail[start:]}

    def _match(self, node: ast.Match, state: State) -> State | None:
        state = self._expression(node.subject, state)
        ways: list[State | None] = [self.block(case.body, dict(state)) for case in node.cases]
        last = node.cases[-1]
        whole = last.guard is None and isinstance(last.pattern, ast.MatchAs) and last.pattern.pattern is None
        return _either(*ways, None if whole else state)

    def _expression(self, node: ast.AST, state: State) -> State:
        match node:
            case ast.Lambda():
                return state
            case ast.IfExp(test=test, body=body, orelse=orelse):
                state = self._expression(test, state)
                first, second = self._expression(body, dict(state)), self._expression(orelse, dict(state))
                return first | second
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                return self._comprehension(node, state)
            case _:
                for child in ast.iter_child_nodes(node):
                    state = self._expression(child, state)
        return self._call(node, state) if isinstance(node, ast.Call) else state

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp, state: State) -> State:
        first, *others = node.generators
        state = self._expression(first.iter, state)
        results = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
        rest: list[ast.expr] = [*first.ifs]
        for one in others:
            rest += [one.iter, *one.ifs]
        changes = Changes.within([node])
        for _ in range(2):
            for part in [*rest, *results]:
                state = self._expression(part, state)
            state = self._next_round(state, changes)
        return state

    def _call(self, node: ast.Call, state: State) -> State:
        if self._frame.is_durable(node):
            use = use_of(self._frame, node)
            return state if use is None else self._use(use, state)
        callee = self._frame.callee(node)
        if callee is not None:
            for text in dict.fromkeys(certain_keys(callee, frozenset({id(callee.function)}))):
                state = self._use(Use(("literal", text), repr(text), node), state)
        return state

    def _use(self, use: Use, state: State) -> State:
        if use.token in state:
            self._again(state[use.token], use)
        self._trail.append(use)
        return {**state, use.token: use}
