"""Checking files: every async workflow in them, and what it calls in the application."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

from polos.cli.checking import body
from polos.cli.checking.findings import IGNORE, Finding, read
from polos.cli.checking.flow import follow
from polos.cli.checking.frames import Frame
from polos.cli.checking.modules import Module, Modules
from polos.cli.checking.source import inside, workflows
from polos.cli.checking.uses import Use


def check_files(paths: Iterable[Path]) -> list[Finding]:
    """What is to be mended in these files and in what their workflows call, in order; one a line and rule.

    Raises `UsageError` if a file cannot be read.
    """
    modules = Modules()
    found: dict[tuple[str, int, str], Finding] = {}
    done: set[object] = set()
    for path in paths:
        source = read(path)
        if isinstance(source, Finding):
            found[source.file, source.line, source.rule] = source
            continue
        module = modules.of(path, *source)
        frames = [
            Frame.of_workflow(function, scope)
            for function, scope in workflows(module.tree, module.scope)
            if isinstance(function, ast.AsyncFunctionDef)  # a plain def has no steps, so nothing of it is replayed
        ]
        for one in _check(frames, modules, done):
            found.setdefault((one.file, one.line, one.rule), one)
    return sorted(found.values())


def _check(todo: list[Frame], modules: Modules, done: set[object]) -> Iterator[Finding]:
    """Check these functions and all that they call, but for those that are `done`."""
    while todo:
        frame = todo.pop(0)
        if frame.identity in done:
            continue
        done.add(frame.identity)
        yield from _findings(frame, modules[frame.scope])
        calls = [node for node in inside(frame.function.body) if isinstance(node, ast.Call)]
        todo += [callee for callee in map(frame.callee, calls) if callee is not None]


def _findings(frame: Frame, module: Module) -> list[Finding]:
    found: list[Finding] = []

    def report(line: int, rule: str, message: str) -> None:
        if IGNORE not in module.lines[line - 1]:
            found.append(Finding(str(module.path), line, rule, message))

    body.check(frame, report)
    follow(frame, lambda before, use: report(use.call.lineno, "key", _twice(before, use)))
    return found


def _twice(before: Use, use: Use) -> str:
    if before.call is use.call:
        return f"the step key {use.text} is the same in every round of the loop: put what differs into the key"
    return f"the step key {use.text} was used in line {before.call.lineno} already: give each step a key of its own"
