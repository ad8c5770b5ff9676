"""A stack on the emulator: built and deployed by the SAM command line, and a client's view of it from outside."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3

from tests.emulator.packages import MACHINE, RUNTIME, SAM
from tests.emulator.places import STACKS, Place
from tests.emulator.server import Emulator, run

ARTIFACTS = "artifacts"
"""The bucket that packages are uploaded to."""


class Stack:
    """`credentials` is the environment of its user: by root's key, or a key that may do what its client policy says."""

    def __init__(self, emulator: Emulator, place: Place, workplace: Path) -> None:
        self.emulator, self.place, self.name = emulator, place, STACKS[place.source]
        self.credentials = emulator.environment()
        self._workplace = workplace

    def deploy(self, build: Path, **parameters: str) -> str:
        given = {
            "App": "lane" if self.place.source == "repository" else "workflows",
            "Runtime": RUNTIME,
            "Architecture": "x86_64" if MACHINE == "x86_64" else "arm64",
            "Timeout": "60",
            # Each invocation at the same time is a process that imports everything: as many as two cores bear.
            "StartConcurrency": "4",
            "WakeConcurrency": "4",
            "EventConcurrency": "2",
        } | parameters
        return self.sam(
            "deploy",
            "--template-file",
            str(build / "template.yaml"),
            "--stack-name",
            self.name,
            "--s3-bucket",
            ARTIFACTS,
            "--capabilities",
            "CAPABILITY_IAM",
            "--no-fail-on-empty-changeset",
            "--no-progressbar",
            "--parameter-overrides",
            *(f"{name}={value}" for name, value in given.items()),
        )

    def delete(self) -> str:
        return self.sam("delete", "--stack-name", self.name, "--no-prompts", "--region", "us-east-1")

    def sam(self, *arguments: str) -> str:
        settings = {"SAM_CLI_TELEMETRY": "0", **self.emulator.environment()}
        return run(str(SAM), *arguments, cwd=self._workplace, environment=settings)

    # ---- looking at it

    def client(self, service: str) -> Any:
        """A boto3 client with all permissions."""
        return administrator(self.emulator, service)

    def outputs(self) -> Mapping[str, str]:
        (stack,) = self.client("cloudformation").describe_stacks(StackName=self.name)["Stacks"]
        return {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}

    def failures(self) -> list[str]:
        """Why resources could not be made or changed, as CloudFormation shows it."""
        events = self.client("cloudformation").describe_stack_events(StackName=self.name)["StackEvents"]
        return [one.get("ResourceStatusReason", "") for one in events if one["ResourceStatus"].endswith("_FAILED")]

    def resources(self) -> dict[str, str]:
        """Logical name to physical id."""
        found = self.client("cloudformation").describe_stack_resources(StackName=self.name)["StackResources"]
        return {one["LogicalResourceId"]: one["PhysicalResourceId"] for one in found}


def administrator(emulator: Emulator, service: str) -> Any:
    settings = emulator.environment()
    return boto3.client(
        service,
        endpoint_url=settings["AWS_ENDPOINT_URL"],
        region_name=settings["AWS_REGION"],
        aws_access_key_id=settings["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=settings["AWS_SECRET_ACCESS_KEY"],
    )


def laptop(stack: Stack) -> dict[str, str]:
    """The environment of a user who may do what the stack's client policy says, and nothing else."""
    iam = stack.client("iam")
    user = f"{stack.name}-user"
    iam.create_user(UserName=user)
    iam.attach_user_policy(UserName=user, PolicyArn=stack.outputs()["ClientPolicyArn"])
    key = iam.create_access_key(UserName=user)["AccessKey"]
    return stack.emulator.environment(key["AccessKeyId"], key["SecretAccessKey"])
