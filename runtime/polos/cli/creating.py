"""`polos init`: a project that can be tested and deployed.

What is the project's own comes from `polos/cli/project`; the template, the build recipe and the handlers are those
that polos itself is deployed with (`polos.aws.sources`), copied as they are.
"""

from __future__ import annotations

import json
import re
from importlib import metadata
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import unquote, urlparse

import typer

from polos.cli.options import Json
from polos.cli.outcome import command, print_json, stdout
from polos.errors import UsageError

_OWN: Final = Path(__file__).parent / "project"
_UNDOTTED: Final = {"gitignore": ".gitignore"}
_DISTRIBUTION: Final = "polos-aws"
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")


@command
async def init(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder, or an empty one.")],
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="Of the project and its stack (default: DIR's).")
    ] = None,
    polos_source: Annotated[
        str | None,
        typer.Option(
            "--polos-source",
            metavar="PATH",
            help="A clone or a wheel of polos to depend on (default: what this polos was installed from).",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a project that can be deployed into DIR.

    Workflows, their tests, a template, and a README with the commands.
    """
    folder = directory.expanduser().resolve()
    try:
        _must_be_free(directory, folder)
    except OSError as error:
        raise UsageError(f"The folder {str(directory)!r} can't be made: {error.strerror}.") from None
    chosen = _checked(folder.name if name is None else name, given=name is not None)
    source = _source(polos_source)
    files = _files(chosen, source)
    try:
        for path, data in files.items():
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
    except OSError as error:
        raise UsageError(f"The folder {str(directory)!r} can't be written: {error.strerror}.") from None
    if as_json:
        requirement = _requirement("", source)
        print_json({"directory": str(folder), "name": chosen, "polos": requirement, "files": sorted(files)})
        return
    console = stdout()
    console.print(f"{directory}: the project {chosen}, {len(files)} files. Next:")
    console.print(f"  cd {directory}")
    console.print("  python3 -m venv .venv && . .venv/bin/activate && pip install -r requirements-dev.txt")
    console.print("  pytest")
    console.print("  sam build && sam deploy        # README.md tells more")


def _must_be_free(said: Path, folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{str(said)!r} is a file; polos init needs a new folder, or an empty one.")
    if folder.is_dir() and any(folder.iterdir()):
        raise UsageError(f"The folder {str(said)!r} is not empty; polos init needs a new folder, or an empty one.")


def _checked(name: str, *, given: bool) -> str:
    """The name as that of a stack, a bus and a schedule group, which take different characters."""
    if _NAME.fullmatch(name):
        return name
    raise UsageError(
        f"A project can't be called {name!r}: AWS wants a letter first, then letters, digits and hyphens, 64 at most."
        + ("" if given else " Give another one with --name.")
    )


def _source(given: str | None) -> str | None:
    """The clone or wheel to depend on, as a URL; None: the release of this version on PyPI."""
    if given is not None:
        path = Path(given).expanduser().resolve()
        if not (path.suffix == ".whl" and path.is_file()) and not (path / "pyproject.toml").is_file():
            raise UsageError(f"--polos-source {given!r} is neither a wheel nor a clone of polos (no pyproject.toml).")
        return path.as_uri()
    recorded = metadata.distribution(_DISTRIBUTION).read_text("direct_url.json")
    url = str(json.loads(recorded)["url"]) if recorded else ""
    if not url.startswith("file:"):
        return None
    path = unquote(urlparse(url).path)
    if not Path(path).exists():
        raise UsageError(f"polos was installed from {path}, which is no more; name a clone or wheel by --polos-source.")
    return url


def _requirement(extras: str, source: str | None) -> str:
    return f"{_DISTRIBUTION}{extras} @ {source}" if source else f"{_DISTRIBUTION}{extras}=={_version()}"


def _version() -> str:
    return metadata.version(_DISTRIBUTION)


def _files(name: str, source: str | None) -> dict[str, bytes]:
    filled = {
        "@NAME@": name,
        "@POLOS@": _requirement("", source),
        "@POLOS_DEV@": _requirement("[cli,testing]", source),
    }
    found: dict[str, bytes] = {}
    for path in sorted(_OWN.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            text = path.read_text(encoding="utf-8")
            for placeholder, value in filled.items():
                text = text.replace(placeholder, value)
            relative = path.relative_to(_OWN).as_posix()
            found[_UNDOTTED.get(relative, relative)] = text.encode()
    from polos.aws import sources  # with it comes boto3, which takes half a second to import

    for relative in sources.names():
        found[relative] = (sources.root() / relative).read_bytes()
    return found
