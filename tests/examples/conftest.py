"""The examples, imported as the demo imports them, and a small folder to measure."""

from __future__ import annotations

import asyncio
import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples" / "digest"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Import a module of the example; it is forgotten afterwards, its workflows too."""
    registry = sys.modules["polos.workflow"]
    monkeypatch.setattr(registry, "_registry", {})
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield importlib.import_module
    for name in ("app", "fetch"):
        sys.modules.pop(name, None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five files that count, in the top and two subfolders, and what is to be skipped."""
    root = tmp_path / "measured"
    contents = {
        "readme.txt": "one\ntwo\n",
        "docs/a.txt": "a\n",
        "docs/deep/b.txt": "b" * 1000,
        "src/main.py": "print()\n" * 10,
        "src/other.py": "",
        ".git/config": "hidden",
        "src/__pycache__/x.pyc": "generated",
        "empty/.keep": "",
    }
    for name, text in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


@pytest.fixture
def run() -> Callable[..., object]:
    """Run a coroutine to its end."""
    return asyncio.run
