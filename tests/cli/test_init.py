"""`polos init`: what it writes is tested here as a user would test it, and deployed by the lane in tests/emulator."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from polos.aws import sources

Call = Callable[..., Result]


def test_it_writes_what_polos_itself_is_deployed_with(place: Path, polos: Call) -> None:
    result = polos("init", "shop")

    assert result.exit_code == 0, result.output
    assert "pytest" in result.stdout
    for name in sources.names():
        assert (place / "shop" / name).read_bytes() == (sources.root() / name).read_bytes(), name


def test_it_leaves_no_placeholder(place: Path, polos: Call) -> None:
    assert polos("init", "shop", "--name", "the-shop").exit_code == 0

    written = [path for path in (place / "shop").rglob("*") if path.is_file()]
    assert {path.name for path in written} >= {".gitignore", "README.md", "samconfig.toml", "pyproject.toml"}
    own = [path.read_text() for path in written if path.name != "template.yaml"]
    assert not [text for text in own if "@NAME@" in text or "@POLOS" in text]
    assert 'stack_name = "the-shop"' in (place / "shop" / "samconfig.toml").read_text()


def test_the_project_depends_on_the_polos_that_made_it(place: Path, polos: Call) -> None:
    """Installed from a clone, as here, that is the clone: this version need not be on PyPI."""
    said = json.loads(polos("init", "shop", "--json").stdout)

    assert said["polos"] == f"polos-aws @ {sources.root().as_uri()}"
    assert said["polos"] in (place / "shop" / "requirements.txt").read_text()
    assert set(said["files"]) == {
        path.relative_to(place / "shop").as_posix() for path in (place / "shop").rglob("*") if path.is_file()
    }


def test_a_wheel_can_be_named(place: Path, polos: Call) -> None:
    wheel = place / "polos_aws-0.1.0-py3-none-any.whl"
    wheel.touch()

    assert polos("init", "shop", "--polos-source", str(wheel)).exit_code == 0
    assert wheel.as_uri() in (place / "shop" / "requirements-dev.txt").read_text()


@pytest.mark.process
def test_its_tests_pass(place: Path, polos: Call) -> None:
    assert polos("init", "shop").exit_code == 0

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=place / "shop",
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["taken"], "is not empty"),
        (["greetings.py"], "is a file"),
        (["greetings.py/new"], "Not a directory"),
        (["n" * 300], "File name too long"),
        (["new", "--name", "my_shop"], "letters, digits and hyphens"),
        (["9lives"], "Give another one with --name"),
        (["new", "--name", ""], "can't be called ''"),
        (["new", "--polos-source", "nowhere"], "neither a wheel nor a clone"),
    ],
)
def test_what_it_refuses(place: Path, polos: Call, arguments: list[str], said: str) -> None:
    (place / "taken").mkdir()
    (place / "taken" / "file").touch()

    result = polos("init", *arguments)

    assert result.exit_code == 2
    assert said in result.stderr
    assert not (place / "new").exists()
    assert [path.name for path in (place / "taken").iterdir()] == ["file"]


def test_an_empty_folder_is_taken(place: Path, polos: Call) -> None:
    (place / "empty").mkdir()

    assert polos("init", "empty").exit_code == 0
    assert (place / "empty" / "template.yaml").is_file()
