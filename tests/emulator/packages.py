"""What SAM has built. Each package is built once, by whichever process of the lane needs it first."""

from __future__ import annotations

import fcntl
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.emulator.places import STACKS, Source
from tests.emulator.server import POLOS, ROOT, run
from tests.emulator.table import Measured

HERE = Path(__file__).parent
SAM = ROOT / ".venv-sam" / "bin" / "sam"
# Functions run as processes of this machine, so their packages are for its Python and its processor.
RUNTIME = f"python{sys.version_info.major}.{sys.version_info.minor}"
MACHINE = platform.machine()

FIRST, LATER, AGAIN, BROKEN = "first", "later", "again", "broken"
"""Versions of the application: the first; with edits.py as edits_later.py has it; the first, built anew; one that does
not import."""


@dataclass(frozen=True)
class Packages:
    """`folder` is common to all processes of the lane."""

    folder: Path
    measured: Measured

    def modules(self) -> Path:
        """The application's modules as a client imports them."""
        return self._once("modules", _modules)

    def project(self) -> Path:
        """A project as `polos init` writes it."""
        return self._once(
            STACKS["project"], lambda folder: run(str(POLOS), "init", str(folder), cwd=ROOT, environment={})
        )

    def built(self, source: Source, version: str) -> Path:
        """The build directory of a version."""
        top = ROOT if source == "repository" else self.project()

        def build(folder: Path) -> None:
            self._application(source, version, folder / "application")
            with self.measured.timed(f"sam build, {version}", source):
                _sam_build(top, folder / "application", folder / "build")

        return self._once(f"{source}-{version}", build) / "build"

    def _application(self, source: Source, version: str, folder: Path) -> None:
        _modules(folder)
        if source == "project":
            # What somebody does who adds a module to the project: put it into the folder, and import it.
            shutil.copytree(self.project() / "app", folder, dirs_exist_ok=True)
            with (folder / "workflows.py").open("a") as file:
                file.write("\nimport lane  # noqa: E402, F401\n")
        if version == LATER:
            shutil.copy(HERE / "application" / "edits_later.py", folder / "edits.py")
        if version == BROKEN:
            (folder / "edits.py").write_text('raise RuntimeError("broken on purpose")\n')

    def _once(self, name: str, make: Callable[[Path], object]) -> Path:
        folder, made = self.folder / name, self.folder / f"{name}.made"
        with (self.folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not made.exists():
                make(folder)
                made.touch()
        return folder


def _sam_build(top: Path, application: Path, build: Path) -> None:
    environment = {
        "SAM_CLI_TELEMETRY": "0",
        "AWS_DEFAULT_REGION": "us-east-1",
        "POLOS_APP_SOURCE": str(application),
        "POLOS_PYTHON": RUNTIME.removeprefix("python"),
        "POLOS_MACHINE": "aarch64" if MACHINE == "arm64" else MACHINE,
    }
    how = ("--build-in-source", "--parallel", "--build-dir", str(build))
    run(str(SAM), "build", *how, cwd=top, environment=environment)


def _modules(folder: Path) -> None:
    shutil.copytree(HERE / "application", folder, ignore=shutil.ignore_patterns("__pycache__", "edits_later.py"))
    shutil.copy(ROOT / "tests" / "seed" / "page.py", folder / "page.py")
