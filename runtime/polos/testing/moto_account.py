"""An AWS account that moto plays in this process, with one stack in it and a clock that a test moves.

Owns what moto does not do as AWS does: it is not atomic between threads (a lock around it), its queues follow the real
clock (here they follow the virtual one), a message whose timeout has just passed is not visible yet (here it is), and
the time in an event that a rule's template passes on whole is a number (here as EventBridge writes it).
One account can be open at a time.
"""

from __future__ import annotations

import itertools
import json
import os
import threading
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import boto3
import botocore.endpoint
import moto.sqs.models as sqs_models
from moto import mock_aws
from moto.cloudformation.models import Stack
from moto.core.botocore_stubber import BotocoreStubber
from moto.events.utils import EventTemplateParser
from moto.moto_api._internal import mock_random

from polos import payloads
from polos.aws.clients import Clients
from polos.aws.settings import Settings
from polos.engine.commands import millis
from polos.errors import UsageError
from polos.testing import moto_template
from polos.testing.harness import VirtualClock
from polos.testing.moto_template import REGION, Translated

ACCOUNT = "123456789012"

_lock = threading.RLock()
_open = threading.Lock()
_numbers = itertools.count(1)


class _Kit:
    """The clients of this process: those of the runtime, whose requests are counted, and those that play AWS.

    They are made once, for that takes longer than a whole stack.
    """

    def __init__(self) -> None:
        self.session = boto3.Session(aws_access_key_id="testing", aws_secret_access_key="testing", region_name=REGION)
        self.runtime = Clients(REGION, self.session)
        self.aws = Clients(REGION, self.session)
        self.on_request: Callable[[str], None] = lambda _: None
        for service in ("dynamodb", "sqs", "events", "scheduler", "s3"):
            self.runtime.of(service).meta.events.register("request-created", self._requested)

    def _requested(self, operation_name: str, **_: Any) -> None:
        self.on_request(operation_name)


_kit: _Kit | None = None


class MotoAccount:
    """The stack of the template, made anew. `environment` is that of its functions."""

    def __init__(self, clock: VirtualClock, requests: Counter[str]) -> None:
        global _kit
        if not _open.acquire(blocking=False):
            raise UsageError("One Environment(backend='moto') can be open at a time in a process; close the other.")
        self.clock, self._requests = clock, requests
        self._counting = threading.Lock()
        self.between: Callable[[Any, Callable[[], Any]], Any] = lambda _, answer: answer()
        self._undo = ExitStack()
        self._undo.callback(_open.release)
        try:
            self._patch()
            _kit = _kit or _Kit()
            self._kit = _kit
            self.stack = f"polos-test-{next(_numbers)}"
            translated = moto_template.prepared()
            outputs = self._make(translated)
        except BaseException:
            self._undo.close()
            raise
        found = {variable: outputs[output] for variable, output in translated.environment.items()}
        self.environment = {**found, "AWS_REGION": REGION}
        self.settings = Settings.from_environment(self.environment)
        self.sources = translated.sources
        self.queue_urls = {name: outputs[output] for name, output in translated.queues.items()}
        self.runtime, self.aws, self.session = self._kit.runtime, self._kit.aws, self._kit.session
        self._kit.on_request = self.count

    def count(self, operation: str) -> None:
        with self._counting:
            self._requests[operation] += 1

    def close(self) -> None:
        """Drop the account. What still runs in it gets an error at its next request."""
        self._kit.on_request = _refuse
        self._undo.close()

    def queue(self, name: str) -> Any:
        """moto's own queue behind a queue of the template."""
        return sqs_models.sqs_backends[ACCOUNT][REGION].queues[self.queue_urls[name].rpartition("/")[2]]

    def arn(self, name: str) -> str:
        return str(self.queue(name).queue_arn)

    def given_up(self, queue: str, message_id: str) -> dict[str, str]:
        """Which queue has given a message up, as SQS says it and moto does not."""
        with _lock:
            found = next((one for one in self.queue(queue)._messages if one.id == message_id), None)
        source: Any = getattr(found, "polos_given_up_by", None)
        return {} if source is None else {"DeadLetterQueueSourceArn": str(source)}

    def _make(self, translated: Translated) -> dict[str, str]:
        cloudformation = self._kit.aws.of("cloudformation")
        cloudformation.create_stack(
            StackName=self.stack,
            TemplateBody=json.dumps(translated.template),
            Parameters=[
                {"ParameterKey": "App", "ParameterValue": "tested"},
                {"ParameterKey": "PayloadCodec", "ParameterValue": os.environ.get(payloads.VARIABLE, payloads.NONE)},
            ],
            Capabilities=["CAPABILITY_IAM"],
        )
        self._kit.aws.scheduler.create_schedule_group(Name=self.stack)
        made = cloudformation.describe_stacks(StackName=self.stack)["Stacks"][0]
        return {one["OutputKey"]: one["OutputValue"] for one in made["Outputs"]}

    def _patch(self) -> None:
        clock = self.clock

        def seconds(given: Any = None) -> float:
            return clock.now().timestamp() if given is None else given.timestamp()

        def milliseconds(given: Any = None) -> float:
            return float(millis(clock.now() if given is None else given))

        def visible(message: Any) -> bool:
            return milliseconds() >= message.visible_at

        transform = EventTemplateParser.parse

        def transform_event(input_template: str, input_paths_map: dict[str, Any], event: Any) -> dict[str, Any]:
            if input_template:
                event = {**event, "time": f"{clock.now():%Y-%m-%dT%H:%M:%SZ}"}
            return transform(input_template, input_paths_map, event)

        add: Any = sqs_models.Queue.add_message

        def add_and_note(queue: Any, message: Any) -> None:
            before = getattr(message, "polos_queue_arn", None)
            if before is not None:
                message.polos_given_up_by = before
            message.polos_queue_arn = queue.queue_arn
            add(queue, message)

        parse = Stack.parse_template

        def parse_json_first(template: str) -> dict[str, Any]:
            try:
                return dict(json.loads(template))
            except ValueError:
                return parse(template)

        whole = BotocoreStubber.__call__

        def one_at_a_time(stubber: Any, event_name: str, request: Any, **rest: Any) -> Any:
            with _lock:
                return self.between(request, lambda: whole(stubber, event_name, request, **rest))

        for patcher in (
            patch.object(sqs_models, "unix_time", seconds),
            patch.object(sqs_models, "unix_time_millis", milliseconds),
            patch.object(sqs_models.Message, "visible", property(visible)),
            patch.object(EventTemplateParser, "parse", staticmethod(transform_event)),
            patch.object(sqs_models.Queue, "add_message", add_and_note),
            patch.object(BotocoreStubber, "__call__", one_at_a_time),
            patch.object(botocore.endpoint, "time", _NoPause),  # between the attempts of botocore
            patch.object(Stack, "parse_template", staticmethod(parse_json_first)),  # YAML takes half of the time
        ):
            self._undo.enter_context(patcher)
        self._undo.enter_context(mock_aws())

    @contextmanager
    def next_event_id(self, event_id: str | None) -> Generator[None]:
        """Have moto give this id to the event that is put meanwhile; None: one of its own."""
        if event_id is None:
            yield
            return
        given, other = iter([event_id]), mock_random.uuid4
        with _lock, patch.object(mock_random, "uuid4", lambda: next(given, None) or other()):
            yield

    @property
    def lock(self) -> threading.RLock:
        """Held while moto answers; hold it to look inside."""
        return _lock


class _NoPause:
    """The `time` module for botocore's endpoint: its retries take no real time."""

    @staticmethod
    def sleep(seconds: float) -> None:
        pass


def _refuse(operation: str) -> None:
    raise UsageError(f"{operation} came after the environment was closed.")
