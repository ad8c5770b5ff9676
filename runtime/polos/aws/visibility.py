"""When a received message comes again: its visibility timeout, changed while it is handled."""

from __future__ import annotations

import logging
import math

from polos.aws import faults
from polos.aws.clients import Clients
from polos.aws.records import Record
from polos.aws.settings import Settings
from polos.errors import BackendError

_log = logging.getLogger("polos.aws")

_LONGEST = 43_200 - 900
"""12 hours from the receipt, less the longest invocation: SQS refuses more ("Amazon SQS visibility timeout")."""

_FIRST_RETRY, _LAST_RETRY = 5.0, 900.0


class Visibility:
    """Thread-safe."""

    def __init__(self, clients: Clients, settings: Settings) -> None:
        self.clients, self._settings = clients, settings

    def extend(self, record: Record, seconds: float) -> None:
        """Have it come again after whole seconds, at least as many. 1 request.

        Never raises: only the moment of a redelivery depends on it.
        """
        try:
            faults.call(
                self.clients.sqs.change_message_visibility,
                QueueUrl=self._url(record.queue_arn),
                ReceiptHandle=record.receipt,
                VisibilityTimeout=min(_LONGEST, max(0, math.ceil(seconds))),
            )
        except BackendError as error:
            _log.warning("the visibility of message %s could not be changed: %s", record.id, error)

    def back_off(self, record: Record) -> None:
        """Have it come again after 5 s, the next time after 10 s, and so on up to 15 minutes. 1 request."""
        self.extend(record, min(_LAST_RETRY, _FIRST_RETRY * 2 ** min(10, record.received - 1)))

    def _url(self, arn: str) -> str:
        known = self._settings.queue_url(arn)
        if known is not None:
            return known
        account, _, name = arn.rpartition(":")  # a queue of the user's own template
        answer = faults.call(
            self.clients.sqs.get_queue_url, QueueName=name, QueueOwnerAWSAccountId=account.rpartition(":")[2]
        )
        return str(answer["QueueUrl"])
