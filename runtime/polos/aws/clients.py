"""The boto3 clients of one region. The only place that makes one."""

from __future__ import annotations

import threading
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from polos.aws import faults

CONFIG: Final = Config(
    connect_timeout=2,
    read_timeout=5,
    retries={"mode": "standard", "total_max_attempts": 4},
    max_pool_connections=32,
    tcp_keepalive=True,
    user_agent_extra="polos",
)
"""Short timeouts, few attempts. botocore's own for DynamoDB (60 s, 10 attempts) would outlast the 30 s of a lease.

Mode `standard` retries with jitter (Boto3 documentation, "Retries").
"""


class Clients:
    """Each client is made at its first use, which takes some 20 ms, and kept. Thread-safe.

    Most invocations need two of the five. `session` is a `boto3.Session`; None makes one.
    """

    def __init__(self, region: str, session: Any = None) -> None:
        self._region = region
        self._session: Any = session
        self._made: dict[str, Any] = {}
        self._lock = threading.Lock()

    @property
    def dynamodb(self) -> Any:
        return self.of("dynamodb")

    @property
    def sqs(self) -> Any:
        return self.of("sqs")

    @property
    def events(self) -> Any:
        return self.of("events")

    @property
    def scheduler(self) -> Any:
        return self.of("scheduler")

    @property
    def s3(self) -> Any:
        return self.of("s3")

    def of(self, service: str) -> Any:
        """The client of a service. Raises `BackendError` if one cannot be made here."""
        client = self._made.get(service)
        if client is None:
            with self._lock:
                client = self._made.get(service)
                if client is None:
                    client = self._made[service] = self._make(service)
        return client

    def _make(self, service: str) -> Any:
        try:
            if self._session is None:
                self._session = boto3.Session(region_name=self._region)
            return self._session.client(service, region_name=self._region, config=CONFIG)
        except BotoCoreError as error:
            raise faults.explained(error) from error
