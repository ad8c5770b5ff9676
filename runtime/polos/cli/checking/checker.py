"""Checking files: every async workflow in them, and what it calls in the same file."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

from polos.cli.checking import body
from polos.cli.checking.findings import IGNORE, Finding, read
from polos.cli.checking.flow import follow
from polos.cli.checking.frames import Frame
from polos.cli.checking.source import inside, scope_of, workflows
from polos.cli.checking.uses import Use


def check_files(paths: Iterable[Path]) -> list[Finding]:
    """What is to be mended in these files, in order. Raises `UsageError` if one cannot be read."""
    found: list[Finding] = []
    for path in paths:
        source = read(path)
        if isinstance(source, Finding):
            found.append(source)
        else:
            tree, lines = source
            found += [one for one in check_tree(tree, str(path)) if IGNORE not in lines[one.line - 1]]
    return found


def check_tree(tree: ast.Module, file: str) -> list[Finding]:
    """The findings of one module, in order of lines; one a line and rule."""
    found: dict[tuple[int, str], Finding] = {}

    def report(line: int, rule: str, message: str) -> None:
        found.setdefault((line, rule), Finding(file, line, rule, message))

    module = scope_of(tree.body)
    todo = [
        Frame.of_workflow(function, scope)
        for function, scope in workflows(tree, module)
        if isinstance(function, ast.AsyncFunctionDef)  # a plain def has no steps, so nothing of it is replayed
    ]
    done: set[object] = set()
    while todo:
        frame = todo.pop(0)
        if frame.identity in done:
            continue
        done.add(frame.identity)
        body.check(frame, report)
        follow(frame, lambda before, use: report(use.call.lineno, "key", _twice(before, use)))
        calls = [node for node in inside(frame.function.body) if isinstance(node, ast.Call)]
        todo += [callee for callee in map(frame.callee, calls) if callee is not None]
    return sorted(found.values())


def _twice(before: Use, use: Use) -> str:
    if before.call is use.call:
        return f"the step key {use.text} is the same in every round of the loop: put what differs into the key"
    return f"the step key {use.text} was used in line {before.call.lineno} already: give each step a key of its own"
