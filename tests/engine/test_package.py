"""The package as it is imported and as it is built."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import polos

LEAN = {"boto3", "aws-lambda-powertools", "pydantic", "croniter"}


@pytest.mark.process
def test_import_works_without_the_libraries_of_aws() -> None:
    blocked = "import sys\nfor name in ('boto3', 'botocore', 'aws_lambda_powertools', 'moto', 'typer', 'rich'):\n"
    code = f"{blocked}    sys.modules[name] = None\nimport polos, polos.features.events, polos.types.types"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr


def test_the_lambda_package_stays_lean() -> None:
    required = [line for line in metadata.requires("polos-aws") or [] if "extra ==" not in line]
    names = {line.split(">")[0].split(";")[0].strip() for line in required if "win32" not in line}
    assert names == LEAN


def test_every_exported_name_is_there_and_documented() -> None:
    for name in polos.__all__:
        found = getattr(polos, name)
        assert getattr(found, "__doc__", None), name


def test_upstream_import_paths() -> None:
    from polos.features import events, schedules
    from polos.types.types import BatchWorkflowInput

    assert (polos.events, polos.schedules, polos.BatchWorkflowInput) == (events, schedules, BatchWorkflowInput)


def test_the_build_recipe_asks_for_the_versions_that_the_package_does() -> None:
    recipe = (Path(__file__).parents[2] / "infra" / "Makefile").read_text()
    required = [line for line in metadata.requires("polos-aws") or [] if "extra ==" not in line]
    wanted = [line for line in required if "win32" not in line and not line.startswith("boto3")]
    assert len(wanted) == len(LEAN) - 1
    for line in wanted:
        assert f'"{line}"' in recipe, line
