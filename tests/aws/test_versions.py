"""A deployment reaches the alias that everything calls, also one that changes nothing but parameters."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from polos.testing import moto_template

ROOT = moto_template.find().parent
TEMPLATE = moto_template.load(ROOT / "template.yaml")


def build(folder: Path, *functions: str, pip: str = "true") -> list[str]:
    """Run the build recipe as `sam build --parallel` does, without downloads; the hash of each function's directory."""
    running: list[subprocess.Popen[str]] = []
    for function in functions:
        artifacts = folder / function
        artifacts.mkdir(parents=True)
        make = ["make", "-f", "infra/Makefile", f"build-{function}", f"PIP={pip}"]
        environment = {**os.environ, "ARTIFACTS_DIR": str(artifacts), "POLOS_APP_SOURCE": "examples/digest"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        running.append(subprocess.Popen(make, cwd=ROOT, env=environment, text=True, **pipes))
    for process in running:
        said, _ = process.communicate(timeout=50)
        assert process.returncode == 0, said
    return [_hash(folder / function) for function in functions]


def _hash(folder: Path) -> str:
    found = hashlib.md5(usedforsecurity=False)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return found.hexdigest()


def versions(package: str, **parameters: str) -> set[str]:
    translated = moto_template.translate(TEMPLATE, {"App": "shop", **parameters}, package)
    return {name for name, one in translated["Resources"].items() if one["Type"] == "AWS::Lambda::Version"}


@pytest.mark.process
def test_the_functions_of_a_build_have_one_package(tmp_path: Path) -> None:
    first, second = build(tmp_path / "a folder", "WorkFunction", "EventsFunction")

    assert first == second
    assert "handlers" in {path.name for path in (tmp_path / "a folder" / "WorkFunction").iterdir()}


@pytest.mark.process
def test_the_functions_of_a_build_call_pip_once(tmp_path: Path) -> None:
    pip = tmp_path / "pip"
    pip.write_text(f'#!/bin/sh\necho called >> "{tmp_path}/calls"\n')
    pip.chmod(0o755)

    build(tmp_path / "build", "WorkFunction", "EventsFunction", "RegistrarFunction", pip=str(pip))

    assert (tmp_path / "calls").read_text().splitlines() == ["called"]


@pytest.mark.process
def test_a_build_that_was_broken_off_is_made_anew(tmp_path: Path) -> None:
    part = tmp_path / ".polos-package" / "handlers"
    part.mkdir(parents=True)
    (part / "half.py").touch()

    build(tmp_path, "WorkFunction")

    assert not (tmp_path / "WorkFunction" / "handlers" / "half.py").exists()


@pytest.mark.process
def test_each_build_makes_new_versions_of_the_same_sources(tmp_path: Path) -> None:
    (first,), (second,) = build(tmp_path / "first", "WorkFunction"), build(tmp_path / "second", "WorkFunction")

    assert first != second
    assert versions(first).isdisjoint(versions(second))


def test_parameters_alone_make_no_new_version() -> None:
    """Why each build does. Should SAM come to count them (its issues 1640 and 3820), the stamp can go."""
    before, after = versions("same", Timeout="300", App="shop"), versions("same", Timeout="600", App="other")

    assert before == after
