"""The modules of the application: finding the function or class that a name imported from another file means.

Modules are looked for where Python would find them when the application runs: from the folder that the package of the
importing file lies in, from that file's own folder, and from the working directory. Installed packages are left alone.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from pathlib import Path

from polos.cli.checking.findings import Finding, is_ours, read
from polos.cli.checking.source import Function, Scope, scope_of

_FARTHEST = 8
"""So many re-exports are followed."""


@dataclass(slots=True, eq=False)
class Module:
    """One file of the application."""

    path: Path
    tree: ast.Module
    lines: list[str]
    scope: Scope


@dataclass(slots=True)
class Modules:
    """All that were read so far, by path. What cannot be parsed is none."""

    _known: dict[Path, Module | None] = field(default_factory=dict[Path, "Module | None"])

    def of(self, path: Path, tree: ast.Module, lines: list[str]) -> Module:
        """A file that was asked for."""
        whole = path.resolve()
        known = self._known.get(whole)
        if known is None:
            known = Module(path, tree, lines, scope_of(tree.body))
            known.scope.find = lambda name: self._find(known, name)
            self._known[whole] = known
        return known

    def __getitem__(self, scope: Scope) -> Module:
        """The module that a scope is in."""
        while scope.outer is not None:
            scope = scope.outer
        return next(one for one in self._known.values() if one is not None and one.scope is scope)

    def _find(self, importer: Module, name: str, hops: int = 0) -> tuple[Function | ast.ClassDef, Scope] | None:
        """The function or class that a full name means, `.helpers.stamp` for a relative import."""
        if hops > _FARTHEST or name.partition(".")[0] == "polos":
            return None
        module_name, _, last = name.rpartition(".")
        module = self._import(importer, module_name)
        if module is None:
            return None
        found = module.scope.functions.get(last) or module.scope.classes.get(last)
        if found is not None:
            return found, module.scope
        further = module.scope.imported.get(last)
        return None if further is None else self._find(module, further, hops + 1)

    def _import(self, importer: Module, name: str) -> Module | None:
        here = importer.path.resolve().parent
        dotted = name.lstrip(".")
        parts = dotted.split(".") if dotted else []
        level = len(name) - len(dotted)
        if level:
            folders = [here.joinpath(*[".."] * (level - 1)).resolve()]
        else:
            folders = list(dict.fromkeys([_top(here), here, Path.cwd()]))
        for folder in folders:
            whole = folder.joinpath(*parts)
            for path in (whole.with_name(f"{whole.name}.py"), whole / "__init__.py"):
                if (parts or path.name == "__init__.py") and path.is_file() and is_ours(path, folder):
                    return self._read(path)
        return None

    def _read(self, path: Path) -> Module | None:
        if path not in self._known:
            source = read(path)
            self._known[path] = None
            if not isinstance(source, Finding):
                here = Path.cwd()
                shown = path.relative_to(here) if path.is_relative_to(here) else path
                self.of(shown, *source)
        return self._known[path]


def _top(folder: Path) -> Path:
    """The folder that the outermost package around this one lies in."""
    while (folder / "__init__.py").is_file():
        folder = folder.parent
    return folder
